/// \file
/// Graph mode: a function recorded once per signature and replayed without running it again.
#pragma once

#include <memory>

#include "evolute/autodiff.h"

namespace evolute {

/// A function compiled on first use for each signature (shapes, dtypes and devices of its inputs).
///
/// Variables it reads are inputs of the recorded graph and variables it writes are outputs: both follow later changes.
/// Anything else the function does, besides operations on tensors, happens while recording only. Calls inside another
/// transform or recording run the function itself.
class EVOLUTE_API CompiledFunction {
 public:
  explicit CompiledFunction(Function f);
  TensorList operator()(const TensorList& inputs) const;
  /// Number of signatures recorded so far.
  std::size_t recorded() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// Compiles a callable of tensors: `auto step = ev::jit(f); ev::Tensor y = step(x);`
template <class F>
auto jit(F f) {
  CompiledFunction compiled(detail::as_function(std::move(f)));
  return
      [compiled](const std::convertible_to<Tensor> auto&... x) -> Tensor { return compiled(TensorList{x...}).at(0); };
}

}  // namespace evolute
