/// \file
/// Transforms of functions: derivatives in reverse and forward mode and functions of many examples at once, nested to
/// any order.
#pragma once

#include <functional>
#include <optional>
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
  /// Maps cotangents (one per output, of its shape; undefined is zero) to one per input; may be called any number of
  /// times.
  std::function<TensorList(const TensorList&)> pullback;
};

/// Runs f and records it for reverse mode. Inputs must be of floating dtype (DTypeError otherwise).
EVOLUTE_API VjpResult vjp(const Function& f, const TensorList& inputs);

/// Outputs of f and J·v for the tangents v, one per input and of its shape and dtype; an undefined tangent is zero.
EVOLUTE_API std::pair<TensorList, TensorList> jvp(const Function& f, const TensorList& inputs,
                                                  const TensorList& tangents);

/// Derivatives of f along a curve, by Taylor mode: with inputs x(t), the values of f at t = 0 and its derivatives by t
/// of orders 1 to K, for a cost that grows as K².
/// \param series per input its derivatives by t, x', x'', …, of its shape and dtype; undefined and missing ones are
/// zero.
///               The longest gives K; ValueError if that is 0.
/// \return values, and per output its K derivatives
EVOLUTE_API std::pair<TensorList, std::vector<TensorList>> jet(const Function& f, const TensorList& inputs,
                                                               const std::vector<TensorList>& series);

/// What `laplacian_at` gives, per output of f.
struct LaplacianResult {
  TensorList values;
  TensorList slopes;      ///< derivatives along the directions, of shape (directions, *output)
  TensorList laplacians;  ///< the sum over the directions of second derivatives
};
/// Second derivatives of f along directions, summed: with unit vectors the Laplacian. Taylor mode along all directions
/// at once in which only the sum of second derivatives is carried, for the cost of (directions + 2) runs of f.
/// \param directions of shape (directions, *x.shape)
EVOLUTE_API LaplacianResult laplacian_at(const Function& f, const Tensor& x, const Tensor& directions);

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

/// Derivatives of all outputs by all wanted inputs: element [i][j], of shape (*output i, *wanted input j).
using Jacobian = std::vector<TensorList>;
/// By forward mode: one run of f per wanted input, along all of its unit vectors at once. Cheaper than reverse mode
/// where the inputs have fewer elements than the outputs. As many unit vectors go at once as keep them and the
/// derivatives along them within 64 MiB.
EVOLUTE_API Jacobian jacobian_forward(const Function& f, const TensorList& inputs, const std::vector<int>& wanted);
/// By reverse mode: one run of f, and one sweep back per output, from all of its unit vectors at once (within 64 MiB).
EVOLUTE_API Jacobian jacobian_reverse(const Function& f, const TensorList& inputs, const std::vector<int>& wanted);
/// By the mode that has fewer unit vectors to follow.
EVOLUTE_API Jacobian jacobian(const Function& f, const TensorList& inputs, const std::vector<int>& wanted);

/// Outputs of a function, and what its backward rule needs.
using KeepingFunction = std::function<std::pair<TensorList, TensorList>(const TensorList& inputs)>;
/// Gradients of the inputs from what was kept and the cotangents of the outputs; undefined is zero.
using BackwardRule = std::function<TensorList(const TensorList& residuals, const TensorList& cotangents)>;
/// Tangents of the outputs from the inputs and their tangents; undefined is zero.
using ForwardRule = std::function<TensorList(const TensorList& inputs, const TensorList& tangents)>;

/// An axis per tensor; none where a tensor is the same for all examples. An empty list means axis 0 for all.
using BatchAxes = std::vector<std::optional<std::int64_t>>;

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
EVOLUTE_API Tensor jacfwd_at(const Function& f, const TensorList& x, int position);
EVOLUTE_API Tensor jacrev_at(const Function& f, const TensorList& x, int position);
EVOLUTE_API Tensor jacobian_at(const Function& f, const TensorList& x, int position);
EVOLUTE_API Tensor derivative_at(const Function& f, const TensorList& x, int order, int position);
EVOLUTE_API Tensor laplacian_of(const Function& f, const Tensor& x);
EVOLUTE_API Tensor hessian_at(const Function& f, const TensorList& x, int position);
EVOLUTE_API Tensor hvp_at(const Function& f, const TensorList& x, const Tensor& v, int position);
EVOLUTE_API TensorList custom_vjp_at(const Function& f, const KeepingFunction& forward, const BackwardRule& backward,
                                     const TensorList& x);
