#include "autodiff/custom.h"

#include <algorithm>

#include "autodiff/batch.h"
#include "autodiff/transforms.h"
#include "evolute/autodiff.h"
#include "evolute/ops.h"

namespace evolute {

// ---- Transposes

std::vector<Tensor> DerivativeRule::pull(const RuleOperands& at, std::span<const Tensor> cotangents,
                                         const Mask& wanted) const {
  ReverseRun run(name_.c_str());
  std::vector<Tensor> tangents(at.in.size());
  for (std::size_t i = 0; i < tangents.size(); ++i)
    if (wanted[i]) tangents[i] = run.trace(zeros_like(at.in[i]));
  std::vector<Tensor> pushed = push(at, tangents), seeds;
  std::size_t n = 0;
  for (std::size_t i = 0; i < pushed.size(); ++i) {
    if (!pushed[i].defined() || !cotangents[i].defined()) continue;
    pushed[n++] = pushed[i];
    seeds.push_back(cotangents[i]);
  }
  pushed.resize(n);
  run.close();
  const std::vector<Tensor> grads = run.pull(pushed, seeds, true);
  std::vector<Tensor> result(at.in.size());
  for (std::size_t i = 0, next = 0; i < result.size(); ++i)
    if (wanted[i]) result[i] = grads[next++];
  return result;
}

std::vector<Tensor> DerivativeRule::push(const RuleOperands& at, std::span<const Tensor> tangents) const {
  ReverseRun run(name_.c_str());
  std::vector<Tensor> cotangents(at.out.size());
  for (std::size_t i = 0; i < cotangents.size(); ++i)
    if (is_floating(at.out[i].dtype())) cotangents[i] = run.trace(zeros_like(at.out[i]));
  Mask wanted;
  for (const Tensor& t : tangents) wanted.push_back(t.defined());
  std::vector<Tensor> pulled, along;
  const std::vector<Tensor> grads = pull(at, cotangents, wanted);
  for (std::size_t i = 0; i < grads.size(); ++i) {
    if (!wanted[i] || !grads[i].defined()) continue;
    pulled.push_back(grads[i]);
    along.push_back(tangents[i]);
  }
  run.close();
  const std::vector<Tensor> pushed = run.pull(pulled, along, true);
  std::vector<Tensor> result(at.out.size());
  for (std::size_t i = 0, next = 0; i < result.size(); ++i)
    if (cotangents[i].defined()) result[i] = pushed[next++];
  return result;
}

namespace {

// The rule on all examples of a vmap at once: marked inputs and residuals have an axis more, and so do all outputs.
class BatchedRule final : public DerivativeRule {
 public:
  BatchedRule(Ref<const DerivativeRule> one, Mask batched, std::int64_t size)
      : DerivativeRule(one->name()), one_(std::move(one)), batched_(std::move(batched)), size_(size) {}

  std::vector<Tensor> pull(const RuleOperands& at, std::span<const Tensor> cotangents,
                           const Mask& wanted) const override {
    const auto batch = make_ref<Batch>(size_);
    LevelScope scope(*batch);
    const Operands operands(*batch, at, batched_);
    std::vector<Tensor> grads = one_->pull(operands.at(), traced(*batch, cotangents), wanted);
    for (std::size_t i = 0; i < grads.size(); ++i) {
      if (!grads[i].defined()) continue;
      grads[i] = batch->stacked(settle(grads[i]));
      if (!batched_[i]) grads[i] = sum(grads[i], Axes{0});
    }
    return grads;
  }

  std::vector<Tensor> push(const RuleOperands& at, std::span<const Tensor> tangents) const override {
    const auto batch = make_ref<Batch>(size_);
    LevelScope scope(*batch);
    const Operands operands(*batch, at, batched_);
    std::vector<Tensor> along(tangents.begin(), tangents.end());
    for (std::size_t i = 0; i < along.size(); ++i)
      if (along[i].defined() && batched_[i]) along[i] = batch->trace(along[i]);
    std::vector<Tensor> pushed = one_->push(operands.at(), along);
    for (Tensor& t : pushed)
      if (t.defined()) t = batch->stacked(settle(t));
    return pushed;
  }

