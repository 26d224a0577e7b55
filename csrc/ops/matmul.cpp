// The matrix product and what is made of it. Its derivatives are products of the same kind: transposes are flags, so no
// rule moves data.
#include "evolute/ops.h"
#include "ops/batching.h"
#include "ops/shape_ops.h"

namespace evolute {

namespace {

Shape batch_shape(const Shape& s) { return Shape(std::span(s.begin(), s.end() - 2)); }

// Throws unless the columns of op(a) are as many as the rows of op(b); vectors are a row and a column.
void check_inner(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b) {
  transpose_a = transpose_a && a.ndim() > 1;
  transpose_b = transpose_b && b.ndim() > 1;
  const std::int64_t columns = a.shape(transpose_a ? -2 : -1), rows = b.shape(transpose_b || b.ndim() == 1 ? -1 : -2);
  if (columns != rows)
    throw ShapeError(cat("matmul: shapes ", a.shape(), transpose_a ? " (transposed)" : "", " and ", b.shape(),
                         transpose_b ? " (transposed)" : "", " do not fit: the columns of the first (", columns,
                         ") must be as many as the rows of the second (", rows, ")"));
}

void infer_matmul(const Op& op, const Attrs* attrs, std::span<const Tensor> in, SmallVector<Aval, 1>& out) {
  const auto& f = attrs_as<MatmulAttrs>(attrs);
  const Tensor &a = in[0], &b = in[1];
  if (a.dtype() != b.dtype() || a.dtype() == DType::Bool)
    throw DTypeError(cat(op.name, ": operands must be numbers of one dtype, got ", a.aval(), " and ", b.aval()));
  if (a.ndim() < 2 || b.ndim() < 2)
    throw ShapeError(cat(op.name, ": operands must have at least 2 axes, got ", a.shape(), " and ", b.shape()));
  check_inner(a, b, f.transpose_a, f.transpose_b);
  Shape shape = broadcast_shapes(batch_shape(a.shape()), batch_shape(b.shape()), op.name.c_str());
  shape.push_back(a.shape(f.transpose_a ? -1 : -2));
  shape.push_back(b.shape(f.transpose_b ? -2 : -1));
  out.push_back({shape, a.dtype(), common_device(op, in)});
}

void run_matmul(const Op&, const Attrs* attrs, ArrayRefs in, std::span<Array* const> out) {
  const auto& f = attrs_as<MatmulAttrs>(attrs);
  const Shape& shape = out[0]->shape();
  const bool transpose[] = {f.transpose_a, f.transpose_b};
  Ref<Array> views[2];
  const Array* operands[2];
  for (int i : {0, 1}) {
    operands[i] = in[i];
    if (!transpose[i] && batch_shape(in[i]->shape()) == batch_shape(shape)) continue;
    views[i] = factor_view(*in[i], transpose[i], shape);
    operands[i] = views[i].get();
  }
  backend_of(*out[0]).matmul(*operands[0], *operands[1], *out[0]);
}

Tensor product(const Op& op, const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b) {
  return apply(op, make_attrs(MatmulAttrs{transpose_a, transpose_b}), a, b);
}

// With A = op(a), B = op(b), C = A B and the cotangent G of C: those of A and B are G Bᵀ and Aᵀ G.
void vjp_matmul(const Op& op, VjpArgs& v) {
  const auto& f = attrs_as<MatmulAttrs>(v.attrs);
  const Tensor &a = v.in[0], &b = v.in[1], &g = v.cotangent();
  if (v.wants(0)) {
    const Tensor t = f.transpose_a ? product(op, b, g, f.transpose_b, true) : product(op, g, b, false, !f.transpose_b);
    v.grads[0] = sum_to(t, v.in_aval[0]->shape);
  }
  // One matrix for a batch: its gradient is one product of all rows, not a sum of many.
  if (v.wants(1) && b.ndim() == 2 && g.ndim() > 2 && !f.transpose_a && b.size() > 0) {
    const auto rows = [](const Tensor& x) { return reshape(x, {x.size() / x.shape(-1), x.shape(-1)}); };
    v.grads[1] =
        f.transpose_b ? product(op, rows(g), rows(a), true, false) : product(op, rows(a), rows(g), true, false);
  } else if (v.wants(1)) {
    const Tensor t = f.transpose_b ? product(op, g, a, true, f.transpose_a) : product(op, a, g, !f.transpose_a, false);
    v.grads[1] = sum_to(t, v.in_aval[1]->shape);
  }
}

void jvp_matmul(const Op& op, JvpArgs& v) {
  const AttrsPtr attrs(v.attrs);
  Tensor ta, tb;
  if (v.tangents[0].defined()) ta = apply(op, attrs, v.tangents[0], v.in[1]);
  if (v.tangents[1].defined()) tb = apply(op, attrs, v.in[0], v.tangents[1]);
  v.out_tangents[0] = add_cotangents(ta, tb);
}

// Coefficients of a product: Σ A_j B_(k−j), where A_0 and B_0 are the operands.
void taylor_matmul(const Op& op, JvpArgs& v) {
  const AttrsPtr attrs(v.attrs);
  const auto at = [&](std::size_t i, std::size_t k) { return k == 0 ? v.in[i] : v.series(i)[k - 1]; };
  for (std::size_t k = 1; k <= v.order; ++k)
    v.out_tangents[k - 1] = sum_of_terms(0, k, [&](std::size_t j) {
      const Tensor a = at(0, j), b = at(1, k - j);
      return a.defined() && b.defined() ? apply(op, attrs, a, b) : Tensor();
    });
}

// `x` with the axes (rows, cols) last, which exchanges them in memory only where both are longer than 1.
Tensor with_last(const Tensor& x, std::int64_t rows, std::int64_t cols) {
  Shape shape = x.shape();
  shape[shape.size() - 2] = rows;
  shape[shape.size() - 1] = cols;
  return reshape(x, shape);
}

// With one matrix for all examples, these are more rows of the other operand; where that has its rows in the columns,
// Cᵀ = Bᵀ Aᵀ. Products over a single element are products of elements.
void batch_matmul(const Op& op, BatchArgs& v) {
  const auto& f = attrs_as<MatmulAttrs>(v.attrs);
  const Shape& result = v.result[0].shape;
  const std::int64_t m = result[result.size() - 2], n = result.back();
  const Tensor &a = v.in[0], &b = v.in[1];
  const std::int64_t k = a.shape(f.transpose_a ? -2 : -1);
  const Shape shape = batched_shape(v.size, result);
  const auto rows = [&](const Tensor& x) {
    return reshape(x, {x.shape().product() / std::max<std::int64_t>(k, 1), k});
  };
  if (k > 0 && !v.batched[1] && b.ndim() == 2 && !f.transpose_a && m > 1) {
    v.out[0] =
        product(op, a, b, false, f.transpose_b);  // the kernel sees the rows; the axis of examples stays in sight
    return;
  }
  if (k > 0 && !v.batched[1] && b.ndim() == 2 && (!f.transpose_a || m == 1)) {
    v.out[0] = reshape(product(op, rows(a), b, false, f.transpose_b), shape);
    return;
  }
  if (k > 0 && !v.batched[0] && a.ndim() == 2 && b.ndim() == 3 && (f.transpose_b || n == 1)) {
    const Tensor t = product(op, rows(b), a, false, !f.transpose_a);
    v.out[0] = n == 1 ? reshape(t, shape) : swapaxes(reshape(t, {v.size, n, m}), -1, -2);
    return;
  }
  const int ndim = most_axes(v);
  const Tensor x = aligned(v, 0, ndim), y = aligned(v, 1, ndim);
  v.out[0] = k == 1 ? mul(with_last(x, m, 1), with_last(y, 1, n)) : product(op, x, y, f.transpose_a, f.transpose_b);
}

const Op& matmul_op = define_op({.name = "matmul",
                                 .infer = infer_matmul,
                                 .kernel = run_matmul,
                                 .vjp = vjp_matmul,
                                 .jvp = jvp_matmul,
                                 .taylor = taylor_matmul,
                                 .batch = batch_matmul,
                                 .linear_in = 3,
                                 .doc = {"products", "matrix product over the last two axes", "out = op(a) op(b)"}});

// The dtype two operands of a product are brought to; booleans count as in sums.
DType product_dtype(const Tensor& a, const Tensor& b) {
  const DType t = promote(a.dtype(), b.dtype());
  return t == DType::Bool ? DType::Int64 : t;
}

Tensor as_row(const Tensor& x) { return reshape(x, {1, x.size()}); }
Tensor as_column(const Tensor& x) { return reshape(x, {x.size(), 1}); }

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b) {
  const bool vector_a = a.ndim() == 1, vector_b = b.ndim() == 1;
  if (a.ndim() == 0 || b.ndim() == 0)
    throw ShapeError(cat("matmul: operands must have at least 1 axis, got ", a.shape(), " and ", b.shape(),
                         "; use mul to multiply by a scalar"));
  check_inner(a, b, transpose_a, transpose_b);
  const DType t = product_dtype(a, b);
  Tensor x = cast(vector_a ? as_row(a) : a, t), y = cast(vector_b ? as_column(b) : b, t);
  transpose_a = transpose_a && !vector_a;
  transpose_b = transpose_b && !vector_b;

  // One matrix for the whole batch: the batch is more rows, and the gradient of b one product instead of a sum of many.
  const bool more_rows = x.ndim() > 2 && y.ndim() == 2 && !transpose_a && x.shape(-1) > 0;
  Tensor out;
  if (more_rows) {
    Shape shape = x.shape();
    out = product(matmul_op, reshape(x, {x.size() / x.shape(-1), x.shape(-1)}), y, false, transpose_b);
    shape[shape.size() - 1] = out.shape(-1);
    out = reshape(out, shape);
  } else {
    out = product(matmul_op, x, y, transpose_a, transpose_b);
  }
  if (!vector_a && !vector_b) return out;
  Shape shape = out.shape();
  if (vector_b) shape.erase(shape.size() - 1);
  if (vector_a) shape.erase(shape.size() - (vector_b ? 1 : 2));
  return reshape(out, shape);
}

Tensor dot(const Tensor& a, const Tensor& b) {
  if (a.ndim() == 0 || b.ndim() == 0) return mul(a, b);
  const int axis = std::max(b.ndim() - 2, 0);
  if (a.shape(-1) != b.shape(axis))
    throw ShapeError(cat("dot: shapes ", a.shape(), " and ", b.shape(), " do not fit: the last axis of the first (",
                         a.shape(-1), ") and axis ", axis, " of the second (", b.shape(axis), ") must be equal"));
  if (b.ndim() <= 2) return matmul(a, b);
  Shape shape = a.shape();
  shape.erase(a.ndim() - 1);
  std::int64_t columns = 1;
  for (int i = 0; i < b.ndim(); ++i)
    if (i != axis) {
      shape.push_back(b.shape(i));
      columns *= b.shape(i);
    }
  const Tensor rows = reshape(moveaxis(b, axis, 0), {b.shape(axis), columns});
  return reshape(matmul(a, rows), shape);
}

Tensor outer(const Tensor& a, const Tensor& b) { return mul(as_column(a), as_row(b)); }

}  // namespace evolute
