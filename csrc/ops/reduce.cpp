// Reductions. The primitives remove their axes; `keepdims` is a reshape afterwards.
#include <cmath>
#include <limits>

#include "evolute/ops.h"
#include "ops/batching.h"
#include "ops/shape_ops.h"

namespace evolute {

namespace {

Shape without(const Shape& shape, const Axes& axes) {
  Shape s;
  for (int i = 0; i < shape.size(); ++i)
    if (!axes.contains(i)) s.push_back(shape[i]);
  return s;
}
Shape with_ones(Shape shape, const Axes& axes) {
  for (auto axis : axes) shape[static_cast<int>(axis)] = 1;
  return shape;
}
std::int64_t reduced_size(const Shape& shape, const Axes& axes) {
  std::int64_t n = 1;
  for (auto axis : axes) n *= shape[static_cast<int>(axis)];
  return n;
}

const Axes& axes_of(const Attrs* attrs) { return attrs_as<ReduceAttrs>(attrs).axes; }

// A reduced tensor with its axes back as ones, ready to broadcast against `shape`.
Tensor restored(const Tensor& t, const Shape& shape, const Axes& axes) { return reshape(t, with_ones(shape, axes)); }

void infer_reduce(const Op&, const Attrs* attrs, std::span<const Tensor> in, SmallVector<Aval, 1>& out) {
  out.push_back({without(in[0].shape(), axes_of(attrs)), in[0].dtype(), in[0].device()});
}
void infer_extremum(const Op& op, const Attrs* attrs, std::span<const Tensor> in, SmallVector<Aval, 1>& out) {
  if (reduced_size(in[0].shape(), axes_of(attrs)) == 0)
    throw ShapeError(cat(op.name, ": shape ", in[0].shape(), " has no elements along axes ", axes_of(attrs),
                         ", and the ", op.name, " of nothing is undefined"));
  infer_reduce(op, attrs, in, out);
}

template <Reduction R>
void run_reduce(const Op&, const Attrs* attrs, ArrayRefs in, std::span<Array* const> out) {
  backend_of(*out[0]).reduce(R, *in[0], axes_of(attrs), *out[0]);
}

void batch_reduce(const Op& op, BatchArgs& a) {
  a.out[0] = apply(op, make_attrs(ReduceAttrs{batched_axes(axes_of(a.attrs))}), a.in);
}

// ---- sum

void vjp_sum(const Op&, VjpArgs& a) {
  const Shape& shape = a.in_aval[0]->shape;
  a.grads[0] = broadcast_to(restored(a.cotangent(), shape, axes_of(a.attrs)), shape);
}

const Op& sum_op = define_op({.name = "sum",
                              .infer = infer_reduce,
                              .kernel = run_reduce<Reduction::Sum>,
                              .vjp = vjp_sum,
                              .jvp = jvp_linear,
                              .taylor = taylor_linear,
                              .batch = batch_reduce,
                              .saves_in = 0,
                              .linear_in = 1,
                              .doc = {"reduction", "sum of the elements along axes", "out = Σ x"}});

// ---- prod
//
// A tree of products: each level multiplies the first half of the last axis by the second. Nothing is divided, so zeros
// need no care, and the rules are products again.

// The reduced axes as one last axis.
Tensor gathered(const Tensor& x, const Axes& axes) {
  Axes perm;
  for (int i = 0; i < x.ndim(); ++i)
    if (!axes.contains(i)) perm.push_back(i);
  for (auto axis : axes) perm.push_back(axis);
  Shape shape = without(x.shape(), axes);
  shape.push_back(reduced_size(x.shape(), axes));
  return reshape(transpose(x, perm), shape);
}
Tensor scattered(const Tensor& t, const Shape& shape, const Axes& axes) {
  Axes inverse = Axes::filled(shape.size(), 0);
  Shape permuted = without(shape, axes);
  int at = 0;
  for (int i = 0; i < shape.size(); ++i)
    if (!axes.contains(i)) inverse[i] = at++;
  for (auto axis : axes) {
    inverse[static_cast<int>(axis)] = at++;
    permuted.push_back(shape[static_cast<int>(axis)]);
  }
  return transpose(reshape(t, permuted), inverse);
}

struct Halves {
  explicit Halves(const Tensor& x) {
    const std::int64_t n = x.shape(-1), half = n / 2;
    first = slice(x, -1, 0, half);
    second = slice(x, -1, half, 2 * half);
    if (n % 2) rest = slice(x, -1, 2 * half, n);
  }
  Tensor first, second, rest;  // rest: the last element when their number is odd
};
Tensor joined(const Tensor& a, const Tensor& b) {
  if (!b.defined()) return a;
  const Tensor parts[] = {a, b};
  return concat(parts, -1);
}
Tensor joined(const Tensor& a, const Tensor& b, const Tensor& c) {
  const Tensor parts[] = {a, b, c};
  return concat(std::span(parts, c.defined() ? 3 : 2), -1);
}

void vjp_prod(const Op&, VjpArgs& a) {
  const Axes& axes = axes_of(a.attrs);
  const Shape& shape = a.in_aval[0]->shape;
  if (reduced_size(shape, axes) == 0) return;
  SmallVector<Halves, 1> levels;
  Tensor x = gathered(a.in[0], axes);
  while (x.shape(-1) > 1) {
    levels.push_back(Halves(x));
    x = joined(mul(levels.back().first, levels.back().second), levels.back().rest);
  }
  Tensor g = expand_dims(a.cotangent(), -1);
  for (std::size_t i = levels.size(); i-- > 0;) {
    const Halves& h = levels[i];
    const std::int64_t half = h.first.shape(-1);
    const Tensor pairs = slice(g, -1, 0, half);
    const Tensor rest = h.rest.defined() ? slice(g, -1, half, half + 1) : Tensor();
    g = joined(mul(pairs, h.second), mul(pairs, h.first), rest);
  }
  a.grads[0] = scattered(g, shape, axes);
}

void jvp_prod(const Op&, JvpArgs& a) {
  const Axes& axes = axes_of(a.attrs);
  if (reduced_size(a.in[0].shape(), axes) == 0) return;
  Tensor x = gathered(a.in[0], axes), t = gathered(a.tangents[0], axes);
  while (x.shape(-1) > 1) {
    const Halves hx(x), ht(t);
    x = joined(mul(hx.first, hx.second), hx.rest);
    t = joined(add(mul(ht.first, hx.second), mul(hx.first, ht.second)), ht.rest);
  }
  a.out_tangents[0] = reshape(t, a.out[0].shape());
}

const Op& prod_op = define_op({.name = "prod",
                               .infer = infer_reduce,
                               .kernel = run_reduce<Reduction::Prod>,
                               .vjp = vjp_prod,
                               .jvp = jvp_prod,
                               .batch = batch_reduce,
                               .doc = {"reduction", "product of the elements along axes", "out = Π x"}});

// ---- max, min

// The extremal elements as weights that sum to 1: ties share equally.
Tensor extremal_weights(const Tensor& x, const Tensor& out, const Axes& axes) {
  const Tensor ties = cast(equal(x, restored(out, x.shape(), axes)), x.dtype());
  return div(ties, sum(ties, axes, true));
}

void vjp_extremum(const Op&, VjpArgs& a) {
  const Axes& axes = axes_of(a.attrs);
  const Tensor& x = a.in[0];
  a.grads[0] = mul(restored(a.cotangent(), x.shape(), axes), extremal_weights(x, a.out[0], axes));
}
void jvp_extremum(const Op&, JvpArgs& a) {
  const Axes& axes = axes_of(a.attrs);
  a.out_tangents[0] = sum(mul(a.tangents[0], extremal_weights(a.in[0], a.out[0], axes)), axes);
}

const Op& max_op =
    define_op({.name = "max",
               .infer = infer_extremum,
               .kernel = run_reduce<Reduction::Max>,
               .vjp = vjp_extremum,
               .jvp = jvp_extremum,
               .taylor = taylor_linear,
               .batch = batch_reduce,
               .saves_out = true,
               .doc = {"reduction", "largest element along axes; ties share the derivative equally", "out = max x"}});
const Op& min_op =
    define_op({.name = "min",
               .infer = infer_extremum,
               .kernel = run_reduce<Reduction::Min>,
               .vjp = vjp_extremum,
               .jvp = jvp_extremum,
               .taylor = taylor_linear,
               .batch = batch_reduce,
               .saves_out = true,
               .doc = {"reduction", "smallest element along axes; ties share the derivative equally", "out = min x"}});

// ---- any, all, argmax, argmin

const Op& any_op = define_op({.name = "any",
                              .infer = infer_reduce,
                              .kernel = run_reduce<Reduction::Any>,
                              .batch = batch_reduce,
                              .saves_in = 0,
                              .doc = {"reduction", "whether some element along axes is not 0", "out = ∃ x ≠ 0"}});
const Op& all_op = define_op({.name = "all",
                              .infer = infer_reduce,
                              .kernel = run_reduce<Reduction::All>,
                              .batch = batch_reduce,
                              .saves_in = 0,
                              .doc = {"reduction", "whether every element along axes is not 0", "out = ∀ x ≠ 0"}});

void infer_arg_reduce(const Op& op, const Attrs* attrs, std::span<const Tensor> in, SmallVector<Aval, 1>& out) {
  const int axis = attrs_as<ArgReduceAttrs>(attrs).axis;
  Shape shape = in[0].shape();
  if (shape[axis] == 0)
    throw ShapeError(cat(op.name, ": shape ", shape, " has no elements along axis ", axis, " to choose from"));
  shape.erase(axis);
  out.push_back({shape, DType::Int64, in[0].device()});
}
template <bool Max>
void run_arg_reduce(const Op&, const Attrs* attrs, ArrayRefs in, std::span<Array* const> out) {
  backend_of(*out[0]).arg_reduce(Max, *in[0], attrs_as<ArgReduceAttrs>(attrs).axis, *out[0]);
}

void batch_arg_reduce(const Op& op, BatchArgs& a) {
  a.out[0] = apply(op, make_attrs(ArgReduceAttrs{attrs_as<ArgReduceAttrs>(a.attrs).axis + 1}), a.in);
}

const Op& argmax_op = define_op({.name = "argmax",
                                 .infer = infer_arg_reduce,
                                 .kernel = run_arg_reduce<true>,
                                 .batch = batch_arg_reduce,
                                 .saves_in = 0,
                                 .doc = {"reduction", "index of the first largest element", "x[out] = max x"}});
const Op& argmin_op = define_op({.name = "argmin",
                                 .infer = infer_arg_reduce,
                                 .kernel = run_arg_reduce<false>,
                                 .batch = batch_arg_reduce,
                                 .saves_in = 0,
                                 .doc = {"reduction", "index of the first smallest element", "x[out] = min x"}});

// ---- cumsum

void infer_cumsum(const Op&, const Attrs*, std::span<const Tensor> in, SmallVector<Aval, 1>& out) {
  out.push_back(in[0].aval());
}
void run_cumsum(const Op&, const Attrs* attrs, ArrayRefs in, std::span<Array* const> out) {
  const auto& f = attrs_as<CumsumAttrs>(attrs);
  backend_of(*out[0]).cumsum(*in[0], f.axis, f.reverse, *out[0]);
}
void vjp_cumsum(const Op&, VjpArgs& a) {
  const auto& f = attrs_as<CumsumAttrs>(a.attrs);
  a.grads[0] = cumsum(a.cotangent(), f.axis, !f.reverse);
}

void batch_cumsum(const Op& op, BatchArgs& a) {
  const auto& f = attrs_as<CumsumAttrs>(a.attrs);
  a.out[0] = apply(op, make_attrs(CumsumAttrs{f.axis + 1, f.reverse}), a.in);
}

const Op& cumsum_op =
    define_op({.name = "cumsum",
               .infer = infer_cumsum,
               .kernel = run_cumsum,
               .vjp = vjp_cumsum,
               .jvp = jvp_linear,
               .taylor = taylor_linear,
               .batch = batch_cumsum,
               .saves_in = 0,
               .linear_in = 1,
               .doc = {"reduction", "running sum along an axis, from its end if `reverse`", "out[i] = Σ x[j], j ≤ i"}});

// ---- what the functions share

Axes resolved(const Tensor& x, const OptAxes& axes, const char* name) {
  if (axes) return normalize_axes(*axes, x.ndim(), name);
  Axes all;
  for (int i = 0; i < x.ndim(); ++i) all.push_back(i);
  return all;
}

Tensor reduced(const Op& op, const Tensor& x, const OptAxes& axes, bool keepdims) {
  const Axes list = resolved(x, axes, op.name.c_str());
  if (list.empty()) return x;
  const Tensor y = apply(op, make_attrs(ReduceAttrs{list}), x);
  return keepdims ? restored(y, x.shape(), list) : y;
}

Tensor arg_reduced(const Op& op, const Tensor& x, std::optional<std::int64_t> axis, bool keepdims) {
  const Tensor operand = axis ? x : reshape(x, {x.size()});
  const int k = normalize_axis(axis.value_or(0), operand.ndim(), op.name.c_str());
  const Tensor y = apply(op, make_attrs(ArgReduceAttrs{k}), operand);
  if (!keepdims) return y;
  return reshape(y, axis ? with_ones(x.shape(), {k}) : Shape::filled(x.ndim(), 1));
}

// Sums of booleans and small integers count in int64.
Tensor countable(const Tensor& x) { return x.dtype() < DType::Int64 ? cast(x, DType::Int64) : x; }
Tensor real(const Tensor& x) { return is_floating(x.dtype()) ? x : cast(x, DType::Float32); }

Tensor constant(double value, const Tensor& like) { return scalar(value, like.dtype()); }

// The maximum along `axes`, for shifting exponents; 0 where it is not finite, which leaves the shift out.
Tensor exponent_shift(const Tensor& x, const Axes& axes) {
  const Tensor m = max(stop_gradient(x), axes, true);
  return where(equal(sub(m, m), 0), m, constant(0, m));
}

// (Σ |x|^p)^(1/p). Zeros are taken out before each power whose derivative may be infinite there, so that they
// contribute a derivative of exactly 0, at any order.
Tensor power_norm(const Tensor& x, double p, const Axes& axes, bool keepdims) {
  const Tensor size = abs(x), zero = equal(x, 0);
  const Tensor powers = where(zero, constant(p < 0 ? std::numeric_limits<double>::infinity() : 0, x),
                              pow(where(zero, constant(1, x), size), p));
  const Tensor s = sum(powers, axes, keepdims), none = equal(s, 0);
  return where(none, constant(0, x), pow(where(none, constant(1, x), s), 1 / p));
}

}  // namespace

Tensor sum(const Tensor& x, const OptAxes& axes, bool keepdims) {
  return reduced(sum_op, countable(x), axes, keepdims);
}

Tensor mean(const Tensor& x, const OptAxes& axes, bool keepdims) {
  const Axes list = resolved(x, axes, "mean");
  return div(sum(real(x), list, keepdims), static_cast<double>(reduced_size(x.shape(), list)));
}

Tensor prod(const Tensor& x, const OptAxes& axes, bool keepdims) {
  return reduced(prod_op, countable(x), axes, keepdims);
}

Tensor max(const Tensor& x, const OptAxes& axes, bool keepdims) { return reduced(max_op, x, axes, keepdims); }

Tensor min(const Tensor& x, const OptAxes& axes, bool keepdims) { return reduced(min_op, x, axes, keepdims); }

Tensor any(const Tensor& x, const OptAxes& axes, bool keepdims) {
  return reduced(any_op, cast(x, DType::Bool), axes, keepdims);
}

Tensor all(const Tensor& x, const OptAxes& axes, bool keepdims) {
  return reduced(all_op, cast(x, DType::Bool), axes, keepdims);
}

Tensor argmax(const Tensor& x, std::optional<std::int64_t> axis, bool keepdims) {
  return arg_reduced(argmax_op, x, axis, keepdims);
}

Tensor argmin(const Tensor& x, std::optional<std::int64_t> axis, bool keepdims) {
  return arg_reduced(argmin_op, x, axis, keepdims);
}

Tensor cumsum(const Tensor& x, std::int64_t axis, bool reverse) {
  return apply(cumsum_op, make_attrs(CumsumAttrs{normalize_axis(axis, x.ndim(), "cumsum"), reverse}), countable(x));
}

Tensor norm(const Tensor& a, double ord, const OptAxes& axes, bool keepdims) {
  const Tensor x = real(a);
  const Axes list = resolved(x, axes, "norm");
  if (std::isinf(ord)) return ord > 0 ? max(abs(x), list, keepdims) : min(abs(x), list, keepdims);
  if (ord == 1) return sum(abs(x), list, keepdims);
  if (ord == 0) return sum(cast(not_equal(x, 0), x.dtype()), list, keepdims);
  if (ord != 2) return power_norm(x, ord, list, keepdims);
  const Tensor s = sum(square(x), list, keepdims), none = equal(s, 0);
  return where(none, constant(0, x), sqrt(where(none, constant(1, x), s)));
}

Tensor logsumexp(const Tensor& a, const OptAxes& axes, bool keepdims) {
  const Tensor x = real(a);
  const Axes list = resolved(x, axes, "logsumexp");
  const double minus_inf = -std::numeric_limits<double>::infinity();
  const Shape kept = with_ones(x.shape(), list), shape = keepdims ? kept : without(x.shape(), list);
  if (reduced_size(x.shape(), list) == 0) return full(shape, minus_inf, x.dtype(), x.device());
  const Tensor shift = exponent_shift(x, list);
  const Tensor s = sum(exp(sub(x, shift)), list, true), none = equal(s, 0);
  // Rows of −inf have no terms: the logarithm, and with it the derivative, is left out.
  const Tensor y = where(none, constant(minus_inf, x), add(log(where(none, constant(1, x), s)), shift));
  return reshape(y, shape);
}

Tensor softmax(const Tensor& a, std::int64_t axis) {
  const Tensor x = real(a);
  const Axes list{normalize_axis(axis, x.ndim(), "softmax")};
  if (x.size() == 0) return x;
  const Tensor e = exp(sub(x, exponent_shift(x, list)));
  return div(e, sum(e, list, true));
}

Tensor log_softmax(const Tensor& a, std::int64_t axis) {
  const Tensor x = real(a);
  const Axes list{normalize_axis(axis, x.ndim(), "log_softmax")};
  if (x.size() == 0) return x;
  const Tensor z = sub(x, exponent_shift(x, list));  // before the logarithm, which would drown in large x
  return sub(z, log(sum(exp(z), list, true)));
}

}  // namespace evolute