 private:
  static std::vector<Tensor> traced(Batch& batch, std::span<const Tensor> tensors) {
    std::vector<Tensor> result;
    for (const Tensor& t : tensors) result.push_back(t.defined() ? batch.trace(t) : Tensor());
    return result;
  }
  // The operands for one example.
  class Operands {
   public:
    Operands(Batch& batch, const RuleOperands& all, const Mask& batched) : out_(traced(batch, all.out)) {
      for (std::size_t i = 0; i < all.in.size(); ++i) in_.push_back(batched[i] ? batch.trace(all.in[i]) : all.in[i]);
      for (std::size_t i = 0; i < all.residuals.size(); ++i)
        residuals_.push_back(batched[all.in.size() + i] ? batch.trace(all.residuals[i]) : all.residuals[i]);
    }
    RuleOperands at() const { return {in_, residuals_, out_}; }

   private:
    std::vector<Tensor> in_, residuals_, out_;
  };

  const Ref<const DerivativeRule> one_;
  const Mask batched_;  // of inputs | residuals
  const std::int64_t size_;
};

// A rule that finds its residuals when it is asked.
class KeepingRule final : public DerivativeRule {
 public:
  KeepingRule(Ref<const DerivativeRule> rule, std::function<Kept(std::span<const Tensor>)> keep)
      : DerivativeRule(rule->name()), rule_(std::move(rule)), keep_(std::move(keep)) {}

  std::vector<Tensor> pull(const RuleOperands& at, std::span<const Tensor> cotangents,
                           const Mask& wanted) const override {
    const Kept kept = keep_(at.in);
    return rule_->pull({at.in, kept.residuals, at.out}, cotangents, wanted);
  }
  std::vector<Tensor> push(const RuleOperands& at, std::span<const Tensor> tangents) const override {
    const Kept kept = keep_(at.in);
    return rule_->push({at.in, kept.residuals, at.out}, tangents);
  }

 private:
  const Ref<const DerivativeRule> rule_;
  const std::function<Kept(std::span<const Tensor>)> keep_;
};

// ---- The operation.  in: outputs | inputs | residuals; out: outputs

struct RuleAttrs final : Attrs {
  RuleAttrs(Ref<const DerivativeRule> rule, std::size_t n_out, std::size_t n_in)
      : rule(std::move(rule)), n_out(n_out), n_in(n_in) {}
  bool equals(const Attrs& o) const override { return this == &o; }
  std::size_t hash() const override { return std::hash<const void*>{}(this); }
  void print(std::ostream& s) const override { s << rule->name(); }
  bool has_own_derivative() const override { return true; }

  RuleOperands at(std::span<const Tensor> in, std::span<const Tensor> out) const {
    return {in.subspan(n_out, n_in), in.subspan(n_out + n_in), out};
  }

