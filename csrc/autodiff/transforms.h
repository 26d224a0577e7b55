// What the C++ transforms and the bindings share: one reverse-mode run of a function, and checks of its operands.
#pragma once

#include <optional>
#include <vector>

#include "autodiff/jet.h"
#include "autodiff/tape.h"

namespace evolute {

// Opens a tape, shadows variables while the function runs, and pulls cotangents back afterwards.
class ReverseRun {
 public:
  explicit ReverseRun(const char* what);  // the transform's name, for messages; outlives the run
  ~ReverseRun();
  ReverseRun(const ReverseRun&) = delete;
  ReverseRun& operator=(const ReverseRun&) = delete;

  // Independent quantities, in the order in which `pull` gives their gradients. DTypeError unless floating.
  Tensor trace(const Tensor& x);
  void trace(const Ref<Variable>& v);

  // Ends the level; the destructor does so too.
  void close() { scope_->end(); }
  // Lets what was written to variables stand. The destructor does so too, unless an exception is on its way.
  void commit() { scope_.reset(); }

  Tensor lower(const Tensor& t) const { return tape_->lower(t); }
  // Gradients of all traced quantities, zeros where none reached.
  std::vector<Tensor> pull(std::span<const Tensor> outputs, std::span<const Tensor> cotangents, bool consume);

 private:
  const char* what_;
  Ref<Tape> tape_;
  std::optional<LevelScope> scope_;
  std::vector<Tensor> inputs_;
};

// One run of Taylor mode: traces inputs that move along curves, given by their derivatives, and reads off those of
// results. Factorials are here alone; the level has coefficients without.
class TaylorRun {
 public:
  explicit TaylorRun(std::size_t order) : jet_(make_ref<Jet>(order)), scope_(*jet_) {}

  // `derivatives` of orders 1, 2, … ; undefined and missing ones are zero.
  Tensor trace(const Tensor& x, std::span<const Tensor> derivatives);
  Tensor lower(const Tensor& t) const { return jet_->lower(t); }
  // The derivative of order k; zeros where it is zero.
  Tensor derivative(const Tensor& t, std::size_t k) const;

 private:
  Ref<Jet> jet_;
  LevelScope scope_;
};

// DTypeError unless x can be differentiated; `what` names the transform.
void require_differentiable(const Tensor& x, const char* what);
// ShapeError or DTypeError unless t is of shape and dtype `a`; `role` says what t is.
void require_like(const Tensor& t, const Aval& a, const char* what, const char* role);

}  // namespace evolute
