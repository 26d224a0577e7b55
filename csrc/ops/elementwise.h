// The list of elementwise functions, for bindings, documentation and generated tests.
#pragma once

#include <span>

#include "math/elementwise.h"
#include "ops/op.h"

namespace evolute {

struct ElementwiseFunction {
  std::string_view class_name;  // of the class-style primitive: "Sin"
  std::string_view name;        // of the function: "sin"
  int arity;
  Operands operands;
  const Op* op;
};
std::span<const ElementwiseFunction> elementwise_functions();

// Applies an elementwise function with conversion of its operands to their common type.
Tensor call_elementwise(const ElementwiseFunction& f, const Tensor& x);
Tensor call_elementwise(const ElementwiseFunction& f, const Tensor& x, const Tensor& y);

// x to the power of the constant p: exact powers become square, sqrt and the like.
Tensor pow_constant(const Tensor& x, double p, DType scalar_kind);

// A derivative kernel of a unary function, taken apart: products with f'(r) and f''(r) as compositions of primitives,
// for those who share the factors. `g` is never a symbolic zero; the result is undefined where the factor is 0.
struct UnaryDerivative {
  enum class Form : std::uint8_t { D1, D2, Pair } form;  // g f', g f'', (h f', h g f'')
  Tensor (*times_d1)(const Tensor& g, const Tensor& r);
  Tensor (*times_d2)(const Tensor& g, const Tensor& r);
};
// Null for any other kernel.
const UnaryDerivative* unary_derivative(int kernel);

}  // namespace evolute
