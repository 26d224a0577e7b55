/// \file
/// Transforms of functions: derivatives in reverse and forward mode, nested to any order.
#pragma once

#include <functional>
#include <type_traits>
#include <utility>
#include <vector>

#include "evolute/tensor.h"

namespace evolute {

using TensorList = std::vector<Tensor>;
/// A function of several tensors with several results. Functions of one tensor, `Tensor(Tensor)`, go in as they are.
using Function = std::function<TensorList(const TensorList&)>;

/// What `vjp` gives: the outputs of f, and its derivative transposed.
struct VjpResult {
  TensorList outputs;
  /// Maps cotangents (one per output, of its shape) to one cotangent per input; may be called any number of times.
  std::function<TensorList(const TensorList&)> pullback;
};

/// Runs f and records it for reverse mode. Inputs must be of floating dtype (DTypeError otherwise).
EVOLUTE_API VjpResult vjp(const Function& f, const TensorList& inputs);

/// Outputs of f and J·v for the tangents v, one per input and of its shape and dtype; an undefined tangent is zero.
EVOLUTE_API std::pair<TensorList, TensorList> jvp(const Function& f, const TensorList& inputs,
                                                  const TensorList& tangents);

/// Value and gradients of the sum of all elements of f's outputs, with respect to the inputs and to the variables.
struct Gradients {
  TensorList outputs;
  TensorList inputs;     ///< zeros where an input takes no part
  TensorList variables;  ///< zeros where a variable takes no part
};
/// \param wanted     positions of the inputs to differentiate
/// \param cotangents one per output; empty means ones
EVOLUTE_API Gradients gradients(const Function& f, const TensorList& inputs, const std::vector<int>& wanted,
                                const std::vector<Ref<Variable>>& variables = {}, const TensorList& cotangents = {});

namespace detail {
// Any callable of n tensors that returns a Tensor or a list of them, as a Function.
template <class F>
Function as_function(F f) {
  if constexpr (std::is_invocable_v<F, const Tensor&>) {
    return [f](const TensorList& x) -> TensorList { return {f(x.at(0))}; };
  } else if constexpr (std::is_invocable_v<F, const Tensor&, const Tensor&>) {
    return [f](const TensorList& x) -> TensorList { return {f(x.at(0), x.at(1))}; };
  } else if constexpr (std::is_invocable_v<F, const Tensor&, const Tensor&, const Tensor&>) {
    return [f](const TensorList& x) -> TensorList { return {f(x.at(0), x.at(1), x.at(2))}; };
  } else {
    return f;
  }
}
EVOLUTE_API Tensor grad_at(const Function& f, const TensorList& x, int position);
EVOLUTE_API Tensor jacfwd_at(const Function& f, const Tensor& x);
EVOLUTE_API Tensor jacrev_at(const Function& f, const Tensor& x);
}  // namespace detail

/// Gradient of (the sum of) f with respect to argument `position`: a function of the same arguments.
///
///     auto df = ev::grad([](ev::Tensor x) { return ev::sum(ev::sin(x)); });
template <class F>
auto grad(F f, int position = 0) {
  return [f = detail::as_function(std::move(f)), position](const std::convertible_to<Tensor> auto&... x) {
    return detail::grad_at(f, TensorList{x...}, position);
  };
}
/// Jacobian of f: Tensor → Tensor by forward mode (one pass per input element); shape (*f(x).shape, *x.shape).
template <class F>
auto jacfwd(F f) {
  return [f = detail::as_function(std::move(f))](const Tensor& x) { return detail::jacfwd_at(f, x); };
}
/// Jacobian by reverse mode (one sweep per output element); shape (*f(x).shape, *x.shape).
template <class F>
auto jacrev(F f) {
  return [f = detail::as_function(std::move(f))](const Tensor& x) { return detail::jacrev_at(f, x); };
}
/// Hessian of a scalar f: Tensor → Tensor, forward over reverse; shape (*x.shape, *x.shape).
template <class F>
auto hessian(F f) {
  return jacfwd(grad(std::move(f)));
}

}  // namespace evolute