  const Ref<const DerivativeRule> rule;
  const std::size_t n_out, n_in;
};

const RuleAttrs& rule_attrs(const Attrs* a) { return *static_cast<const RuleAttrs*>(a); }

void infer_rule(const Op&, const Attrs* attrs, std::span<const Tensor> in, SmallVector<Aval, 1>& out) {
  for (std::size_t i = 0; i < rule_attrs(attrs).n_out; ++i) out.push_back(in[i].aval());
}

bool give_outputs(std::span<const Tensor> in, const Aval&, std::span<Tensor> out) {
  std::copy_n(in.begin(), out.size(), out.begin());
  return true;
}

void vjp_rule(const Op&, VjpArgs& a) {
  const RuleAttrs& r = rule_attrs(a.attrs);
  Mask wanted;
  for (std::size_t i = 0; i < r.n_in; ++i) wanted.push_back(a.wants(r.n_out + i));
  if (std::find(wanted.begin(), wanted.end(), true) == wanted.end()) return;
  const RuleOperands at = r.at(a.in, a.out);
  const std::vector<Tensor> grads = r.rule->pull(at, a.cotangents, wanted);
  for (std::size_t i = 0; i < r.n_in; ++i) {
    if (!wanted[i] || !grads[i].defined()) continue;
    require_like(grads[i], at.in[i].aval(), r.rule->name().c_str(), "a gradient that the rule gives");
    a.grads[r.n_out + i] = grads[i];
  }
}

void jvp_rule(const Op&, JvpArgs& a) {
  const RuleAttrs& r = rule_attrs(a.attrs);
  const auto tangents = a.tangents.subspan(r.n_out, r.n_in);
  if (std::none_of(tangents.begin(), tangents.end(), [](const Tensor& t) { return t.defined(); })) return;
  const std::vector<Tensor> pushed = r.rule->push(r.at(a.in, a.out), tangents);
  for (std::size_t i = 0; i < r.n_out; ++i) {
    if (!pushed[i].defined()) continue;
    require_like(pushed[i], a.out[i].aval(), r.rule->name().c_str(), "a tangent that the rule gives");
    a.out_tangents[i] = pushed[i];
  }
}

void batch_rule(const Op& op, BatchArgs& a) {
  const RuleAttrs& r = rule_attrs(a.attrs);
  std::vector<Tensor> operands(a.in.begin(), a.in.end());
  for (std::size_t i = 0; i < r.n_out; ++i)
    if (!a.batched[i]) {
      Shape shape{a.size};
      for (auto n : a.in[i].shape()) shape.push_back(n);
      operands[i] = broadcast_to(a.in[i], shape);
    }
  Mask batched(a.batched.begin() + static_cast<std::ptrdiff_t>(r.n_out), a.batched.end());
  auto rule = Ref<const DerivativeRule>(new BatchedRule(r.rule, std::move(batched), a.size));
  apply(op, AttrsPtr(new RuleAttrs(std::move(rule), r.n_out, r.n_in)), operands, a.out);
}

const Op& custom_rule_op = define_op({.name = "custom_rule",
                                      .infer = infer_rule,
                                      .shortcut = give_outputs,
                                      .vjp = vjp_rule,
                                      .jvp = jvp_rule,
                                      .batch = batch_rule,
                                      .saves_out = true,
                                      .annotates = true,
                                      .doc = {.group = "control flow",
                                              .summary = "outputs of a function with a derivative rule of the user's",
                                              .formula = "out = f(in), with d out = rule(in, d in)"}});

}  // namespace

std::vector<Tensor> with_rule(Ref<const DerivativeRule> rule, std::span<const Tensor> outputs,
                              std::span<const Tensor> inputs, std::span<const Tensor> residuals) {
  std::vector<Tensor> operands(outputs.begin(), outputs.end()), result(outputs.size());
  if (outputs.empty()) return result;
  operands.insert(operands.end(), inputs.begin(), inputs.end());
  operands.insert(operands.end(), residuals.begin(), residuals.end());
  apply(custom_rule_op, AttrsPtr(new RuleAttrs(std::move(rule), outputs.size(), inputs.size())), operands, result);
  return result;
}

// ---- Where a rule is attached

bool recording_body(std::span<const Tensor> inputs) {
  if (thread_state.recorder && thread_state.recorder->of_body()) return true;
  return std::ranges::any_of(inputs, [](const Tensor& x) {
    const Tensor* t = &x;
    Level* l;
    while ((l = t->value()->level()) && !l->is_recorder()) t = &static_cast<const Traced*>(t->value())->inner;
    return l && static_cast<RecorderBase*>(l)->of_body();
  });
}

Level* innermost_derivative(std::span<const Tensor> inputs) {
  const int floor = thread_state.recorder ? thread_state.recorder->depth() : 0;
  Level* innermost = nullptr;
  for (const Tensor& x : inputs) {
    const Tensor* t = &x;
    for (Level* l; (l = t->value()->level()) && !l->is_recorder();) {
      const bool counts = l->live() && !l->is_batch() && l->depth() > floor;
      if (counts && (!innermost || l->depth() > innermost->depth())) innermost = l;
      t = &static_cast<const Traced*>(t->value())->inner;
    }
  }
  return innermost;
}

Tensor beneath(const Level* derivative, const Tensor& x) {
  Level* level = x.value()->level();
  if (!level || level->is_recorder()) return x;
  const Tensor& inner = static_cast<const Traced*>(x.value())->inner;
  if (level == derivative || !level->live()) return beneath(derivative, inner);
  if (!level->is_batch()) return x;  // a derivative further out: it sees what comes next
  const Tensor below = beneath(derivative, inner);
  return below.is_same(inner) ? x : static_cast<Batch*>(level)->trace(below);
}

std::vector<Tensor> call_with_rule(Ref<const DerivativeRule> rule, std::span<const Tensor> inputs,
                                   const std::function<std::vector<Tensor>(std::span<const Tensor>)>& f,
                                   const std::function<Kept(std::span<const Tensor>)>& keep, bool lenient) {
  std::vector<Tensor> in;
  for (const Tensor& x : inputs) in.push_back(settle(x));
  const Level* derivative = innermost_derivative(in);
  if (!derivative && !recording_body(in)) return f(in);
  if (!derivative) {
    if (keep) rule = Ref<const DerivativeRule>(new KeepingRule(std::move(rule), keep));
    return with_rule(std::move(rule), f(in), in, {});
  }
  std::vector<Tensor> below;
  for (const Tensor& x : in) below.push_back(beneath(derivative, x));
  Kept kept = keep ? keep(below) : Kept{f(below), {}};
  for (Tensor& y : kept.outputs) {
    const Tensor constant = beneath(derivative, settle(y));
    if (!lenient && !constant.is_same(settle(y)))
      throw TraceError(cat(rule->name(),
                           ": the function uses a tensor or parameter from outside by which a derivative is being "
                           "taken; its rule gives derivatives by its arguments alone, so make that one of them"));
    y = constant;
  }
  return with_rule(std::move(rule), kept.outputs, in, kept.residuals);
}

// ---- C++ functions

namespace {

class UserVjp final : public DerivativeRule {
 public:
  explicit UserVjp(BackwardRule backward) : DerivativeRule("custom_vjp"), backward_(std::move(backward)) {}
  std::vector<Tensor> pull(const RuleOperands& at, std::span<const Tensor> cotangents, const Mask&) const override {
    TensorList along(cotangents.begin(), cotangents.end());
    for (std::size_t i = 0; i < along.size(); ++i)
      if (!along[i].defined()) along[i] = zeros_like(at.out[i]);
    TensorList grads = backward_({at.residuals.begin(), at.residuals.end()}, along);
    if (grads.size() != at.in.size())
      throw ValueError(cat("custom_vjp: the backward rule gave ", grads.size(), " gradients for ", at.in.size(),
                           " inputs; give one for each, undefined where it is zero"));
    return grads;
  }

