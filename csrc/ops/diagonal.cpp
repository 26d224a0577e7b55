// Diagonals and triangles of matrices.
#include "evolute/ops.h"
#include "ops/batching.h"
#include "ops/shape_ops.h"

namespace evolute {

std::int64_t diagonal_length(std::int64_t rows, std::int64_t cols, std::int64_t offset) {
  const std::int64_t n = offset >= 0 ? std::min(rows, cols - offset) : std::min(rows + offset, cols);
  return std::max<std::int64_t>(n, 0);
}

namespace {

// View of diagonal `offset` of the last two axes.
Ref<Array> diagonal_view(const Array& a, std::int64_t offset, const Shape& shape) {
  Strides strides = a.strides();
  const int row = a.ndim() - 2, col = a.ndim() - 1;
  std::int64_t first = 0;
  if (shape.back() > 0) first = offset >= 0 ? offset * strides[col] : -offset * strides[row];
  strides[row] += strides[col];
  strides.erase(col);
  return view(a, shape, strides, first);
}

void infer_diagonal(const Op&, const Attrs* attrs, std::span<const Tensor> in, SmallVector<Aval, 1>& out) {
  Shape shape = in[0].shape();
  const int row = shape.size() - 2, col = shape.size() - 1;
  shape[row] = diagonal_length(shape[row], shape[col], attrs_as<DiagonalAttrs>(attrs).offset);
  shape.erase(col);
  out.push_back({shape, in[0].dtype(), in[0].device()});
}

Ref<Array> view_diagonal(const Op&, const Attrs* attrs, const Array& in, const Aval& out) {
  return diagonal_view(in, attrs_as<DiagonalAttrs>(attrs).offset, out.shape);
}

void infer_diag_embed(const Op& op, const Attrs* attrs, std::span<const Tensor> in, SmallVector<Aval, 1>& out) {
  const auto& [offsets, rows, cols] = attrs_as<DiagEmbedAttrs>(attrs);
  Shape shape = in[0].shape();
  for (std::size_t i = 0; i < in.size(); ++i) {
    shape[shape.size() - 1] = diagonal_length(rows, cols, offsets[static_cast<int>(i)]);
    if (in[i].shape() != shape)
      throw ShapeError(cat(op.name, ": diagonal ", offsets[static_cast<int>(i)], " of a matrix of ", rows, " rows and ",
                           cols, " columns has ", shape.back(), " elements; got shape ", in[i].shape()));
  }
  shape[shape.size() - 1] = rows;
  shape.push_back(cols);
  if (element_count(shape) < 0) throw ShapeError(cat(op.name, ": shape ", shape, " has too many elements"));
  out.push_back({shape, in[0].dtype(), in[0].device()});
}

void kernel_diag_embed(const Op&, const Attrs* attrs, ArrayRefs in, std::span<Array* const> out) {
  fill(*out[0], 0);
  for (std::size_t i = 0; i < in.size(); ++i) {
    if (in[i]->size() == 0) continue;
    const std::int64_t offset = attrs_as<DiagEmbedAttrs>(attrs).offsets[static_cast<int>(i)];
    backend_of(*out[0]).copy(*in[i], *diagonal_view(*out[0], offset, in[i]->shape()));
  }
}

Tensor embed(const Tensor& x, std::int64_t offset, std::int64_t rows, std::int64_t cols);
Tensor last_diagonal(const Tensor& x, std::int64_t offset);

void vjp_diagonal(const Op&, VjpArgs& a) {
  const Shape& shape = a.in_aval[0]->shape;
  const int n = shape.size();
  a.grads[0] = embed(a.cotangent(), attrs_as<DiagonalAttrs>(a.attrs).offset, shape[n - 2], shape[n - 1]);
}

void vjp_diag_embed(const Op&, VjpArgs& a) {
  for (std::size_t i = 0; i < a.grads.size(); ++i)
    if (a.wants(i))
      a.grads[i] = last_diagonal(a.cotangent(), attrs_as<DiagEmbedAttrs>(a.attrs).offsets[static_cast<int>(i)]);
}

const Op& diagonal_op = define_op({.name = "diagonal",
                                   .infer = infer_diagonal,
                                   .view = view_diagonal,
                                   .vjp = vjp_diagonal,
                                   .jvp = jvp_linear,
                                   .taylor = taylor_linear,
                                   .batch = batch_leading,
                                   .saves_in = 0,
                                   .linear_in = 1,
                                   .doc = {.group = "shape",
                                           .summary = "a diagonal of the last two axes",
                                           .formula = "out[…, i] = x[…, i, i + offset]"}});

const Op& diag_embed_op = define_op({.name = "diag_embed",
                                     .infer = infer_diag_embed,
                                     .kernel = kernel_diag_embed,
                                     .vjp = vjp_diag_embed,
                                     .jvp = jvp_linear,
                                     .taylor = taylor_linear,
                                     .batch = batch_leading,
                                     .saves_in = 0,
                                     .doc = {.group = "shape",
                                             .summary = "matrices with given diagonals and zeros elsewhere",
                                             .formula = "out[…, i, i + offsetₖ] = xₖ[…, i], else 0"}});

Tensor embed(const Tensor& x, std::int64_t offset, std::int64_t rows, std::int64_t cols) {
  return apply(diag_embed_op, make_attrs(DiagEmbedAttrs{{offset}, rows, cols}), x);
}

Tensor last_diagonal(const Tensor& x, std::int64_t offset) {
  return apply(diagonal_op, make_attrs(DiagonalAttrs{offset}), x);
}

void check_matrix(const char* op, const Tensor& x) {
  if (x.ndim() < 2) throw ShapeError(cat(op, ": got shape ", x.shape(), "; it needs at least two axes"));
}

// Zeroes what lies above (`lower`) or below the diagonal.
Tensor triangle(const char* op, const Tensor& x, std::int64_t offset, bool lower) {
  check_matrix(op, x);
  const std::int64_t rows = x.shape(-2), cols = x.shape(-1);
  offset = std::clamp(offset, -rows, cols);
  if (lower ? offset >= cols - 1 : offset <= 1 - rows) return x;
  const auto first = static_cast<double>(offset);
  const Tensor row = reshape(arange(first, first + static_cast<double>(rows), 1, int64, x.device()), {rows, 1});
  const Tensor col = arange(0, static_cast<double>(cols), 1, int64, x.device());
  return where(lower ? less_equal(col, row) : less_equal(row, col), x, full({}, 0, x.dtype()));
}

}  // namespace

Tensor diagonal(const Tensor& x, std::int64_t offset, std::int64_t axis1, std::int64_t axis2) {
  check_matrix("diagonal", x);
  const int row = normalize_axis(axis1, x.ndim(), "diagonal"), col = normalize_axis(axis2, x.ndim(), "diagonal");
  if (row == col) throw ValueError(cat("diagonal: got axes ", axis1, " and ", axis2, "; they must differ"));
  Axes perm;
  for (int i = 0; i < x.ndim(); ++i)
    if (i != row && i != col) perm.push_back(i);
  perm.push_back(row);
  perm.push_back(col);
  return last_diagonal(transpose(x, perm), std::clamp(offset, -x.shape(row), x.shape(col)));
}

Tensor diag_embed(const Tensor& x, std::int64_t offset) {
  if (x.ndim() == 0) throw ShapeError("diag_embed: got shape (); it needs at least one axis");
  check_ndim("diag_embed", x.ndim() + 1);
  constexpr std::int64_t kFarthest = std::int64_t{1} << 31;  // beyond this no such matrix fits in memory
  if (offset < -kFarthest || offset > kFarthest)
    throw ValueError(cat("diag_embed: got offset ", offset, "; it must lie within ±", kFarthest));
  const std::int64_t n = x.shape(-1) + std::abs(offset);
  return embed(x, offset, n, n);
}

Tensor diag(const Tensor& x, std::int64_t offset) {
  if (x.ndim() != 1 && x.ndim() != 2)
    throw ShapeError(cat("diag: got shape ", x.shape(), "; it needs a vector or a matrix"));
  return x.ndim() == 1 ? diag_embed(x, offset) : diagonal(x, offset);
}

Tensor trace(const Tensor& x, std::int64_t offset) {
  check_matrix("trace", x);
  return sum(diagonal(x, offset), Axes{-1});
}

Tensor tril(const Tensor& x, std::int64_t offset) { return triangle("tril", x, offset, true); }
Tensor triu(const Tensor& x, std::int64_t offset) { return triangle("triu", x, offset, false); }

Tensor eye(std::int64_t n, std::int64_t m, std::int64_t offset, DType dtype, Device device) {
  if (m == -1) m = n;
  if (n < 0 || m < 0) throw ValueError(cat("eye: got ", n, " rows and ", m, " columns; they must not be negative"));
  offset = std::clamp(offset, -n, m);
  return embed(full({diagonal_length(n, m, offset)}, 1, dtype, device), offset, n, m);
}

}  // namespace evolute
