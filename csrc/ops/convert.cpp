// Conversion of element type, and the identity that stops derivatives.
#include "evolute/ops.h"
#include "ops/batching.h"
#include "ops/shape_ops.h"

namespace evolute {

namespace {

void infer_cast(const Op&, const Attrs* attrs, std::span<const Tensor> in, SmallVector<Aval, 1>& out) {
  out.push_back({in[0].shape(), attrs_as<CastAttrs>(attrs).dtype, in[0].device()});
}

void kernel_cast(const Op&, const Attrs*, ArrayRefs in, std::span<Array* const> out) {
  backend_of(*out[0]).copy(*in[0], *out[0]);
}

// Integers and booleans have no derivative, on either side.
void vjp_cast(const Op&, VjpArgs& a) {
  const DType from = a.in_aval[0]->dtype;
  if (is_floating(from) && is_floating(attrs_as<CastAttrs>(a.attrs).dtype)) a.grads[0] = cast(a.cotangent(), from);
}

void jvp_cast(const Op&, JvpArgs& a) {
  const DType to = attrs_as<CastAttrs>(a.attrs).dtype;
  if (is_floating(a.in[0].dtype()) && is_floating(to)) a.out_tangents[0] = cast(a.tangents[0], to);
}

const Op& cast_op = define_op({.name = "cast",
                               .infer = infer_cast,
                               .kernel = kernel_cast,
                               .vjp = vjp_cast,
                               .jvp = jvp_cast,
                               .batch = batch_leading,
                               .saves_in = 0,
                               .doc = {.group = "conversion",
                                       .summary = "x with another element type; differentiable between floats",
                                       .formula = "out = dtype(x)"}});

void infer_same(const Op&, const Attrs*, std::span<const Tensor> in, SmallVector<Aval, 1>& out) {
  out.push_back(in[0].aval());
}

Ref<Array> view_same(const Op&, const Attrs*, const Array& in, const Aval& out) {
  return view(in, out.shape, in.strides());
}

// Without rules it is a constant to every transform, and it is still recorded.
const Op& stop_gradient_op = define_op(
    {.name = "stop_gradient",
     .infer = infer_same,
     .view = view_same,
     .batch = batch_leading,
     .saves_in = 0,
     .doc = {
         .group = "conversion", .summary = "x with derivative zero, in every mode", .formula = "out = x, d out = 0"}});

}  // namespace

Tensor cast(const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  return apply(cast_op, make_attrs(CastAttrs{dtype}), x);
}

Tensor stop_gradient(const Tensor& x) { return apply(stop_gradient_op, nullptr, x); }

}  // namespace evolute
