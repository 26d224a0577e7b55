// Derivative rules that a user gives for a function, in place of those of its operations.
#pragma once

#include <functional>
#include <string>

#include "ops/op.h"

namespace evolute {

using Mask = std::vector<bool>;

// The operands of a rule, all at the level below the derivative that asks.
struct RuleOperands {
  std::span<const Tensor> in, residuals, out;
};

// A rule of either kind; the other one is its transpose, found by reverse mode through the rule itself. Rules are built
// from operations, so they have derivatives too.
class DerivativeRule : public RefCounted {
 public:
  explicit DerivativeRule(std::string name) : name_(std::move(name)) {}
  const std::string& name() const { return name_; }  // begins messages

  // Cotangents of the wanted inputs from those of the outputs. Undefined is zero on both sides.
  virtual std::vector<Tensor> pull(const RuleOperands& at, std::span<const Tensor> cotangents,
                                   const Mask& wanted) const;
  // Tangents of the outputs from those of the inputs. Undefined is zero on both sides.
  virtual std::vector<Tensor> push(const RuleOperands& at, std::span<const Tensor> tangents) const;

 private:
  const std::string name_;
};

// `outputs` as they are, but with a derivative by `inputs` alone, which the rule gives, in every mode and to every
// order. Outputs and residuals are computed from what lies beneath the innermost derivative (`beneath`).
std::vector<Tensor> with_rule(Ref<const DerivativeRule> rule, std::span<const Tensor> outputs,
                              std::span<const Tensor> inputs, std::span<const Tensor> residuals);

// The innermost derivative that the inputs take part in; null if there is none, or none that a recording has to know.
Level* innermost_derivative(std::span<const Tensor> inputs);
// What `derivative` sees of x as a constant: x less that level, also where it lies under vmaps.
Tensor beneath(const Level* derivative, const Tensor& x);
// Whether a rule must be noted although nobody takes derivatives yet: what is being recorded is a body, whose
// derivatives are taken later.
bool recording_body(std::span<const Tensor> inputs);

// What a function gives, and what its rule needs of it.
struct Kept {
  std::vector<Tensor> outputs, residuals;
};
// Runs `f` if no derivative is taken, else `keep` beneath the innermost one (f again where there is none, and no
// residuals), and attaches the rule. In a body it runs `f`, and `keep` when a derivative is taken: it may call the very
// function that it belongs to. TraceError if the outputs depend on what is differentiated through something else than
// the inputs; unless `lenient`, where such a dependence counts as none.
std::vector<Tensor> call_with_rule(Ref<const DerivativeRule> rule, std::span<const Tensor> inputs,
                                   const std::function<std::vector<Tensor>(std::span<const Tensor>)>& f,
                                   const std::function<Kept(std::span<const Tensor>)>& keep, bool lenient = false);

}  // namespace evolute
