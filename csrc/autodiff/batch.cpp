#include "autodiff/batch.h"

#include <cassert>

#include "evolute/autodiff.h"
#include "evolute/ops.h"
#include "ops/batching.h"

namespace evolute {

Tensor Batch::made(const Tensor& inner, const Aval& aval) {
  assert(inner.shape() == batched_shape(size_, aval.shape));
  const auto fresh = [&] { return Tensor(Ref<Value>(new Traced(Ref<Level>(this), inner, aval))); };
  if (!thread_state.recorder) return fresh();
  Tensor& t = known_[inner.value()];
  if (!t.defined()) t = fresh();
  return t;
}

Tensor Batch::trace(const Tensor& x, std::int64_t axis) {
  const Tensor inner = moveaxis(settle(x), axis, 0);
  Aval aval = inner.aval();
  aval.shape.erase(0);
  return made(inner, aval);
}

void Batch::forget() noexcept {
  known_.clear();
  Level::forget();
}

Tensor Batch::lower(const Tensor& t) const { return holds(t) ? static_cast<const Traced*>(t.value())->inner : t; }

Tensor Batch::stacked(const Tensor& t, std::int64_t axis) const {
  return moveaxis(holds(t) ? lower(t) : broadcast_to(t, batched_shape(size_, t.shape())), 0, axis);
}

void Batch::process(const Op& op, const AttrsPtr& attrs, std::span<const Tensor> in, std::span<Tensor> out) {
  if (!op.batch) throw TraceError(cat(op.name, ": has no batching rule, and cannot run inside vmap"));
  SmallVector<Aval, 1> avals;
  op.infer(op, attrs.get(), in, avals);  // for one example, so that errors speak of it
  Tensors inner;
  SmallVector<bool, 8> batched, out_batched;
  for (const Tensor& t : in) {
    inner.push_back(lower(t));
    batched.push_back(holds(t));
  }
  for (std::size_t i = 0; i < out.size(); ++i) out_batched.push_back(true);
  BatchArgs args{attrs.get(), size_, inner, batched, avals, out, out_batched};
  op.batch(op, args);
  for (std::size_t i = 0; i < out.size(); ++i)
    if (out_batched[i]) out[i] = made(out[i], avals[i]);
}

std::int64_t count_examples(std::span<const MappedInput> inputs) {
  const MappedInput* first = nullptr;
  std::int64_t count = 0;
  for (const MappedInput& x : inputs) {
    if (!x.axis) continue;
    if (*x.axis >= x.value.ndim() || *x.axis < -x.value.ndim())
      throw ValueError(cat("vmap: in_axes has axis ", *x.axis, " for ", x.name, ", which has shape ", x.value.shape(),
                           "; give an axis that it has, or None if it is the same for all examples"));
    const std::int64_t n = x.value.shape(static_cast<int>(*x.axis));
    if (!first) first = &x, count = n;
    if (n != count)
      throw ShapeError(cat("vmap: axis ", *first->axis, " of ", first->name, ", of shape ", first->value.shape(),
                           ", has ", count, " examples, but axis ", *x.axis, " of ", x.name, ", of shape ",
                           x.value.shape(), ", has ", n, "; there must be as many of each"));
  }
  if (!first) throw ValueError("vmap: no input is mapped; in_axes must have an axis for at least one tensor");
  return count;
}

Tensor leave_batch(const Batch& batch, const Tensor& output, std::optional<std::int64_t> axis,
                   const std::string& name) {
  const Tensor& y = settle(output);
  if (!axis && batch.holds(y))
    throw ValueError(cat("vmap: out_axes is None for ", name, ", of shape ", y.shape(),
                         " for one example, which differs from example to example; give the axis to stack it along"));
  if (!axis) return y;
  if (*axis > y.ndim() || *axis < -y.ndim() - 1)
    throw ValueError(cat("vmap: out_axes has axis ", *axis, " for ", name, ", which has shape ", y.shape(),
                         " for one example, and one axis more for all of them"));
  return batch.stacked(y, *axis);
}

namespace detail {

TensorList vmap_at(const Function& f, const TensorList& x, const BatchAxes& in_axes, const BatchAxes& out_axes) {
  const auto axis_of = [](const BatchAxes& axes, std::size_t i) { return axes.empty() ? 0 : axes[i]; };
  if (!in_axes.empty() && in_axes.size() != x.size())
    throw ValueError(cat("vmap: got ", in_axes.size(), " in_axes for ", x.size(), " inputs"));
  std::vector<MappedInput> inputs;
  for (std::size_t i = 0; i < x.size(); ++i) inputs.push_back({x[i], axis_of(in_axes, i), cat("input ", i)});
  const auto batch = make_ref<Batch>(count_examples(inputs));
  LevelScope scope(*batch);
  TensorList traced;
  for (const MappedInput& m : inputs) traced.push_back(m.axis ? batch->trace(m.value, *m.axis) : m.value);
  TensorList outputs = f(traced);
  if (!out_axes.empty() && out_axes.size() != outputs.size())
    throw ValueError(cat("vmap: got ", out_axes.size(), " out_axes for ", outputs.size(), " outputs"));
  for (std::size_t i = 0; i < outputs.size(); ++i)
    outputs[i] = leave_batch(*batch, outputs[i], axis_of(out_axes, i), cat("output ", i));
  return outputs;
}

}  // namespace detail

}  // namespace evolute
