// Choosing between tensors element by element.
#include "evolute/ops.h"
#include "ops/batching.h"
#include "ops/shape_ops.h"

namespace evolute {

namespace {

void infer_where(const Op& op, const Attrs*, std::span<const Tensor> in, SmallVector<Aval, 1>& out) {
  if (in[0].dtype() != bool_ || in[1].dtype() != in[2].dtype())
    throw DTypeError(cat(op.name, ": got ", name_of(in[0].dtype()), ", ", name_of(in[1].dtype()), " and ",
                         name_of(in[2].dtype()), "; it needs a Bool condition and two values of one type"));
  Shape shape = broadcast_shapes(in[1].shape(), in[2].shape(), op.name.c_str());
  shape = broadcast_shapes(in[0].shape(), shape, op.name.c_str());
  out.push_back({shape, in[1].dtype(), common_device(op, in)});
}

void kernel_where(const Op&, const Attrs*, ArrayRefs in, std::span<Array* const> out) {
  backend_of(*out[0]).select(*in[0], *in[1], *in[2], *out[0]);
}

// A choice of zero rather than a product with it: what was not chosen may be inf or NaN.
void vjp_where(const Op&, VjpArgs& a) {
  const Tensor& g = a.cotangent();
  const Tensor zero = full({}, 0, g.dtype());
  if (a.wants(1)) a.grads[1] = sum_to(where(a.in[0], g, zero), a.in_aval[1]->shape);
  if (a.wants(2)) a.grads[2] = sum_to(where(a.in[0], zero, g), a.in_aval[2]->shape);
}

void jvp_where(const Op&, JvpArgs& a) {
  const Tensor &x = a.tangents[1], &y = a.tangents[2];
  if (!x.defined() && !y.defined()) return;
  const Tensor zero = full({}, 0, a.out[0].dtype());
  const Tensor t = where(a.in[0], x.defined() ? x : zero, y.defined() ? y : zero);
  a.out_tangents[0] = broadcast_to(t, a.out[0].shape());
}

const Op& where_op = define_op({.name = "where",
                                .infer = infer_where,
                                .kernel = kernel_where,
                                .vjp = vjp_where,
                                .jvp = jvp_where,
                                .taylor = taylor_linear,
                                .batch = batch_broadcasting,
                                .saves_in = 1u << 0,
                                .doc = {.group = "elementwise",
                                        .summary = "one of two values, as a condition says",
                                        .formula = "out = cond ? x : y"}});

// True where x gives way to the bound: where it lies beyond, and where the bound is NaN, which would compare as false.
Tensor beyond(const Tensor& outside, const Tensor& bound) {
  return is_floating(bound.dtype()) ? logical_or(outside, not_equal(bound, bound)) : outside;
}

}  // namespace

Tensor where(const Tensor& cond, const Tensor& x, const Tensor& y) {
  const DType dtype = promote(x.dtype(), y.dtype());
  return apply(where_op, nullptr, cast(cond, bool_), cast(x, dtype), cast(y, dtype));
}

Tensor clip(const Tensor& x, const Tensor& lo, const Tensor& hi) {
  Tensor y = x;
  if (lo.defined()) y = where(beyond(less(y, lo), lo), lo, y);
  if (hi.defined()) y = where(beyond(greater(y, hi), hi), hi, y);
  return y;
}

}  // namespace evolute
