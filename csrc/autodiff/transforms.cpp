#include "autodiff/transforms.h"

#include "autodiff/jet.h"
#include "evolute/autodiff.h"
#include "evolute/ops.h"

namespace evolute {

void require_differentiable(const Tensor& x, const char* what) {
  if (!x.defined()) throw ValueError(cat(what, ": an input is an undefined tensor"));
  if (!is_floating(x.dtype()))
    throw DTypeError(cat(what, ": cannot differentiate with respect to an input of type ", x.aval(),
                         "; convert it to float32 or float64 first"));
}

void require_like(const Tensor& t, const Aval& a, const char* what, const char* role) {
  if (t.shape() != a.shape)
    throw ShapeError(cat(what, ": ", role, " has shape ", t.shape(), ", but must have shape ", a.shape));
  if (t.dtype() != a.dtype)
    throw DTypeError(cat(what, ": ", role, " has dtype ", name_of(t.dtype()), ", but must have ", name_of(a.dtype)));
}

ReverseRun::ReverseRun(const char* what) : what_(what), tape_(make_ref<Tape>()), scope_(std::in_place, *tape_) {}

ReverseRun::~ReverseRun() {
  scope_.reset();
  tape_->clear();  // values that outlive the run must not keep all of it alive
}

Tensor ReverseRun::trace(const Tensor& x) {
  require_differentiable(x, what_);
  inputs_.push_back(tape_->trace(settle(x)));
  return inputs_.back();
}

void ReverseRun::trace(const Ref<Variable>& v) {
  if (const auto* b = scope_->bindings().find(*v)) {  // the same variable once more: one quantity, two places
    inputs_.push_back(b->initial);
    return;
  }
  scope_->bindings().shadow(*v, trace(v->get()));
}

TensorList ReverseRun::pull(std::span<const Tensor> outputs, std::span<const Tensor> cotangents, bool consume) {
  TensorList grads = tape_->sweep(outputs, cotangents, inputs_, consume);
  for (std::size_t i = 0; i < grads.size(); ++i)
    if (!grads[i].defined()) grads[i] = zeros_like(inputs_[i]);
  return grads;
}

VjpResult vjp(const Function& f, const TensorList& inputs) {
  auto run = std::make_shared<ReverseRun>("vjp");
  TensorList traced;
  for (const Tensor& x : inputs) traced.push_back(run->trace(x));
  TensorList outputs = f(traced);
  run->close();
  TensorList values;
  for (const Tensor& y : outputs) values.push_back(run->lower(y));
  run->commit();
  return {values, [run, outputs = std::move(outputs)](const TensorList& cotangents) {
            if (cotangents.size() != outputs.size())
              throw ValueError(cat("vjp: got ", cotangents.size(), " cotangents for ", outputs.size(), " outputs"));
            for (std::size_t i = 0; i < outputs.size(); ++i)
              if (cotangents[i].defined()) require_like(cotangents[i], outputs[i].aval(), "vjp", "a cotangent");
            return run->pull(outputs, cotangents, false);
          }};
}

std::pair<TensorList, TensorList> jvp(const Function& f, const TensorList& inputs, const TensorList& tangents) {
  if (inputs.size() != tangents.size())
    throw ValueError(cat("jvp: got ", tangents.size(), " tangents for ", inputs.size(), " inputs"));
  auto jet = make_ref<Jet>();
  TensorList outputs;
  {
    LevelScope scope(*jet);
    TensorList traced;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (tangents[i].defined()) {
        require_differentiable(inputs[i], "jvp");
        require_like(tangents[i], inputs[i].aval(), "jvp", "a tangent");
      }
      traced.push_back(tangents[i].defined() ? jet->trace(settle(inputs[i]), settle(tangents[i])) : inputs[i]);
    }
    outputs = f(traced);
  }
  TensorList values, derivatives;
  for (const Tensor& y : outputs) {
    const Tensor d = jet->tangent(y);
    values.push_back(jet->lower(y));
    derivatives.push_back(d.defined() ? d : zeros_like(values.back()));
  }
  return {values, derivatives};
}

Gradients gradients(const Function& f, const TensorList& inputs, const std::vector<int>& wanted,
                    const std::vector<Ref<Variable>>& variables, const TensorList& cotangents) {
  ReverseRun run("grad");
  TensorList args = inputs;
  for (int i : wanted) {
    if (i < 0 || i >= static_cast<int>(inputs.size()))
      throw ValueError(cat("grad: position ", i, " is out of range for ", inputs.size(), " inputs"));
    args[i] = run.trace(inputs[i]);
  }
  for (const auto& v : variables) run.trace(v);
  const TensorList outputs = f(args);
  run.close();
  Gradients result;
  TensorList seeds = cotangents;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    result.outputs.push_back(run.lower(outputs[i]));
    if (cotangents.empty())
      seeds.push_back(ones_like(result.outputs.back()));
    else
      require_like(cotangents.at(i), outputs[i].aval(), "grad", "a cotangent");
  }
  TensorList grads = run.pull(outputs, seeds, true);
  const auto split = grads.begin() + static_cast<std::ptrdiff_t>(wanted.size());
  result.inputs.assign(grads.begin(), split);
  result.variables.assign(split, grads.end());
  return result;
}

namespace detail {

Tensor grad_at(const Function& f, const TensorList& x, int position) { return gradients(f, x, {position}).inputs[0]; }

}  // namespace detail

}  // namespace evolute
