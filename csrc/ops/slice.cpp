// Windows of a tensor: slices, what joins them, and what is made of both.
#include "evolute/ops.h"
#include "ops/batching.h"
#include "ops/shape_ops.h"

namespace evolute {

namespace {

// ---- slice and unslice, each the transpose of the other

// The window `small` lies in `large`.
void check_window(const Op& op, const SliceAttrs& w, const Shape& small, const Shape& large) {
  bool fits = small.size() == large.size() && w.start.size() == small.size() && w.step.size() == small.size();
  for (int i = 0; i < small.size() && fits; ++i) {
    if (small[i] <= 0) {
      fits = small[i] == 0;
    } else {
      const std::int64_t first = w.start[i], last = first + (small[i] - 1) * w.step[i];
      fits = std::min(first, last) >= 0 && std::max(first, last) < large[i];
    }
  }
  if (!fits)
    throw ShapeError(cat(op.name, ": the window with start ", w.start, ", step ", w.step, " and shape ", small,
                         " does not lie in shape ", large));
}

Ref<Array> window_view(const Array& large, const SliceAttrs& w, const Shape& small) {
  Strides strides = large.strides();
  std::int64_t offset = 0;
  for (int i = 0; i < small.size(); ++i) {
    offset += w.start[i] * strides[i];
    strides[i] *= w.step[i];
  }
  return view(large, small, strides, offset);
}

void infer_slice(const Op& op, const Attrs* attrs, std::span<const Tensor> in, SmallVector<Aval, 1>& out) {
  const auto& w = attrs_as<SliceAttrs>(attrs);
  check_window(op, w, w.shape, in[0].shape());
  out.push_back({w.shape, in[0].dtype(), in[0].device()});
}

Ref<Array> view_slice(const Op&, const Attrs* attrs, const Array& in, const Aval& out) {
  return window_view(in, attrs_as<SliceAttrs>(attrs), out.shape);
}

void infer_unslice(const Op& op, const Attrs* attrs, std::span<const Tensor> in, SmallVector<Aval, 1>& out) {
  const auto& w = attrs_as<SliceAttrs>(attrs);
  check_window(op, w, in[0].shape(), w.shape);
  if (element_count(w.shape) < 0) throw ShapeError(cat(op.name, ": shape ", w.shape, " has too many elements"));
  out.push_back({w.shape, in[0].dtype(), in[0].device()});
}

void kernel_unslice(const Op&, const Attrs* attrs, ArrayRefs in, std::span<Array* const> out) {
  fill(*out[0], 0);
  if (in[0]->size() == 0) return;
  Ref<Array> window = window_view(*out[0], attrs_as<SliceAttrs>(attrs), in[0]->shape());
  backend_of(*out[0]).copy(*in[0], *window);
}

// Elements start + i * step of each axis, `shape` of them.
Tensor window(const Tensor& x, const Dims& start, const Dims& step, const Shape& shape);
// Zeros of `shape` with x at those positions.
Tensor unslice(const Tensor& x, const Dims& start, const Dims& step, const Shape& shape);

void vjp_slice(const Op&, VjpArgs& a) {
  const auto& w = attrs_as<SliceAttrs>(a.attrs);
  a.grads[0] = unslice(a.cotangent(), w.start, w.step, a.in_aval[0]->shape);
}

void vjp_unslice(const Op&, VjpArgs& a) {
  const auto& w = attrs_as<SliceAttrs>(a.attrs);
  a.grads[0] = window(a.cotangent(), w.start, w.step, a.in_aval[0]->shape);
}

// The same window for all examples.
void batch_window(const Op& op, BatchArgs& a) {
  SliceAttrs w = attrs_as<SliceAttrs>(a.attrs);
  w.start.insert(0, 0);
  w.step.insert(0, 1);
  w.shape = batched_shape(a.size, w.shape);
  a.out[0] = apply(op, make_attrs(std::move(w)), a.in);
}

const Op& slice_op = define_op({.name = "slice",
                                .infer = infer_slice,
                                .view = view_slice,
                                .vjp = vjp_slice,
                                .jvp = jvp_linear,
                                .taylor = taylor_linear,
                                .batch = batch_window,
                                .saves_in = 0,
                                .linear_in = 1,
                                .doc = {.group = "indexing",
                                        .summary = "evenly spaced elements of each axis",
                                        .formula = "out[i, j, …] = x[start₀ + i·step₀, start₁ + j·step₁, …]"}});

const Op& unslice_op =
    define_op({.name = "unslice",
               .infer = infer_unslice,
               .kernel = kernel_unslice,
               .vjp = vjp_unslice,
               .jvp = jvp_linear,
               .taylor = taylor_linear,
               .batch = batch_window,
               .saves_in = 0,
               .linear_in = 1,
               .doc = {.group = "indexing",
                       .summary = "zeros with x at evenly spaced positions; the transpose of slice",
                       .formula = "out[start₀ + i·step₀, start₁ + j·step₁, …] = x[i, j, …], else 0"}});

// Attributes of the window of shape `small`, in the form that makes equal windows compare equal.
SliceAttrs window_attrs(Dims start, Dims step, const Shape& small, const Shape& result) {
  for (int i = 0; i < small.size(); ++i) {
    if (small[i] == 0) start[i] = 0;
    if (small[i] <= 1) step[i] = 1;
  }
  return {start, step, result};
}

bool covers(const SliceAttrs& w, const Shape& small, const Shape& large) {
  return small == large && std::all_of(w.step.begin(), w.step.end(), [](std::int64_t s) { return s == 1; });
}

Tensor window(const Tensor& x, const Dims& start, const Dims& step, const Shape& shape) {
  SliceAttrs w = window_attrs(start, step, shape, shape);
  return covers(w, shape, x.shape()) ? x : apply(slice_op, make_attrs(std::move(w)), x);
}

Tensor unslice(const Tensor& x, const Dims& start, const Dims& step, const Shape& shape) {
  SliceAttrs w = window_attrs(start, step, x.shape(), shape);
  return covers(w, x.shape(), shape) ? x : apply(unslice_op, make_attrs(std::move(w)), x);
}

// `length` elements of one axis, from `start`, `step` apart.
Tensor window(const Tensor& x, int axis, std::int64_t start, std::int64_t step, std::int64_t length) {
  Dims starts = Dims::filled(x.ndim(), 0), steps = Dims::filled(x.ndim(), 1);
  Shape shape = x.shape();
  starts[axis] = start;
  steps[axis] = step;
  shape[axis] = length;
  return window(x, starts, steps, shape);
}

// ---- concat

void infer_concat(const Op& op, const Attrs* attrs, std::span<const Tensor> in, SmallVector<Aval, 1>& out) {
  const int axis = attrs_as<ConcatAttrs>(attrs).axis;
  Shape shape = in[0].shape();
  shape[axis] = 0;
  for (const Tensor& t : in) {
    bool fits = t.ndim() == shape.size();
    for (int i = 0; i < shape.size() && fits; ++i) fits = i == axis || t.shape(i) == shape[i];
    if (!fits)
      throw ShapeError(cat(op.name, ": got shapes ", in[0].shape(), " and ", t.shape(), " to join along axis ", axis,
                           "; all other lengths must be equal"));
    if (__builtin_add_overflow(shape[axis], t.shape(axis), &shape[axis])) shape[axis] = -1;
  }
  if (element_count(shape) < 0) throw ShapeError(cat(op.name, ": the result would have too many elements"));
  out.push_back({shape, in[0].dtype(), common_device(op, in)});
}

void kernel_concat(const Op&, const Attrs* attrs, ArrayRefs in, std::span<Array* const> out) {
  const int axis = attrs_as<ConcatAttrs>(attrs).axis;
  const std::int64_t stride = out[0]->strides()[axis];
  std::int64_t at = 0;
  for (const Array* a : in) {
    if (a->size() > 0) {
      Ref<Array> part = view(*out[0], a->shape(), out[0]->strides(), at * stride);
      backend_of(*out[0]).copy(*a, *part);
    }
    at += a->shape()[axis];
  }
}

void vjp_concat(const Op&, VjpArgs& a) {
  const auto& [axis, extents] = attrs_as<ConcatAttrs>(a.attrs);
  std::int64_t at = 0;
  for (std::size_t i = 0; i < a.grads.size(); ++i) {
    if (a.wants(i)) a.grads[i] = window(a.cotangent(), axis, at, 1, extents[i]);
    at += extents[i];
  }
}

void batch_concat(const Op& op, BatchArgs& a) {
  const auto& [axis, extents] = attrs_as<ConcatAttrs>(a.attrs);
  Tensors operands;
  for (std::size_t i = 0; i < a.in.size(); ++i) operands.push_back(with_examples(a, i));
  a.out[0] = apply(op, make_attrs(ConcatAttrs{axis + 1, extents}), operands);
}

const Op& concat_op = define_op(
    {.name = "concat",
     .infer = infer_concat,
     .kernel = kernel_concat,
     .vjp = vjp_concat,
     .jvp = jvp_linear,
     .taylor = taylor_linear,
     .batch = batch_concat,
     .saves_in = 0,
     .doc = {
         .group = "shape", .summary = "tensors one after the other along an axis", .formula = "out = [x₀, x₁, …]"}});

// Python's clamping of one end of a slice.
std::int64_t clamp_bound(std::int64_t i, std::int64_t n, std::int64_t step) {
  if (i < 0) i += n;
  return step > 0 ? std::clamp<std::int64_t>(i, 0, n) : std::clamp<std::int64_t>(i, -1, n - 1);
}

}  // namespace

Tensor slice(const Tensor& x, std::int64_t axis, std::int64_t start, std::int64_t stop, std::int64_t step) {
  const int at = normalize_axis(axis, x.ndim(), "slice");
  if (step == 0) throw ValueError("slice: got step 0; it must be positive or negative");
  const std::int64_t n = x.shape(at);
  const std::int64_t first = clamp_bound(start, n, step), last = clamp_bound(stop, n, step);
  std::int64_t length = 0;
  if (step > 0 && first < last) length = (last - first - 1) / step + 1;
  if (step < 0 && last < first) length = (last + 1 - first) / step + 1;
  return window(x, at, first, step, length);
}

Tensor index(const Tensor& x, std::int64_t i, std::int64_t axis) {
  const int at = normalize_axis(axis, x.ndim(), "index");
  const std::int64_t n = x.shape(at);
  if (i < -n || i >= n)
    throw IndexError(cat("index: ", i, " is out of range for axis ", at, " of shape ", x.shape(), ", of length ", n));
  Shape shape = x.shape();
  shape.erase(at);
  return reshape(window(x, at, i < 0 ? i + n : i, 1, 1), shape);
}

Tensor concat(std::span<const Tensor> xs, std::int64_t axis) {
  if (xs.empty()) throw ValueError("concat: got no tensors; it needs at least one");
  const int at = normalize_axis(axis, xs[0].ndim(), "concat");
  if (xs.size() == 1) return xs[0];
  DType dtype = xs[0].dtype();
  for (const Tensor& x : xs) dtype = promote(dtype, x.dtype());
  ConcatAttrs attrs{at, {}};
  Tensors operands;
  for (const Tensor& x : xs) {
    operands.push_back(cast(x, dtype));
    attrs.extents.push_back(at < x.ndim() ? x.shape(at) : 0);  // the shape rule complains about too few axes
  }
  return apply(concat_op, make_attrs(std::move(attrs)), operands);
}

Tensor stack(std::span<const Tensor> xs, std::int64_t axis) {
  if (xs.empty()) throw ValueError("stack: got no tensors; it needs at least one");
  check_ndim("stack", xs[0].ndim() + 1);
  const int at = normalize_axis(axis, xs[0].ndim() + 1, "stack");
  Tensors parts;
  for (const Tensor& x : xs) {
    if (x.shape() != xs[0].shape())
      throw ShapeError(cat("stack: got shapes ", xs[0].shape(), " and ", x.shape(), "; all must be equal"));
    parts.push_back(expand_dims(x, at));
  }
  return concat(parts, at);
}

std::vector<Tensor> split(const Tensor& x, std::int64_t parts, std::int64_t axis) {
  const int at = normalize_axis(axis, x.ndim(), "split");
  if (parts <= 0) throw ValueError(cat("split: got ", parts, " parts; it needs at least one"));
  const std::int64_t n = x.shape(at);
  if (n % parts != 0)
    throw ShapeError(cat("split: axis ", at, " of shape ", x.shape(), " has length ", n, ", which ", parts,
                         " parts do not divide; split_at makes unequal parts"));
  std::vector<Tensor> out;
  for (std::int64_t i = 0; i < parts; ++i) out.push_back(window(x, at, i * (n / parts), 1, n / parts));
  return out;
}

std::vector<Tensor> split_at(const Tensor& x, std::span<const std::int64_t> indices, std::int64_t axis) {
  const int at = normalize_axis(axis, x.ndim(), "split_at");
  std::vector<Tensor> out;
  std::int64_t start = 0;
  for (std::int64_t stop : indices) {
    out.push_back(slice(x, at, start, stop));
    start = stop;
  }
  out.push_back(slice(x, at, start, x.shape(at)));
  return out;
}

Tensor flip(const Tensor& x, const OptAxes& axes) {
  Dims start = Dims::filled(x.ndim(), 0), step = Dims::filled(x.ndim(), 1);
  const Axes along = axes ? normalize_axes(*axes, x.ndim(), "flip") : Axes{};
  for (int i = 0; i < x.ndim(); ++i) {
    if (axes && !along.contains(i)) continue;
    start[i] = x.shape(i) - 1;
    step[i] = -1;
  }
  return window(x, start, step, x.shape());
}

Tensor roll(const Tensor& x, const Dims& shift, const Axes& axes) {
  if (shift.size() != axes.size())
    throw ValueError(cat("roll: got shifts ", shift, " and axes ", axes, "; there must be as many of each"));
  Tensor y = x;
  for (int i = 0; i < axes.size(); ++i) {
    const int at = normalize_axis(axes[i], x.ndim(), "roll");
    const std::int64_t n = x.shape(at);
    if (n == 0) continue;
    const std::int64_t k = (shift[i] % n + n) % n;
    if (k == 0) continue;
    const Tensor parts[] = {window(y, at, n - k, 1, k), window(y, at, 0, 1, n - k)};
    y = concat(parts, at);
  }
  return y;
}

Tensor pad(const Tensor& x, const Dims& before, const Dims& after, double value) {
  if (before.size() != x.ndim() || after.size() != x.ndim())
    throw ShapeError(cat("pad: got widths ", before, " and ", after, " for a tensor of shape ", x.shape(),
                         "; each axis needs one of each"));
  Shape shape = x.shape();
  for (int i = 0; i < x.ndim(); ++i) {
    if (before[i] < 0 || after[i] < 0)
      throw ValueError(cat("pad: got widths ", before, " and ", after, "; they must not be negative"));
    if (__builtin_add_overflow(shape[i], before[i], &shape[i]) || __builtin_add_overflow(shape[i], after[i], &shape[i]))
      throw ShapeError(cat("pad: widths ", before, " and ", after, " are too large"));
  }
  const Dims step = Dims::filled(x.ndim(), 1);
  const Tensor padded = unslice(x, before, step, shape);
  if (value == 0 || padded.is_same(x)) return padded;
  // Exact for inf and NaN too, which no arithmetic with a mask would be.
  const Tensor inside = unslice(full(x.shape(), 1, bool_, x.device()), before, step, shape);
  return where(inside, padded, full({}, value, x.dtype()));
}

}  // namespace evolute
