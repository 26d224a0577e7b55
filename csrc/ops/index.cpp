// Indexing with arrays of integers.
#include "evolute/ops.h"
#include "ops/batching.h"
#include "ops/shape_ops.h"

namespace evolute {

namespace {

using Indices = std::span<const Tensor>;

// Shape B of the index arrays together.
Shape index_shape(const char* op, Indices indices) {
  Shape shape;
  for (const Tensor& i : indices) shape = broadcast_shapes(shape, i.shape(), op);
  return shape;
}

// Shape of what is read from, or written to, a tensor of shape `x`: B, then the axes that are not indexed.
Shape picked_shape(const Op& op, const Shape& x, Indices indices, const Axes& axes) {
  Shape shape = index_shape(op.name.c_str(), indices);
  check_ndim(op.name.c_str(), shape.size() + x.size() - axes.size());
  for (int i = 0; i < x.size(); ++i)
    if (!axes.contains(i)) shape.push_back(x[i]);
  return shape;
}

// Runs `kernel` on views of the index arrays, all of shape B.
template <class F>
void with_indices(ArrayRefs index, int picked_ndim, const Array& picked, const F& kernel) {
  Shape shape;
  for (int i = 0; i < picked_ndim; ++i) shape.push_back(picked.shape()[i]);
  SmallVector<Ref<Array>, 4> views;
  SmallVector<const Array*, 4> pointers;
  for (const Array* a : index) {
    views.push_back(broadcast_view(*a, shape));
    pointers.push_back(views.back().get());
  }
  kernel(ArrayRefs(pointers.data(), pointers.size()));
}

// ---- gather: inputs x, index…

void infer_gather(const Op& op, const Attrs* attrs, std::span<const Tensor> in, SmallVector<Aval, 1>& out) {
  const Shape shape = picked_shape(op, in[0].shape(), in.subspan(1), attrs_as<IndexAttrs>(attrs).axes);
  out.push_back({shape, in[0].dtype(), common_device(op, in)});
}

void kernel_gather(const Op&, const Attrs* attrs, ArrayRefs in, std::span<Array* const> out) {
  const Axes& axes = attrs_as<IndexAttrs>(attrs).axes;
  const int index_ndim = out[0]->ndim() - (in[0]->ndim() - axes.size());
  with_indices(in.subspan(1), index_ndim, *out[0],
               [&](ArrayRefs index) { backend_of(*out[0]).gather(*in[0], index, axes, *out[0]); });
}

Tensor run_gather(const AttrsPtr& attrs, const Tensor& x, Indices indices);
Tensor run_scatter(ScatterMode mode, const AttrsPtr& attrs, const Tensor& base, const Tensor& updates, Indices indices);

void vjp_gather(const Op&, VjpArgs& a) {
  if (!a.wants(0)) return;
  const Tensor zero = full(a.in_aval[0]->shape, 0, a.in_aval[0]->dtype, a.in_aval[0]->device);
  a.grads[0] = run_scatter(ScatterMode::Add, AttrsPtr(a.attrs), zero, a.cotangent(), a.in.subspan(1));
}

// ---- scatter_add and scatter_set: inputs base, updates, index…

void infer_scatter(const Op& op, const Attrs* attrs, std::span<const Tensor> in, SmallVector<Aval, 1>& out) {
  const Shape picked = picked_shape(op, in[0].shape(), in.subspan(2), attrs_as<IndexAttrs>(attrs).axes);
  if (in[1].shape() != picked)
    throw ShapeError(cat(op.name, ": got updates of shape ", in[1].shape(), "; the indices address shape ", picked));
  out.push_back({in[0].shape(), in[0].dtype(), common_device(op, in)});
}

template <ScatterMode kMode>
void kernel_scatter(const Op&, const Attrs* attrs, ArrayRefs in, std::span<Array* const> out) {
  const Axes& axes = attrs_as<IndexAttrs>(attrs).axes;
  const int index_ndim = in[1]->ndim() - (in[0]->ndim() - axes.size());
  with_indices(in.subspan(2), index_ndim, *in[1],
               [&](ArrayRefs index) { backend_of(*out[0]).scatter(kMode, *in[0], index, axes, *in[1], *out[0]); });
}

void vjp_scatter_add(const Op&, VjpArgs& a) {
  if (a.wants(0)) a.grads[0] = a.cotangent();
  if (a.wants(1)) a.grads[1] = run_gather(AttrsPtr(a.attrs), a.cotangent(), a.in.subspan(2));
}

void jvp_scatter_add(const Op&, JvpArgs& a) {
  const Tensor &base = a.tangents[0], &updates = a.tangents[1];
  if (!updates.defined()) {
    a.out_tangents[0] = base;
    return;
  }
  a.out_tangents[0] = run_scatter(ScatterMode::Add, AttrsPtr(a.attrs), base.defined() ? base : zeros_like(a.in[0]),
                                  updates, a.in.subspan(2));
}

// True at the index positions (shape B) whose update is kept: those that no later one writes over.
Tensor last_writes(const Shape& base, const Axes& axes, Indices indices) {
  const Shape shape = index_shape("scatter_set", indices);
  Shape addressed;
  Axes all;
  for (auto axis : axes) {
    all.push_back(addressed.size());
    addressed.push_back(base[static_cast<int>(axis)]);
  }
  const Tensor order = reshape(arange(0, static_cast<double>(shape.product()), 1, int64, indices[0].device()), shape);
  const Tensor last = scatter_set(full(addressed, 0, int64, indices[0].device()), indices, all, order);
  return equal(gather_nd(last, indices, all), order);
}

void vjp_scatter_set(const Op&, VjpArgs& a) {
  const Axes& axes = attrs_as<IndexAttrs>(a.attrs).axes;
  const Tensor& g = a.cotangent();
  const Indices indices = a.in.subspan(2);
  const AttrsPtr attrs(a.attrs);
  const Tensor zero = full({}, 0, g.dtype());
  if (a.wants(0)) {
    Shape picked = index_shape("scatter_set", indices);
    for (int i = 0; i < g.ndim(); ++i)
      if (!axes.contains(i)) picked.push_back(g.shape(i));
    a.grads[0] = run_scatter(ScatterMode::Set, attrs, g, broadcast_to(zero, picked), indices);
  }
  if (a.wants(1)) {
    a.grads[1] = run_gather(attrs, g, indices);
    Shape shape = index_shape("scatter_set", indices);
    if (shape.product() <= 1) return;
    while (shape.size() < a.grads[1].ndim()) shape.push_back(1);
    a.grads[1] = where(reshape(last_writes(g.shape(), axes, indices), shape), a.grads[1], zero);
  }
}

// Linear in base and updates; of tangents that meet, the kernel keeps the one whose value it kept.
void jvp_scatter_set(const Op&, JvpArgs& a) {
  const Tensor &base = a.tangents[0], &updates = a.tangents[1];
  if (!base.defined() && !updates.defined()) return;
  a.out_tangents[0] = run_scatter(ScatterMode::Set, AttrsPtr(a.attrs), base.defined() ? base : zeros_like(a.in[0]),
                                  updates.defined() ? updates : zeros_like(a.in[1]), a.in.subspan(2));
}

// Indices of the same places in every example leave its axis alone, and it stays behind those of the indices. Where
// they differ from example to example, the number of the example is one index more.
struct BatchedAddress {
  AttrsPtr attrs;
  Tensors indices;
  int ndim;         // axes of the indices for one example
  bool by_example;  // they differ
};
BatchedAddress batched_address(const BatchArgs& a, std::size_t first, bool indexed_is_batched) {
  BatchedAddress r{nullptr, {}, 0, false};
  for (std::size_t i = first; i < a.in.size(); ++i) {
    r.ndim = std::max(r.ndim, example_ndim(a, i));
    r.by_example = r.by_example || a.batched[i];
  }
  Axes axes = attrs_as<IndexAttrs>(a.attrs).axes;
  if (indexed_is_batched) axes = batched_axes(axes);
  if (indexed_is_batched && r.by_example) {
    axes.insert(0, 0);
    Shape shape = Shape::filled(r.ndim + 1, 1);
    shape[0] = a.size;
    r.indices.push_back(reshape(arange(0, static_cast<double>(a.size), 1, int64, a.in[first].device()), shape));
  }
  for (std::size_t i = first; i < a.in.size(); ++i) r.indices.push_back(aligned(a, i, r.ndim));
  r.attrs = make_attrs(IndexAttrs{axes});
  return r;
}

void batch_gather(const Op&, BatchArgs& a) {
  const BatchedAddress to = batched_address(a, 1, a.batched[0]);
  const Tensor picked = run_gather(to.attrs, a.in[0], to.indices);
  a.out[0] = to.by_example ? picked : moveaxis(picked, to.ndim, 0);
}

void batch_scatter(const Op& op, BatchArgs& a) {
  const BatchedAddress to = batched_address(a, 2, true);
  const Tensor updates = with_examples(a, 1);
  Tensors operands{with_examples(a, 0), to.by_example ? updates : moveaxis(updates, 0, to.ndim)};
  for (const Tensor& i : to.indices) operands.push_back(i);
  a.out[0] = apply(op, to.attrs, operands);
}

const Op& gather_op = define_op({.name = "gather",
                                 .infer = infer_gather,
                                 .kernel = kernel_gather,
                                 .vjp = vjp_gather,
                                 .jvp = jvp_linear_in_first,
                                 .taylor = taylor_linear,
                                 .batch = batch_gather,
                                 .saves_in = ~1u,
                                 .linear_in = 1,
                                 .doc = {.group = "indexing",
                                         .summary = "elements at given indices along some axes",
                                         .formula = "out[b, j] = x[index[b], j]"}});

const Op& scatter_add_op = define_op({.name = "scatter_add",
                                      .infer = infer_scatter,
                                      .kernel = kernel_scatter<ScatterMode::Add>,
                                      .vjp = vjp_scatter_add,
                                      .jvp = jvp_scatter_add,
                                      .taylor = taylor_linear,
                                      .batch = batch_scatter,
                                      .saves_in = ~3u,
                                      .doc = {.group = "indexing",
                                              .summary = "a copy with updates added at given indices",
                                              .formula = "out = base; out[index[b], j] += updates[b, j]"}});

const Op& scatter_set_op =
    define_op({.name = "scatter_set",
               .infer = infer_scatter,
               .kernel = kernel_scatter<ScatterMode::Set>,
               .vjp = vjp_scatter_set,
               .jvp = jvp_scatter_set,
               .taylor = taylor_linear,
               .batch = batch_scatter,
               .saves_in = ~3u,
               .doc = {.group = "indexing",
                       .summary = "a copy with elements at given indices replaced; the last wins",
                       .formula = "out = base; out[index[b], j] = updates[b, j]"}});

Tensor run_gather(const AttrsPtr& attrs, const Tensor& x, Indices indices) {
  Tensors operands{x};
  for (const Tensor& i : indices) operands.push_back(i);
  return apply(gather_op, attrs, operands);
}

Tensor run_scatter(ScatterMode mode, const AttrsPtr& attrs, const Tensor& base, const Tensor& updates,
                   Indices indices) {
  Tensors operands{base, updates};
  for (const Tensor& i : indices) operands.push_back(i);
  return apply(mode == ScatterMode::Add ? scatter_add_op : scatter_set_op, attrs, operands);
}

Tensor as_index(const char* op, const Tensor& i) {
  if (!is_integer(i.dtype()))
    throw DTypeError(cat(op, ": got an index of type ", name_of(i.dtype()), "; it needs Int32 or Int64",
                         i.dtype() == bool_ ? ", which nonzero makes from a mask" : ""));
  return cast(i, int64);
}

// Index arrays as int64, in the order of their axes.
struct Address {
  AttrsPtr attrs;
  Axes axes;
  Tensors indices;
};
Address address(const char* op, const Tensor& x, Indices indices, const Axes& axes) {
  if (indices.empty() || indices.size() != static_cast<std::size_t>(axes.size()))
    throw ValueError(cat(op, ": got ", indices.size(), " index arrays for axes ", axes,
                         "; it needs one for each axis, and at least one"));
  Address a;
  a.axes = normalize_axes(axes, x.ndim(), op);
  for (auto axis : a.axes)
    for (int i = 0; i < axes.size(); ++i)
      if (normalize_axis(axes[i], x.ndim(), op) == axis)
        a.indices.push_back(as_index(op, indices[static_cast<std::size_t>(i)]));
  a.attrs = make_attrs(IndexAttrs{a.axes});
  return a;
}

Tensor scatter(ScatterMode mode, const char* op, const Tensor& base, Indices indices, const Axes& axes,
               const Tensor& updates) {
  const Address a = address(op, base, indices, axes);
  const Op& primitive = mode == ScatterMode::Add ? scatter_add_op : scatter_set_op;
  const DType dtype = promote(base.dtype(), updates.dtype());
  const Shape picked = picked_shape(primitive, base.shape(), a.indices, a.axes);
  if (updates.ndim() > picked.size() || broadcast_shapes(updates.shape(), picked, op) != picked)
    throw ShapeError(cat(op, ": got updates of shape ", updates.shape(), ", which does not broadcast to ", picked,
                         ", the shape that the indices address in ", base.shape()));
  return run_scatter(mode, a.attrs, cast(base, dtype), broadcast_to(cast(updates, dtype), picked), a.indices);
}

// Index arrays that leave each axis but one where it is: 0, 1, … along that axis.
Tensors along_axis(const Shape& shape, int axis, const Tensor& index) {
  Tensors indices;
  for (int i = 0; i < shape.size(); ++i) {
    Shape column = Shape::filled(shape.size(), 1);
    column[i] = shape[i];
    indices.push_back(i == axis ? index
                                : reshape(arange(0, static_cast<double>(shape[i]), 1, int64, index.device()), column));
  }
  return indices;
}

Axes all_axes(int ndim) {
  Axes axes;
  for (int i = 0; i < ndim; ++i) axes.push_back(i);
  return axes;
}

// The index has as many axes as x and, beside `axis`, is nowhere longer.
void check_along_axis(const char* op, const Tensor& x, int axis, const Tensor& index) {
  bool fits = index.ndim() == x.ndim();
  for (int i = 0; i < x.ndim() && fits; ++i) fits = i == axis || index.shape(i) <= x.shape(i);
  if (!fits)
    throw ShapeError(cat(op, ": got index shape ", index.shape(), " for shape ", x.shape(), " and axis ", axis,
                         "; it needs as many axes, none but that one longer"));
}

}  // namespace

Tensor gather_nd(const Tensor& x, std::span<const Tensor> indices, const Axes& axes) {
  const Address a = address("gather_nd", x, indices, axes);
  return run_gather(a.attrs, x, a.indices);
}

Tensor scatter_set(const Tensor& base, std::span<const Tensor> indices, const Axes& axes, const Tensor& updates) {
  return scatter(ScatterMode::Set, "scatter_set", base, indices, axes, updates);
}

Tensor scatter_add_nd(const Tensor& base, std::span<const Tensor> indices, const Axes& axes, const Tensor& updates) {
  return scatter(ScatterMode::Add, "scatter_add_nd", base, indices, axes, updates);
}

Tensor take(const Tensor& x, const Tensor& indices, std::int64_t axis) {
  const int at = normalize_axis(axis, x.ndim(), "take");
  const Tensor index[] = {as_index("take", indices)};
  const Tensor picked = run_gather(make_attrs(IndexAttrs{{at}}), x, index);
  Axes perm;  // the index axes go from the front to where the axis was
  for (int i = 0; i < at; ++i) perm.push_back(indices.ndim() + i);
  for (int i = 0; i < indices.ndim(); ++i) perm.push_back(i);
  for (int i = indices.ndim() + at; i < picked.ndim(); ++i) perm.push_back(i);
  return transpose(picked, perm);
}

Tensor gather(const Tensor& x, std::int64_t axis, const Tensor& index) {
  const int at = normalize_axis(axis, x.ndim(), "gather");
  check_along_axis("gather", x, at, index);
  const Tensors indices = along_axis(index.shape(), at, as_index("gather", index));
  return run_gather(make_attrs(IndexAttrs{all_axes(x.ndim())}), x, indices);
}

Tensor scatter_add(const Tensor& base, std::int64_t axis, const Tensor& index, const Tensor& src) {
  const int at = normalize_axis(axis, base.ndim(), "scatter_add");
  check_along_axis("scatter_add", base, at, index);
  bool fits = src.ndim() == index.ndim();
  for (int i = 0; i < index.ndim() && fits; ++i) fits = index.shape(i) <= src.shape(i);
  if (!fits)
    throw ShapeError(cat("scatter_add: got index shape ", index.shape(), " and source shape ", src.shape(),
                         "; the source needs as many axes, none shorter"));
  Tensor used = src;
  for (int i = 0; i < index.ndim(); ++i) used = slice(used, i, 0, index.shape(i));
  const Tensors indices = along_axis(index.shape(), at, as_index("scatter_add", index));
  return scatter(ScatterMode::Add, "scatter_add", base, indices, all_axes(base.ndim()), used);
}

Tensor index_add(const Tensor& base, std::int64_t axis, const Tensor& index, const Tensor& src) {
  const int at = normalize_axis(axis, base.ndim(), "index_add");
  if (index.ndim() != 1)
    throw ShapeError(cat("index_add: got an index of shape ", index.shape(), "; it needs a vector"));
  Shape needed = base.shape();
  needed[at] = index.shape(0);
  if (src.shape() != needed)
    throw ShapeError(cat("index_add: got a source of shape ", src.shape(), " for a base of shape ", base.shape(),
                         " and ", index.shape(0), " indices along axis ", at, "; it needs shape ", needed));
  return scatter(ScatterMode::Add, "index_add", base, {&index, 1}, {at}, moveaxis(src, at, 0));
}

std::vector<Tensor> nonzero(const Tensor& mask) {
  if (mask.ndim() == 0) throw ShapeError("nonzero: got shape (); it needs at least one axis");
  const Array& a = mask.array();
  Backend& b = backend_of(a);
  Ref<Array> truth(const_cast<Array*>(&a));
  if (a.dtype() != bool_) {
    truth = empty({a.shape(), bool_, a.aval().device});
    b.copy(a, *truth);
  }
  const Tensor flat = to_tensor(b.nonzero(*truth));

  // Position → one index per axis: divide by the number of elements behind it, keep the rest modulo its length.
  std::vector<Tensor> out;
  std::int64_t behind = 1;
  for (int i = mask.ndim() - 1; i >= 0; --i) {
    Tensor along = behind == 1 ? flat : floor_div(flat, scalar(static_cast<double>(behind), int64));
    if (i > 0) along = mod(along, scalar(static_cast<double>(mask.shape(i)), int64));
    out.insert(out.begin(), along);
    behind *= mask.shape(i);
  }
  return out;
}

}  // namespace evolute