 private:
  const BackwardRule backward_;
};

class UserJvp final : public DerivativeRule {
 public:
  explicit UserJvp(ForwardRule forward) : DerivativeRule("custom_jvp"), forward_(std::move(forward)) {}
  std::vector<Tensor> push(const RuleOperands& at, std::span<const Tensor> tangents) const override {
    TensorList along(tangents.begin(), tangents.end());
    for (std::size_t i = 0; i < along.size(); ++i)
      if (!along[i].defined()) along[i] = zeros_like(at.in[i]);
    TensorList pushed = forward_({at.in.begin(), at.in.end()}, along);
    if (pushed.size() != at.out.size())
      throw ValueError(cat("custom_jvp: the rule gave ", pushed.size(), " tangents for ", at.out.size(),
                           " outputs; give one for each, undefined where it is zero"));
    return pushed;
  }

 private:
  const ForwardRule forward_;
};

TensorList listed(std::span<const Tensor> t) { return {t.begin(), t.end()}; }

}  // namespace

namespace detail {

TensorList custom_vjp_at(const Function& f, const KeepingFunction& forward, const BackwardRule& backward,
                         const TensorList& x) {
  return call_with_rule(
      Ref<const DerivativeRule>(new UserVjp(backward)), x, [&](std::span<const Tensor> in) { return f(listed(in)); },
      [forward](std::span<const Tensor> in) {
        auto [outputs, residuals] = forward(listed(in));
        return Kept{std::move(outputs), std::move(residuals)};
      });
}

TensorList custom_jvp_at(const Function& f, const ForwardRule& rule, const TensorList& x) {
  return call_with_rule(Ref<const DerivativeRule>(new UserJvp(rule)), x,
                        [&](std::span<const Tensor> in) { return f(listed(in)); }, {});
}

}  // namespace detail

}  // namespace evolute
