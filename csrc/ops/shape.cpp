// Reshaping, permuting and broadcasting: reading the same elements through another shape.
#include <numeric>

#include "evolute/ops.h"
#include "ops/batching.h"
#include "ops/shape_ops.h"

namespace evolute {

std::ostream& operator<<(std::ostream& s, const Extents& e) {
  s << '[';
  for (std::size_t i = 0; i < e.size(); ++i) s << (i ? ", " : "") << e[i];
  return s << ']';
}

std::int64_t element_count(const Shape& shape) {
  std::int64_t n = 1;
  bool overflow = false, empty = false;
  for (auto x : shape) {
    if (x < 0) return -1;
    empty = empty || x == 0;
    overflow = __builtin_mul_overflow(n, x, &n) || overflow;
  }
  return empty ? 0 : overflow ? -1 : n;
}

void check_ndim(const char* op, int ndim) {
  if (ndim > Dims::kMaxDims)
    throw ShapeError(cat(op, ": the result would have ", ndim, " axes; a tensor has at most ", Dims::kMaxDims));
}

Device common_device(const Op& op, std::span<const Tensor> in) {
  const auto elsewhere = [&](const Tensor& t) { return t.device() != in[0].device(); };
  if (std::none_of(in.begin(), in.end(), elsewhere)) return in[0].device();
  // While recording, what is computed from constants alone is not known yet to be one, so a host value counts as such:
  // a plan that finds otherwise says so when it runs.
  const auto neutral = [](const Tensor& t) {
    return t.value()->level() ? t.device().type == DeviceType::CPU : t.size() == 0 || t.array().is_host_constant();
  };
  const Tensor* first = nullptr;
  for (const Tensor& t : in) {
    if (neutral(t)) continue;
    if (first && first->device() != t.device())
      throw DeviceError(cat(op.name, ": operands are on different devices, ", first->aval(), " on ", first->device(),
                            " and ", t.aval(), " on ", t.device(), "; move them to one device with `to`"));
    first = first ? first : &t;
  }
  if (first) return first->device();
  return std::find_if(in.begin(), in.end(), [](const Tensor& t) { return t.device().type != DeviceType::CPU; })
      ->device();
}

void fill(Array& out, double value) {
  if (out.size() == 0) return;
  backend_of(out).iota(value, 0, *view(out, {out.size()}, {1}));
}

namespace {

// ---- reshape

void infer_reshape(const Op& op, const Attrs* attrs, std::span<const Tensor> in, SmallVector<Aval, 1>& out) {
  const Shape& shape = attrs_as<ShapeAttrs>(attrs).shape;
  if (element_count(shape) != in[0].size())
    throw ShapeError(cat(op.name, ": a tensor of shape ", in[0].shape(), " has ", in[0].size(),
                         " elements and cannot get shape ", shape, "; the products of the lengths must be equal"));
  out.push_back({shape, in[0].dtype(), in[0].device()});
}

// Strides through which `a` reads as `shape` in row-major order; false if there are none.
bool reshaped_strides(const Array& a, const Shape& shape, Strides& strides) {
  // Axes of `a`, from the last, merged into runs of even stride. An axis of the result must lie within one run.
  Dims length, stride;
  for (int i = a.ndim() - 1; i >= 0; --i) {
    const std::int64_t n = a.shape()[i], s = a.strides()[i];
    if (n == 1) continue;
    const int top = length.size() - 1;
    if (top >= 0 && s == length[top] * stride[top]) {
      length[top] *= n;
    } else {
      length.push_back(n);
      stride.push_back(s);
    }
  }
  strides = shape;
  std::int64_t left = 1, step = 1;
  for (int i = shape.size() - 1, run = 0; i >= 0; --i) {
    if (left == 1 && shape[i] != 1) {
      left = length[run];
      step = stride[run++];
    }
    if (left % shape[i] != 0) return false;
    strides[i] = step;
    step *= shape[i];
    left /= shape[i];
  }
  return true;
}

Ref<Array> view_reshape(const Op&, const Attrs*, const Array& in, const Aval& out) {
  Strides strides;
  if (in.contiguous() || in.size() == 0) return view(in, out.shape, row_major(out.shape));
  if (reshaped_strides(in, out.shape, strides)) return view(in, out.shape, strides);
  return view(*contiguous(in), out.shape, row_major(out.shape));
}

void vjp_reshape(const Op&, VjpArgs& a) { a.grads[0] = reshape(a.cotangent(), a.in_aval[0]->shape); }

void batch_reshape(const Op&, BatchArgs& a) { a.out[0] = reshape(a.in[0], batched_shape(a.size, a.result[0].shape)); }

const Op& reshape_op = define_op({.name = "reshape",
                                  .infer = infer_reshape,
                                  .view = view_reshape,
                                  .vjp = vjp_reshape,
                                  .jvp = jvp_linear,
                                  .taylor = taylor_linear,
                                  .batch = batch_reshape,
                                  .saves_in = 0,
                                  .linear_in = 1,
                                  .doc = {.group = "shape",
                                          .summary = "the same elements, in row-major order, in another shape",
                                          .formula = "out.flat[i] = x.flat[i]"}});

// ---- transpose

void infer_transpose(const Op&, const Attrs* attrs, std::span<const Tensor> in, SmallVector<Aval, 1>& out) {
  Shape shape;
  for (auto p : attrs_as<PermAttrs>(attrs).perm) shape.push_back(in[0].shape()[static_cast<int>(p)]);
  out.push_back({shape, in[0].dtype(), in[0].device()});
}

Ref<Array> view_transpose(const Op&, const Attrs* attrs, const Array& in, const Aval& out) {
  Strides strides;
  for (auto p : attrs_as<PermAttrs>(attrs).perm) strides.push_back(in.strides()[static_cast<int>(p)]);
  return view(in, out.shape, strides);
}

void vjp_transpose(const Op&, VjpArgs& a) {
  const Axes& perm = attrs_as<PermAttrs>(a.attrs).perm;
  Axes inverse = perm;
  for (int i = 0; i < perm.size(); ++i) inverse[static_cast<int>(perm[i])] = i;
  a.grads[0] = transpose(a.cotangent(), inverse);
}

void batch_transpose(const Op&, BatchArgs& a) {
  Axes perm = batched_axes(attrs_as<PermAttrs>(a.attrs).perm);
  perm.insert(0, 0);
  a.out[0] = transpose(a.in[0], perm);
}

const Op& transpose_op = define_op(
    {.name = "transpose",
     .infer = infer_transpose,
     .view = view_transpose,
     .vjp = vjp_transpose,
     .jvp = jvp_linear,
     .taylor = taylor_linear,
     .batch = batch_transpose,
     .saves_in = 0,
     .linear_in = 1,
     .doc = {.group = "shape", .summary = "axes in another order", .formula = "out.shape[i] = x.shape[perm[i]]"}});

// ---- broadcast_to

void infer_broadcast_to(const Op& op, const Attrs* attrs, std::span<const Tensor> in, SmallVector<Aval, 1>& out) {
  const Shape &to = attrs_as<ShapeAttrs>(attrs).shape, &from = in[0].shape();
  const int lead = to.size() - from.size();
  bool fits = lead >= 0 && element_count(to) >= 0;
  for (int i = 0; i < from.size() && fits; ++i) fits = from[i] == to[lead + i] || from[i] == 1;
  if (!fits)
    throw ShapeError(cat(op.name, ": shape ", from, " does not broadcast to ", to,
                         ": aligned at the last axis, each length must be 1 or equal to that of the target"));
  out.push_back({to, in[0].dtype(), in[0].device()});
}

Ref<Array> view_broadcast_to(const Op&, const Attrs*, const Array& in, const Aval& out) {
  return broadcast_view(in, out.shape);
}

void vjp_broadcast_to(const Op&, VjpArgs& a) { a.grads[0] = sum_to(a.cotangent(), a.in_aval[0]->shape); }

void batch_broadcast_to(const Op&, BatchArgs& a) {
  const Shape& shape = a.result[0].shape;
  a.out[0] = broadcast_to(aligned(a, 0, shape.size()), batched_shape(a.size, shape));
}

const Op& broadcast_to_op = define_op({.name = "broadcast_to",
                                       .infer = infer_broadcast_to,
                                       .view = view_broadcast_to,
                                       .vjp = vjp_broadcast_to,
                                       .jvp = jvp_linear,
                                       .taylor = taylor_linear,
                                       .batch = batch_broadcast_to,
                                       .saves_in = 0,
                                       .linear_in = 1,
                                       .doc = {.group = "shape",
                                               .summary = "repeats along axes of length 1 and new leading axes",
                                               .formula = "out[…, i, j] = x[i mod n, j mod m]"}});

Axes identity_perm(int ndim) {
  Axes perm = Axes::filled(ndim, 0);
  std::iota(perm.begin(), perm.end(), 0);
  return perm;
}

}  // namespace

Tensor reshape(const Tensor& x, const Shape& shape) {
  if (shape == x.shape()) return x;
  Shape full = shape;
  int unknown = -1;
  for (int i = 0; i < shape.size(); ++i) {
    if (shape[i] >= 0) continue;
    if (shape[i] != -1 || unknown >= 0)
      throw ShapeError(cat("reshape: got shape ", shape, "; lengths must not be negative, but for one -1"));
    unknown = i;
  }
  if (unknown >= 0) {
    full[unknown] = 1;
    const std::int64_t known = element_count(full);
    if (known <= 0 || x.size() % known != 0)
      throw ShapeError(
          cat("reshape: the ", x.size(), " elements of shape ", x.shape(), " determine no length for -1 in ", shape));
    full[unknown] = x.size() / known;
    if (full == x.shape()) return x;
  }
  return apply(reshape_op, make_attrs(ShapeAttrs{full}), x);
}

Tensor transpose(const Tensor& x, const OptAxes& perm) {
  Axes order = identity_perm(x.ndim());
  if (perm) {
    if (perm->size() != x.ndim() || normalize_axes(*perm, x.ndim(), "transpose").size() != x.ndim())
      throw ValueError(cat("transpose: got ", perm->size(), " axes ", *perm, " for a tensor of shape ", x.shape(),
                           "; each of its axes must be given once"));
    for (int i = 0; i < x.ndim(); ++i) order[i] = normalize_axis((*perm)[i], x.ndim(), "transpose");
  } else {
    std::reverse(order.begin(), order.end());
  }
  if (std::is_sorted(order.begin(), order.end())) return x;
  return apply(transpose_op, make_attrs(PermAttrs{order}), x);
}

Tensor swapaxes(const Tensor& x, std::int64_t a, std::int64_t b) {
  Axes perm = identity_perm(x.ndim());
  std::swap(perm[normalize_axis(a, x.ndim(), "swapaxes")], perm[normalize_axis(b, x.ndim(), "swapaxes")]);
  return transpose(x, perm);
}

Tensor moveaxis(const Tensor& x, std::int64_t from, std::int64_t to) {
  const int source = normalize_axis(from, x.ndim(), "moveaxis");
  const int target = normalize_axis(to, x.ndim(), "moveaxis");
  Axes perm = identity_perm(x.ndim());
  perm.erase(source);
  perm.insert(target, source);
  return transpose(x, perm);
}

Tensor broadcast_to(const Tensor& x, const Shape& shape) {
  if (shape == x.shape()) return x;
  return apply(broadcast_to_op, make_attrs(ShapeAttrs{shape}), x);
}

Tensor squeeze(const Tensor& x, const OptAxes& axes) {
  const Axes drop = axes ? normalize_axes(*axes, x.ndim(), "squeeze") : identity_perm(x.ndim());
  Shape shape;
  for (int i = 0; i < x.ndim(); ++i) {
    if (!drop.contains(i) || (!axes && x.shape(i) != 1)) {
      shape.push_back(x.shape(i));
    } else if (x.shape(i) != 1) {
      throw ShapeError(cat("squeeze: axis ", i, " of shape ", x.shape(), " has length ", x.shape(i),
                           "; only axes of length 1 can be removed"));
    }
  }
  return reshape(x, shape);
}

Tensor expand_dims(const Tensor& x, std::int64_t axis) {
  check_ndim("expand_dims", x.ndim() + 1);
  const int at = normalize_axis(axis, x.ndim() + 1, "expand_dims");
  Shape shape = x.shape();
  shape.insert(at, 1);
  return reshape(x, shape);
}

Tensor tile(const Tensor& x, const Shape& repeats) {
  for (auto r : repeats)
    if (r < 0) throw ValueError(cat("tile: got repeats ", repeats, "; they must not be negative"));
  Shape shape = x.shape(), reps = repeats;
  while (shape.size() < reps.size()) shape.insert(0, 1);
  while (reps.size() < shape.size()) reps.insert(0, 1);
  Tensor y = reshape(x, shape);
  if (reps == Shape::filled(reps.size(), 1)) return y;

  // Each repeated axis becomes a pair (repeat, the elements from here to the next one), by a broadcast. Eight axes have
  // room for three such pairs behind the leading elements; a further round does what is left.
  for (int axis = 0; axis < shape.size();) {
    Shape split{1}, wide{1}, merged = y.shape();  // y → split → wide → merged
    int next = shape.size();
    for (int i = 0; i < shape.size(); ++i) {
      if (i >= axis && reps[i] != 1) {
        if (split.size() + 2 <= Dims::kMaxDims) {
          for (auto n : {1, 1}) split.push_back(n);
          for (auto n : {reps[i], std::int64_t{1}}) wide.push_back(n);
        } else {
          next = std::min(next, i);
        }
      }
      split[split.size() - 1] *= y.shape(i);
      wide[wide.size() - 1] *= y.shape(i);
    }
    y = broadcast_to(reshape(y, split), wide);
    for (int i = axis; i < next; ++i) merged[i] *= reps[i];
    y = reshape(y, merged);
    axis = next;
  }
  return y;
}

}  // namespace evolute
