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
                               .taylor = taylor_linear,
                               .batch = batch_leading,
                               .saves_in = 0,
                               .pointwise = true,
                               .doc = {.group = "conversion",
                                       .summary = "x with another element type; differentiable between floats",
                                       .formula = "out = dtype(x)"}});

void infer_to_device(const Op&, const Attrs* attrs, std::span<const Tensor> in, SmallVector<Aval, 1>& out) {
  out.push_back({in[0].shape(), in[0].dtype(), attrs_as<DeviceAttrs>(attrs).device});
}

void kernel_to_device(const Op&, const Attrs*, ArrayRefs in, std::span<Array* const> out) {
  copy_array(*in[0], *out[0]);
}

void vjp_to_device(const Op&, VjpArgs& a) { a.grads[0] = to_device(a.cotangent(), a.in_aval[0]->device); }

const Op& to_device_op =
    define_op({.name = "to_device",
               .infer = infer_to_device,
               .kernel = kernel_to_device,
               .vjp = vjp_to_device,
               .jvp = jvp_linear,
               .taylor = taylor_linear,
               .batch = batch_leading,
               .saves_in = 0,
               .linear_in = 1,
               .doc = {.group = "conversion", .summary = "x in the memory of another device", .formula = "out = x"}});

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

Tensor to_device(const Tensor& x, Device device) {
  if (x.device() == device) return x;
  backend(device.type);  // before anything is recorded: is it there?
  return apply(to_device_op, make_attrs(DeviceAttrs{device}), x);
}

Tensor placed(const Tensor& t, Device device) {
  if (t.device() == device) return t;
  if (t.value()->level()) return to_device(t, device);
  // New values are no operations: nothing of this is recorded.
  const Array& a = t.array();
  Aval aval = t.aval();
  aval.device = device;
  if (a.is_host_constant()) return to_tensor(make_ref<Array>(aval, a.buffer(), a.bytes(), a.strides()));
  Ref<Array> out = empty(aval);
  copy_array(a, *out);
  return to_tensor(std::move(out));
}

Tensor stop_gradient(const Tensor& x) { return apply(stop_gradient_op, nullptr, x); }

}  // namespace evolute