EVOLUTE_API TensorList custom_jvp_at(const Function& f, const ForwardRule& rule, const TensorList& x);
EVOLUTE_API TensorList vmap_at(const Function& f, const TensorList& x, const BatchAxes& in_axes,
                               const BatchAxes& out_axes);
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
/// Jacobian of f with respect to argument `position` by forward mode; shape (*f(x).shape, *x.shape). See
/// jacobian_forward.
template <class F>
auto jacfwd(F f, int position = 0) {
  return [f = detail::as_function(std::move(f)), position](const std::convertible_to<Tensor> auto&... x) {
    return detail::jacfwd_at(f, TensorList{x...}, position);
  };
}
/// The same by reverse mode; see jacobian_reverse.
template <class F>
auto jacrev(F f, int position = 0) {
  return [f = detail::as_function(std::move(f)), position](const std::convertible_to<Tensor> auto&... x) {
    return detail::jacrev_at(f, TensorList{x...}, position);
  };
}
/// Derivative of the given order of f, of its first output's shape, with respect to argument `position`, all of whose
/// elements move alike: f⁽ⁿ⁾(x) where f is elementwise in x, or x a number. By Taylor mode; see jet.
template <class F>
auto derivative(F f, int order, int position = 0) {
  return [f = detail::as_function(std::move(f)), order, position](const std::convertible_to<Tensor> auto&... x) {
    return detail::derivative_at(f, TensorList{x...}, order, position);
  };
}
/// Laplacian of f, the sum of its second derivatives by all elements of its argument; see laplacian_at.
template <class F>
auto laplacian(F f) {
  return [f = detail::as_function(std::move(f))](const Tensor& x) { return detail::laplacian_of(f, x); };
}
/// Hessian of a scalar f with respect to argument `position`, forward over reverse; shape (*x.shape, *x.shape).
template <class F>
auto hessian(F f, int position = 0) {
  return [f = detail::as_function(std::move(f)), position](const std::convertible_to<Tensor> auto&... x) {
    return detail::hessian_at(f, TensorList{x...}, position);
  };
}
/// Product of the Hessian of f with a vector, forward over reverse, for about the cost of two gradients: a function of
/// v and the arguments of f.
template <class F>
auto hvp(F f, int position = 0) {
  return
      [f = detail::as_function(std::move(f)), position](const Tensor& v, const std::convertible_to<Tensor> auto&... x) {
        return detail::hvp_at(f, TensorList{x...}, v, position);
      };
}

/// f with a reverse rule of its own, a function of the same tensors that gives a list. Where derivatives are taken,
/// `forward` runs in its place. The rule is built from operations, and so is differentiated for higher orders; forward
/// mode uses its transpose, for which it must be linear in the cotangents.
///
/// f, forward and backward see values without the derivative that asks. A function that uses tensors from outside by
/// which a derivative is being taken throws TraceError.
template <class F>
auto custom_vjp(F f, KeepingFunction forward, BackwardRule backward) {
  return [f = detail::as_function(std::move(f)), forward = std::move(forward),
          backward = std::move(backward)](const std::convertible_to<Tensor> auto&... x) {
    return detail::custom_vjp_at(f, forward, backward, TensorList{x...});
  };
}
/// f with a forward rule of its own; reverse mode uses its transpose, for which it must be linear in the tangents.
template <class F>
auto custom_jvp(F f, ForwardRule rule) {
  return [f = detail::as_function(std::move(f)), rule = std::move(rule)](const std::convertible_to<Tensor> auto&... x) {
    return detail::custom_jvp_at(f, rule, TensorList{x...});
  };
}

/// f on many examples at once: a function of the same arguments with an axis more, along which the examples lie, that
/// gives results with an axis more. Written for one example, f runs once; every operation in it works on all examples.
///
///     auto per_example = ev::vmap(ev::grad(loss), {std::nullopt, 0, 0});  // gradients by the first argument
///
/// \param in_axes  axis of the examples in each argument; none for arguments that are the same for all
/// \param out_axes axis of the examples in each result; none for results that are the same for all
/// Throws ValueError if no argument is mapped or an axis does not exist, ShapeError if the numbers of examples differ.
template <class F>
auto vmap(F f, BatchAxes in_axes = {}, BatchAxes out_axes = {}) {
  return
      [f, in_axes = std::move(in_axes), out_axes = std::move(out_axes)](const std::convertible_to<Tensor> auto&... x) {
        constexpr bool one = std::is_invocable_r_v<Tensor, F, decltype(Tensor(x))...>;
        const Function g = [&f](const TensorList& in) -> TensorList {
          return [&]<std::size_t... i>(std::index_sequence<i...>) -> TensorList {
            if constexpr (one)
              return {f(in[i]...)};
            else if constexpr (std::is_invocable_v<F, decltype(Tensor(x))...>)
              return f(in[i]...);
            else
              return f(in);
          }(std::make_index_sequence<sizeof...(x)>());
        };
        TensorList out = detail::vmap_at(g, TensorList{x...}, in_axes, out_axes);
        if constexpr (one)
          return out.at(0);
        else
          return out;
      };
}

}  // namespace evolute
