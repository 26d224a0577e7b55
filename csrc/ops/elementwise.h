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

// A function of the family or one of its partial derivatives. Of one operand there are F, X and XX.
enum class Part : std::uint8_t { F, X, Y, XX, XY, YY };

// What a kernel of a function with derivative kernels computes: F itself, g P, or for one operand x (h F_x, h g F_xx),
// for two (g F_x, g F_y) or the reverse rule of that (math/elementwise.h).
struct KernelForm {
  enum class Kind : std::uint8_t { Value, Product, Pair, Vjp, Vjp2 } kind;
  Part part;           // of Value and Product
  const Op* function;  // null for kernels of other functions, and for jets
};
KernelForm kernel_form(int kernel);
// The op g P; null if it has no kernel of its own.
const Op* product_with(const Op& function, Part part);

}  // namespace evolute
