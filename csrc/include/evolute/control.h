/// \file
/// Control flow on values: loops and branches that can be recorded, differentiated to any order, and nested.
///
/// Outside of recordings these run as the loops and branches that they stand for. While a function is recorded, their
/// bodies are recorded once, as graphs of their own, and run without the function. Bodies may refer to tensors and
/// variables outside of them, and write variables. A body that gives values of other shapes or dtypes than it has to
/// makes them throw ShapeError or DTypeError, and one that gives another number of them ValueError.
#pragma once

#include "evolute/autodiff.h"

namespace evolute {

/// `on_true(operands)` or `on_false(operands)`, as a boolean scalar says. Both give values of the same shapes and
/// dtypes.
EVOLUTE_API TensorList cond(const Tensor& predicate, const Function& on_true, const Function& on_false,
                            const TensorList& operands = {});

/// `state = body(state)` while `condition(state)`, a boolean scalar, is true. Reverse mode keeps the states of all
/// steps.
EVOLUTE_API TensorList while_loop(const std::function<Tensor(const TensorList&)>& condition, const Function& body,
                                  const TensorList& init);

struct ScanOptions {
  std::int64_t length = -1;  ///< number of steps; needed where there are no xs
  bool reverse = false;      ///< from the last element to the first
  /// Reverse mode keeps the carry before every k-th step and computes the others anew. 0 for a choice by size: every
  /// step as long as that takes at most 1 MiB, else about every √length-th. Outside of recordings a choice by size
  /// means that everything is kept, as for any loop written in C++.
  std::int64_t checkpoint = 0;
};
struct ScanResult {
  TensorList carry;  ///< after the last step
  TensorList ys;     ///< what the steps gave, stacked along a new first axis
};
using ScanBody = std::function<ScanResult(const TensorList& carry, const TensorList& x)>;
/// `carry, y[i] = body(carry, x[i])` for the elements of the first axis of all `xs`.
EVOLUTE_API ScanResult scan(const ScanBody& body, const TensorList& init, const TensorList& xs,
                            const ScanOptions& options = {});

using LoopBody = std::function<TensorList(const Tensor& i, const TensorList& state)>;
/// `state = body(i, state)` for i from `lower` to `upper` - 1, an int64 scalar.
EVOLUTE_API TensorList fori_loop(std::int64_t lower, std::int64_t upper, const LoopBody& body, const TensorList& init,
                                 std::int64_t checkpoint = 0);
/// The same with bounds that are integer scalars, known when the loop runs.
EVOLUTE_API TensorList fori_loop(const Tensor& lower, const Tensor& upper, const LoopBody& body,
                                 const TensorList& init);

/// `f(inputs)`, of which reverse mode keeps nothing but the inputs: it runs the operations of f once more. They are
/// recorded for that, so f cannot depend on values of tensors (UnknownValueError).
EVOLUTE_API TensorList checkpoint(const Function& f, const TensorList& inputs);

}  // namespace evolute
