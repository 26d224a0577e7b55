#include "autodiff/transforms.h"

#include <cmath>

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

namespace {

double factorial(std::size_t k) { return std::tgamma(static_cast<double>(k) + 1); }

// Whether it is a constant, made as such, and 0.
bool is_known_zero(const Tensor& t) {
  if (t.value()->level() || t.size() == 0) return false;
  const Array& a = t.array();
  for (int i = 0; i < a.ndim(); ++i)
    if (a.shape()[i] > 1 && a.strides()[i] != 0) return false;
  return to_tensor(view(a, {}, {})).item() == 0;
}

}  // namespace

Tensor TaylorRun::trace(const Tensor& x, std::span<const Tensor> derivatives) {
  Tensors series(jet_->order());
  for (std::size_t k = 0; k < derivatives.size(); ++k) {
    if (!derivatives[k].defined() || is_known_zero(settle(derivatives[k]))) continue;
    const Tensor& d = settle(derivatives[k]);
    series[k] = k == 0 ? d : mul(d, 1 / factorial(k + 1));
  }
  return jet_->trace(settle(x), series);
}

Tensor TaylorRun::derivative(const Tensor& t, std::size_t k) const {
  const auto series = jet_->series(t);
  if (series.empty() || !series[k - 1].defined()) return zeros_like(jet_->lower(t));
  return k == 1 ? series[0] : mul(series[k - 1], factorial(k));
}

std::pair<TensorList, std::vector<TensorList>> jet(const Function& f, const TensorList& inputs,
                                                   const std::vector<TensorList>& series) {
  if (inputs.size() != series.size())
    throw ValueError(cat("jet: got ", series.size(), " series for ", inputs.size(), " inputs"));
  std::size_t order = 0;
  for (const TensorList& s : series) order = std::max(order, s.size());
  if (order == 0) throw ValueError("jet: got no derivatives of any input; there must be at least those of order 1");
  TaylorRun run(order);
  TensorList traced;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    for (const Tensor& d : series[i]) {
      if (!d.defined()) continue;
      require_differentiable(inputs[i], "jet");
      require_like(d, inputs[i].aval(), "jet", "a derivative of an input");
    }
    traced.push_back(run.trace(inputs[i], series[i]));
  }
  std::pair<TensorList, std::vector<TensorList>> result;
  for (const Tensor& y : f(traced)) {
    result.first.push_back(run.lower(y));
    TensorList& derivatives = result.second.emplace_back();
    for (std::size_t k = 1; k <= order; ++k) derivatives.push_back(run.derivative(y, k));
  }
  return result;
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

Tensor derivative_at(const Function& f, const TensorList& x, int order, int position) {
  if (order < 1) throw ValueError(cat("derivative: got order ", order, "; it must be at least 1"));
  const Tensor& moving = x.at(static_cast<std::size_t>(position));
  require_differentiable(moving, "derivative");
  TaylorRun run(static_cast<std::size_t>(order));
  const Tensor ones = ones_like(moving);
  TensorList traced = x;
  traced[static_cast<std::size_t>(position)] = run.trace(moving, {&ones, 1});
  return run.derivative(f(traced).at(0), static_cast<std::size_t>(order));
}

Tensor grad_at(const Function& f, const TensorList& x, int position) { return gradients(f, x, {position}).inputs[0]; }

}  // namespace detail

}  // namespace evolute
