// Tensors made from nothing.
#include <cmath>

#include "evolute/ops.h"
#include "ops/batching.h"
#include "ops/shape_ops.h"

namespace evolute {

namespace {

void infer_iota(const Op&, const Attrs* attrs, std::span<const Tensor>, SmallVector<Aval, 1>& out) {
  const auto& a = attrs_as<IotaAttrs>(attrs);
  out.push_back({{a.n}, a.dtype, a.device});
}

void kernel_iota(const Op&, const Attrs* attrs, ArrayRefs, std::span<Array* const> out) {
  const auto& a = attrs_as<IotaAttrs>(attrs);
  if (a.n > 0) backend_of(*out[0]).iota(a.start, a.step, *out[0]);
}

const Op& iota_op = define_op(
    {.name = "iota",
     .infer = infer_iota,
     .kernel = kernel_iota,
     .batch = batch_same_for_all,
     .saves_in = 0,
     .doc = {.group = "creation", .summary = "evenly spaced values from start", .formula = "out[i] = start + i·step"}});

void infer_linspace(const Op&, const Attrs* attrs, std::span<const Tensor>, SmallVector<Aval, 1>& out) {
  const auto& a = attrs_as<LinspaceAttrs>(attrs);
  out.push_back({{a.n}, a.dtype, a.device});
}

void kernel_linspace(const Op&, const Attrs* attrs, ArrayRefs, std::span<Array* const> out) {
  const auto& [n, start, stop, dtype, device] = attrs_as<LinspaceAttrs>(attrs);
  if (n == 0) return;
  Backend& b = backend_of(*out[0]);
  const double intervals = static_cast<double>(std::max<std::int64_t>(n - 1, 1));
  double step = (stop - start) / intervals;
  if (!std::isfinite(step)) step = stop / intervals - start / intervals;
  b.iota(start, step, *out[0]);
  if (n > 1) b.iota(stop, 0, *view(*out[0], {1}, {1}, n - 1));  // start + (n − 1)·step may miss it by a rounding
}

const Op& linspace_op = define_op({.name = "linspace",
                                   .infer = infer_linspace,
                                   .kernel = kernel_linspace,
                                   .batch = batch_same_for_all,
                                   .saves_in = 0,
                                   .doc = {.group = "creation",
                                           .summary = "n evenly spaced values from start to stop, both included",
                                           .formula = "out[i] = start + i·(stop − start)/(n − 1)"}});

void infer_random(const Op&, const Attrs* attrs, std::span<const Tensor>, SmallVector<Aval, 1>& out) {
  const auto& a = attrs_as<RandomAttrs>(attrs);
  out.push_back({a.shape, a.dtype, a.device});
}

template <Distribution kDistribution>
void kernel_random(const Op&, const Attrs* attrs, ArrayRefs, std::span<Array* const> out) {
  if (out[0]->size() > 0) backend_of(*out[0]).random(kDistribution, attrs_as<RandomAttrs>(attrs).seed, *out[0]);
}

const Op& uniform_op = define_op({.name = "uniform",
                                  .infer = infer_random,
                                  .kernel = kernel_random<Distribution::Uniform>,
                                  .batch = batch_same_for_all,
                                  .saves_in = 0,
                                  .doc = {.group = "creation",
                                          .summary = "independent values, uniform on [0, 1), determined by a seed",
                                          .formula = "out[i] ~ U[0, 1)"}});

const Op& standard_normal_op = define_op({.name = "standard_normal",
                                          .infer = infer_random,
                                          .kernel = kernel_random<Distribution::Normal>,
                                          .batch = batch_same_for_all,
                                          .saves_in = 0,
                                          .doc = {.group = "creation",
                                                  .summary = "independent standard normal values, determined by a seed",
                                                  .formula = "out[i] ~ N(0, 1)"}});

void check_shape(const char* op, const Shape& shape) {
  if (element_count(shape) < 0)
    throw ValueError(
        cat(op, ": got shape ", shape, "; lengths must not be negative, and their product must fit 64 bits"));
}

void check_floating(const char* op, DType dtype) {
  if (!is_floating(dtype)) throw DTypeError(cat(op, ": got ", name_of(dtype), "; it needs Float32 or Float64"));
}

Tensor create(const Op& op, const AttrsPtr& attrs) { return apply(op, attrs, std::span<const Tensor>()); }

Tensor random(const Op& op, const Shape& shape, std::uint64_t seed, DType dtype, Device device) {
  check_shape(op.name.c_str(), shape);
  check_floating(op.name.c_str(), dtype);
  return create(op, make_attrs(RandomAttrs{shape, seed, dtype, device}));
}

}  // namespace

// A constant, also while a function is recorded: one element on the host that is seen everywhere. It belongs to the
// device all the same, which reads it when it has to.
Tensor full(const Shape& shape, double value, DType dtype, Device device) {
  check_shape("full", shape);
  const Tensor one = scalar(value, dtype);
  const Array& a = one.array();
  const Tensor t =
      to_tensor(make_ref<Array>(Aval{shape, dtype, device}, a.buffer(), a.bytes(), Strides::filled(shape.size(), 0)));
  if (thread_state.recorder) thread_state.recorder->adopt(t);
  return t;
}

Tensor arange(double start, double stop, double step, DType dtype, Device device) {
  constexpr double kTooMany = 9.2e18;
  const double n = std::ceil((stop - start) / step);
  if (step == 0 || !std::isfinite(start) || !std::isfinite(stop) || !std::isfinite(step))
    throw ValueError(
        cat("arange: got start ", start, ", stop ", stop, ", step ", step, "; they must be finite, and step not 0"));
  if (!(n < kTooMany)) throw ValueError(cat("arange: ", n, " elements are too many"));
  if (dtype == bool_) throw DTypeError("arange: got Bool; it needs an integer or floating type");
  if (is_integer(dtype) && (start != std::floor(start) || step != std::floor(step)))
    throw ValueError(
        cat("arange: got start ", start, " and step ", step, " for ", name_of(dtype), "; they must be whole numbers"));
  return create(iota_op, make_attrs(IotaAttrs{n > 0 ? static_cast<std::int64_t>(n) : 0, start, step, dtype, device}));
}

Tensor linspace(double start, double stop, std::int64_t n, DType dtype, Device device) {
  check_floating("linspace", dtype);
  if (n < 0) throw ValueError(cat("linspace: got n = ", n, "; it must not be negative"));
  if (!std::isfinite(start) || !std::isfinite(stop))
    throw ValueError(cat("linspace: got start ", start, " and stop ", stop, "; they must be finite"));
  return create(linspace_op, make_attrs(LinspaceAttrs{n, start, stop, dtype, device}));
}

Tensor uniform(const Shape& shape, std::uint64_t seed, DType dtype, Device device) {
  return random(uniform_op, shape, seed, dtype, device);
}
Tensor standard_normal(const Shape& shape, std::uint64_t seed, DType dtype, Device device) {
  return random(standard_normal_op, shape, seed, dtype, device);
}

}  // namespace evolute
