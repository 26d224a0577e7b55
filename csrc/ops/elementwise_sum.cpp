// The sums that broadcasting brings into reverse rules, taken while the terms are in the cache.
//
// The primitive is "this elementwise op, and each result summed to a shape". It has no rules of its own: summing is
// linear, so its rules are those of the op on cotangents that are broadcast again.
#include <algorithm>
#include <array>

#include "evolute/ops.h"
#include "ops/batching.h"
#include "ops/op.h"

namespace evolute {

namespace {

constexpr std::size_t kMostResults = 3;

struct SummedAttrs {
  const Op* op;
  std::array<Shape, kMostResults> shapes;  // of the results
  auto fields() const { return std::tie(op->name, shapes[0], shapes[1], shapes[2]); }
};

// Shapes and dtypes before summing.
SmallVector<Aval, 1> terms(const Op& op, std::span<const Tensor> in) {
  SmallVector<Aval, 1> avals;
  op.infer(op, nullptr, in, avals);
  return avals;
}

void infer_summed(const Op&, const Attrs* attrs, std::span<const Tensor> in, SmallVector<Aval, 1>& out) {
  const auto& a = attrs_as<SummedAttrs>(attrs);
  out = terms(*a.op, in);
  for (std::size_t i = 0; i < out.size(); ++i) out[i].shape = a.shapes[i];
}
void run_summed(const Op&, const Attrs* attrs, ArrayRefs in, std::span<Array* const> out) {
  const Op& op = *attrs_as<SummedAttrs>(attrs).op;
  Shape shape = in[0]->shape();
  for (const Array* a : in.subspan(1)) shape = broadcast_shapes(shape, a->shape(), op.name.c_str());
  backend(out[0]->aval().device.type).elementwise_sum(op.kernel_id, shape, in, out);
}
void vjp_summed(const Op&, VjpArgs& a) {
  const Op& op = *attrs_as<SummedAttrs>(a.attrs).op;
  const Shape shape = terms(op, a.in)[0].shape;
  Tensors cotangents;
  for (const Tensor& t : a.cotangents) cotangents.push_back(t.defined() ? broadcast_to(t, shape) : t);
  VjpArgs inner{nullptr, a.in, {}, cotangents, a.grads, a.in_aval};
  op.vjp(op, inner);
}
// Forward and Taylor rule.
void push_summed(const Op&, JvpArgs& a) {
  const Op& op = *attrs_as<SummedAttrs>(a.attrs).op;
  const Shape shape = terms(op, a.in)[0].shape;
  Tensors out;  // rules ask for its shape alone
  for (const Tensor& t : a.out) out.push_back(zeros(shape, t.dtype()));
  JvpArgs inner{nullptr, a.in, out, a.tangents, a.out_tangents, a.order};
  (a.order == 1 ? op.jvp : op.taylor)(op, inner);
  for (std::size_t i = 0; i < a.out.size(); ++i)
    for (Tensor& t : a.out_series(i))
      if (t.defined()) t = sum_to(t, a.out[i].shape());
}

void batch_summed(const Op&, BatchArgs& a) {
  const auto& attrs = attrs_as<SummedAttrs>(a.attrs);
  const int ndim = most_axes(a);
  Tensors operands;
  for (std::size_t i = 0; i < a.in.size(); ++i) operands.push_back(aligned(a, i, ndim));
  SmallVector<Shape, kMostResults> shapes;
  SmallVector<const Shape*, kMostResults> pointers;
  for (const Aval& r : a.result) {
    Shape shape = r.shape;
    while (shape.size() < ndim) shape.insert(0, 1);
    shapes.push_back(batched_shape(a.size, shape));
  }
  for (const Shape& s : shapes) pointers.push_back(&s);
  apply_summed(*attrs.op, operands, pointers, a.out);
  for (std::size_t i = 0; i < a.out.size(); ++i) a.out[i] = reshape(a.out[i], batched_shape(a.size, a.result[i].shape));
}

const Op& summed = define_op([] {
  Op op;
  op.name = "elementwise_sum";
  op.infer = infer_summed;
  op.kernel = run_summed;
  op.vjp = vjp_summed;
  op.jvp = push_summed;
  op.taylor = push_summed;
  op.batch = batch_summed;
  op.doc = {"derivative kernel", "results of an elementwise kernel, summed over broadcast axes", ""};
  return op;
}());

}  // namespace

void apply_summed(const Op& op, std::span<const Tensor> in, std::span<const Shape* const> shapes,
                  std::span<Tensor> out) {
  constexpr std::int64_t kWorthwhile = 1 << 16;  // elements; fewer stay in the cache anyway
  const SmallVector<Aval, 1> full = terms(op, in);
  const bool broadcast = std::any_of(shapes.begin(), shapes.end(), [&](const Shape* s) { return *s != full[0].shape; });
  // Graph mode sees the parts, and fuses more than these.
  if (!broadcast || full[0].shape.product() < kWorthwhile || thread_state.recorder) {
    apply(op, nullptr, in, out);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = sum_to(out[i], *shapes[i]);
    return;
  }
  SummedAttrs attrs{&op, {}};
  for (std::size_t i = 0; i < shapes.size(); ++i) attrs.shapes[i] = *shapes[i];
  apply(summed, make_attrs(attrs), in, out);
}

}  // namespace evolute
