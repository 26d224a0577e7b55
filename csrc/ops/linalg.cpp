// Dense linear algebra over the last two axes, and its derivatives.
//
// Rules after M. Giles, "An extended collection of matrix derivative results for forward and reverse mode algorithmic
// differentiation" (2008), and I. Murray, "Differentiation of the Cholesky decomposition" (2016). They call the
// primitives again, so they hold at any order. Ȧ is the tangent of A, Ā its cotangent.
#include "evolute/ops.h"
#include "ops/batching.h"
#include "ops/shape_ops.h"

namespace evolute {

namespace {

// ---- operands

void check_square(const Op& op, const Tensor& a) {
  if (!is_floating(a.dtype())) throw DTypeError(cat(op.name, ": needs float32 or float64, got ", a.aval()));
  if (a.ndim() < 2 || a.shape(-1) != a.shape(-2))
    throw ShapeError(cat(op.name, ": needs square matrices of shape (…, n, n), got ", a.shape()));
}

Shape batch_shape(const Shape& s) { return Shape(std::span(s.begin(), s.end() - 2)); }

Shape with_matrix(Shape batch, std::int64_t rows, std::int64_t cols) {
  batch.push_back(rows);
  batch.push_back(cols);
  return batch;
}

void infer_square(const Op& op, const Attrs*, std::span<const Tensor> in, SmallVector<Aval, 1>& out) {
  check_square(op, in[0]);
  out.push_back(in[0].aval());
}
void infer_scalar(const Op& op, const Attrs*, std::span<const Tensor> in, SmallVector<Aval, 1>& out) {
  check_square(op, in[0]);
  out.push_back({batch_shape(in[0].shape()), in[0].dtype(), in[0].device()});
}
void infer_system(const Op& op, const Attrs*, std::span<const Tensor> in, SmallVector<Aval, 1>& out) {
  const Tensor &a = in[0], &b = in[1];
  check_square(op, a);
  if (a.dtype() != b.dtype())
    throw DTypeError(cat(op.name, ": operands must have one dtype, got ", a.aval(), " and ", b.aval()));
  if (b.ndim() < 2 || b.shape(-2) != a.shape(-1))
    throw ShapeError(cat(op.name, ": shapes ", a.shape(), " and ", b.shape(),
                         " do not fit: the right-hand side must be (…, ", a.shape(-1), ", k), or a vector of length ",
                         a.shape(-1)));
  const Shape batch = broadcast_shapes(batch_shape(a.shape()), batch_shape(b.shape()), op.name.c_str());
  out.push_back({with_matrix(batch, b.shape(-2), b.shape(-1)), a.dtype(), common_device(op, in)});
}

// Operands of a system with the batch axes of the result.
struct System {
  System(ArrayRefs in, const Array& out) {
    const Shape batch = batch_shape(out.shape());
    for (int i : {0, 1}) {
      const Shape& s = in[i]->shape();
      const int n = s.size();
      if (batch_shape(s) == batch)
        operand[i] = Ref<Array>(const_cast<Array*>(in[i]));
      else
        operand[i] = broadcast_view(*in[i], with_matrix(batch, s[n - 2], s[n - 1]));
    }
  }
  Ref<Array> operand[2];
};

// ---- shorthands of the rules

Tensor transposed(const Tensor& a) { return swapaxes(a, -1, -2); }
Tensor identity_like(const Tensor& a) { return eye(a.shape(-1), a.shape(-1), 0, a.dtype(), a.device()); }
// A scalar per matrix, to multiply matrices with.
Tensor as_matrix(const Tensor& s) { return expand_dims(expand_dims(s, -1), -1); }
// ⟨A, B⟩, one per matrix.
Tensor inner(const Tensor& a, const Tensor& b) { return sum(mul(a, b), Axes{-2, -1}); }
// a − b where an undefined operand is zero.
Tensor difference(const Tensor& a, const Tensor& b) {
  if (!b.defined()) return a;
  return a.defined() ? sub(a, b) : neg(b);
}

// ---- cholesky: A = L Lᵀ

void run_cholesky(const Op&, const Attrs*, ArrayRefs in, std::span<Array* const> out) {
  backend_of(*out[0]).cholesky(*in[0], *out[0]);
}

Tensor symmetrised(const Tensor& a) { return mul(add(a, transposed(a)), 0.5); }

// Φ: the lower triangle with half the diagonal.
Tensor lower_half(const Tensor& a) { return mul(add(tril(a), tril(a, -1)), 0.5); }

// B ↦ L⁻ᵀ B L⁻¹ if `transpose`, else L⁻¹ B L⁻ᵀ; both sides by rows of a triangular system. B is symmetric.
Tensor congruent(const Tensor& l, const Tensor& b, bool transpose) {
  return solve_triangular(l, transposed(solve_triangular(l, b, true, transpose)), true, transpose);
}

// Ā = L⁻ᵀ sym(Φ(Lᵀ L̄)) L⁻¹ (Murray). A counts as symmetric, and so does its cotangent.
void vjp_cholesky(const Op&, VjpArgs& a) {
  const Tensor& l = a.out[0];
  a.grads[0] = congruent(l, symmetrised(lower_half(matmul(l, a.cotangent(), true, false))), true);
}
// L̇ = L Φ(L⁻¹ Ȧ L⁻ᵀ) (Murray).
void jvp_cholesky(const Op&, JvpArgs& a) {
  const Tensor& l = a.out[0];
  a.out_tangents[0] = matmul(l, lower_half(congruent(l, symmetrised(a.tangents[0]), false)));
}

const Op& cholesky_op =
    define_op({.name = "cholesky",
               .infer = infer_square,
               .kernel = run_cholesky,
               .vjp = vjp_cholesky,
               .jvp = jvp_cholesky,
               .batch = batch_leading,
               .saves_in = 0,
               .saves_out = true,
               .doc = {"linear algebra",
                       "lower Cholesky factor of a symmetric positive definite matrix, of which the "
                       "lower triangle is read; NaN where it is not positive definite",
                       "a = l lᵀ"}});

// ---- solve, solve_triangular: op(A) X = B
//
// Ẋ = op(A)⁻¹ (Ḃ − op(Ȧ) X);  B̄ = op(A)⁻ᵀ X̄,  Ā = −B̄ Xᵀ, or its transpose (Giles).

// Cotangent of A. The product with X sums over a right-hand side, so it comes before the sum over broadcast axes.
Tensor lhs_cotangent(const Tensor& b_bar, const Tensor& x, bool transpose) {
  return neg(transpose ? matmul(x, b_bar, false, true) : matmul(b_bar, x, false, true));
}

// One matrix for all examples is factorised once: their right-hand sides are its columns.
void batch_system(const Op& op, BatchArgs& v) {
  const Tensor &a = v.in[0], &b = v.in[1];
  if (v.batched[0] || a.ndim() != 2 || b.ndim() != 3) return batch_broadcasting(op, v);
  const std::int64_t n = b.shape(1), k = b.shape(2);
  const Tensor columns = reshape(swapaxes(b, 0, 1), {n, v.size * k});
  v.out[0] = swapaxes(reshape(apply(op, AttrsPtr(v.attrs), a, columns), {n, v.size, k}), 0, 1);
}

void run_solve(const Op&, const Attrs* attrs, ArrayRefs in, std::span<Array* const> out) {
  const System s(in, *out[0]);
  backend_of(*out[0]).solve(*s.operand[0], *s.operand[1], attrs_as<SolveAttrs>(attrs).transpose, *out[0]);
}

void vjp_solve(const Op& op, VjpArgs& v) {
  const bool transpose = attrs_as<SolveAttrs>(v.attrs).transpose;
  const Tensor b_bar = apply(op, make_attrs(SolveAttrs{!transpose}), v.in[0], v.cotangent());
  if (v.wants(0)) v.grads[0] = sum_to(lhs_cotangent(b_bar, v.out[0], transpose), v.in_aval[0]->shape);
  if (v.wants(1)) v.grads[1] = sum_to(b_bar, v.in_aval[1]->shape);
}
void jvp_solve(const Op& op, JvpArgs& v) {
  Tensor moved;
  if (v.tangents[0].defined()) moved = matmul(v.tangents[0], v.out[0], attrs_as<SolveAttrs>(v.attrs).transpose, false);
  const Tensor t = apply(op, AttrsPtr(v.attrs), v.in[0], difference(v.tangents[1], moved));
  v.out_tangents[0] = broadcast_to(t, v.out[0].shape());
}

// op(A) X_k = B_k − Σ op(A_j) X_(k−j) over j = 1, …, k. `moving`(A_j) is A_j as far as the system depends on it.
template <class Moving>
void taylor_system(const Op& op, JvpArgs& v, bool transpose, Moving&& moving) {
  for (std::size_t k = 1; k <= v.order; ++k) {
    const Tensor known = sum_of_terms(1, k, [&](std::size_t j) {
      const Tensor &a = v.series(0)[j - 1], &x = j == k ? v.out[0] : v.out_tangents[k - j - 1];
      return a.defined() && x.defined() ? matmul(moving(a), x, transpose, false) : Tensor();
    });
    const Tensor& b = v.series(1)[k - 1];
    if (!b.defined() && !known.defined()) continue;
    const Tensor x = apply(op, AttrsPtr(v.attrs), v.in[0], difference(b, known));
    v.out_tangents[k - 1] = broadcast_to(x, v.out[0].shape());
  }
}
void taylor_solve(const Op& op, JvpArgs& v) {
  taylor_system(op, v, attrs_as<SolveAttrs>(v.attrs).transpose, [](const Tensor& a) { return a; });
}

const Op& solve_op =
    define_op({.name = "solve",
               .infer = infer_system,
               .kernel = run_solve,
               .vjp = vjp_solve,
               .jvp = jvp_solve,
               .taylor = taylor_solve,
               .batch = batch_system,
               .saves_in = 1u << 0,
               .saves_out = true,
               .doc = {"linear algebra", "solution of a system of linear equations; inf or NaN where it is singular",
                       "a x = b"}});

void run_triangular(const Op&, const Attrs* attrs, ArrayRefs in, std::span<Array* const> out) {
  const auto& f = attrs_as<TriangularAttrs>(attrs);
  const System s(in, *out[0]);
  backend_of(*out[0]).solve_triangular(*s.operand[0], *s.operand[1], f.lower, f.transpose, f.unit_diagonal, *out[0]);
}

// The elements of A that the system depends on.
Tensor triangle(const Tensor& a, const TriangularAttrs& f) {
  return f.lower ? tril(a, f.unit_diagonal ? -1 : 0) : triu(a, f.unit_diagonal ? 1 : 0);
}

void vjp_triangular(const Op& op, VjpArgs& v) {
  const auto& f = attrs_as<TriangularAttrs>(v.attrs);
  const Tensor b_bar =
      apply(op, make_attrs(TriangularAttrs{f.lower, !f.transpose, f.unit_diagonal}), v.in[0], v.cotangent());
  if (v.wants(0)) v.grads[0] = triangle(sum_to(lhs_cotangent(b_bar, v.out[0], f.transpose), v.in_aval[0]->shape), f);
  if (v.wants(1)) v.grads[1] = sum_to(b_bar, v.in_aval[1]->shape);
}
void jvp_triangular(const Op& op, JvpArgs& v) {
  const auto& f = attrs_as<TriangularAttrs>(v.attrs);
  Tensor moved;
  if (v.tangents[0].defined()) moved = matmul(triangle(v.tangents[0], f), v.out[0], f.transpose, false);
  const Tensor t = apply(op, AttrsPtr(v.attrs), v.in[0], difference(v.tangents[1], moved));
  v.out_tangents[0] = broadcast_to(t, v.out[0].shape());
}

void taylor_triangular(const Op& op, JvpArgs& v) {
  const auto& f = attrs_as<TriangularAttrs>(v.attrs);
  taylor_system(op, v, f.transpose, [&](const Tensor& a) { return triangle(a, f); });
}

const Op& solve_triangular_op = define_op(
    {.name = "solve_triangular",
     .infer = infer_system,
     .kernel = run_triangular,
     .vjp = vjp_triangular,
     .jvp = jvp_triangular,
     .taylor = taylor_triangular,
     .batch = batch_system,
     .saves_in = 1u << 0,
     .saves_out = true,
     .doc = {"linear algebra", "solution of a triangular system; the other triangle is not read", "op(a) x = b"}});

// ---- det, cofactor, logabsdet

template <bool Log>
void run_determinant(const Op&, const Attrs*, ArrayRefs in, std::span<Array* const> out) {
  backend_of(*out[0]).determinant(*in[0], Log, *out[0]);
}
void run_cofactor(const Op&, const Attrs*, ArrayRefs in, std::span<Array* const> out) {
  backend_of(*out[0]).cofactor(*in[0], *out[0]);
}

Tensor cofactor(const Tensor& a);
Tensor inverse_transposed(const Tensor& a) {
  return apply(solve_op, make_attrs(SolveAttrs{true}), a, identity_like(a));
}

// Ā = d̄ cof(A), which is right at singular A as well; d̄ det(A) A⁻ᵀ (Giles) is not.
void vjp_det(const Op&, VjpArgs& a) { a.grads[0] = mul(as_matrix(a.cotangent()), cofactor(a.in[0])); }
void jvp_det(const Op&, JvpArgs& a) { a.out_tangents[0] = inner(cofactor(a.in[0]), a.tangents[0]); }

const Op& det_op =
    define_op({.name = "det",
               .infer = infer_scalar,
               .kernel = run_determinant<false>,
               .vjp = vjp_det,
               .jvp = jvp_det,
               .batch = batch_leading,
               .doc = {"linear algebra", "determinant; its gradient needs no inverse, up to 3 x 3 no derivative does",
                       "out = det a"}});

// D cof(A)[H]. It is the Hessian of det, hence its own transpose: one formula serves both rules. Up to 3 x 3 it is a
// polynomial; above, C = det(A) A⁻ᵀ gives ⟨A⁻ᵀ, H⟩ C − C Hᵀ A⁻ᵀ, for invertible A.
Tensor cofactor_derivative(const Tensor& a, const Tensor& c, const Tensor& h) {
  const std::int64_t n = a.shape(-1);
  if (n < 2) return {};
  if (n == 2) {  // no cofactor of h, though it is that: Taylor mode wants rules that do not apply their op
    const Tensor sign = sub(mul(identity_like(h), 2), 1);
    return mul(roll(h, Dims{1, 1}, Axes{h.ndim() - 2, h.ndim() - 1}), sign);
  }
  if (n == 3) {  // cof(A)ᵢⱼ = aᵢ₊₁,ⱼ₊₁ aᵢ₊₂,ⱼ₊₂ − aᵢ₊₁,ⱼ₊₂ aᵢ₊₂,ⱼ₊₁, indices modulo 3
    const auto at = [](const Tensor& t, int i, int j) {
      return roll(t, Dims{-i, -j}, Axes{t.ndim() - 2, t.ndim() - 1});
    };
    const auto polar = [&](const Tensor& x, const Tensor& y) {
      return sub(mul(at(x, 1, 1), at(y, 2, 2)), mul(at(x, 1, 2), at(y, 2, 1)));
    };
    return add(polar(a, h), polar(h, a));
  }
  const Tensor x = inverse_transposed(a);
  return sub(mul(as_matrix(inner(x, h)), c), matmul(c, matmul(h, x, true, false)));
}
void vjp_cofactor(const Op&, VjpArgs& a) { a.grads[0] = cofactor_derivative(a.in[0], a.out[0], a.cotangent()); }
void jvp_cofactor(const Op&, JvpArgs& a) { a.out_tangents[0] = cofactor_derivative(a.in[0], a.out[0], a.tangents[0]); }

const Op& cofactor_op =
    define_op({.name = "cofactor",
               .infer = infer_square,
               .kernel = run_cofactor,
               .vjp = vjp_cofactor,
               .jvp = jvp_cofactor,
               .batch = batch_leading,
               .saves_out = true,
               .doc = {"linear algebra", "matrix of cofactors, the derivative of det; exact at singular matrices",
                       "out = d det a / d a"}});

Tensor cofactor(const Tensor& a) { return apply(cofactor_op, nullptr, a); }

// Ā = d̄ A⁻ᵀ (Giles).
void vjp_logabsdet(const Op&, VjpArgs& a) { a.grads[0] = mul(as_matrix(a.cotangent()), inverse_transposed(a.in[0])); }
void jvp_logabsdet(const Op&, JvpArgs& a) { a.out_tangents[0] = inner(inverse_transposed(a.in[0]), a.tangents[0]); }

const Op& logabsdet_op =
    define_op({.name = "logabsdet",
               .infer = infer_scalar,
               .kernel = run_determinant<true>,
               .vjp = vjp_logabsdet,
               .jvp = jvp_logabsdet,
               .batch = batch_leading,
               .doc = {"linear algebra", "logarithm of the absolute value of the determinant", "out = log |det a|"}});

// ---- what the functions share

DType real_dtype(DType t) { return is_floating(t) ? t : DType::Float32; }
Tensor real(const Tensor& x) { return cast(x, real_dtype(x.dtype())); }

Tensor solved(const Op& op, const AttrsPtr& attrs, const Tensor& a, const Tensor& b) {
  const DType t = real_dtype(promote(a.dtype(), b.dtype()));
  const Tensor x = cast(a, t), y = cast(b, t);
  if (b.ndim() != 1) return apply(op, attrs, x, y);
  return squeeze(apply(op, attrs, x, expand_dims(y, -1)), Axes{-1});
}

}  // namespace

Tensor cholesky(const Tensor& a) { return apply(cholesky_op, nullptr, real(a)); }

Tensor solve_triangular(const Tensor& a, const Tensor& b, bool lower, bool transpose, bool unit_diagonal) {
  return solved(solve_triangular_op, make_attrs(TriangularAttrs{lower, transpose, unit_diagonal}), a, b);
}

Tensor solve(const Tensor& a, const Tensor& b) { return solved(solve_op, make_attrs(SolveAttrs{false}), a, b); }

Tensor inv(const Tensor& a) {
  const Tensor x = real(a);
  check_square({.name = "inv"}, x);
  return apply(solve_op, make_attrs(SolveAttrs{false}), x, identity_like(x));
}

Tensor det(const Tensor& a) { return apply(det_op, nullptr, real(a)); }

std::pair<Tensor, Tensor> slogdet(const Tensor& a) {
  const Tensor x = real(a);
  const Tensor log = apply(logabsdet_op, nullptr, x);
  if (x.shape(-1) == 0) return {exp(log), log};
  // The sign of det(A / s) with s = |det A|^(1/n): a determinant of ±1 neither overflows nor underflows.
  const Tensor level = stop_gradient(log), finite = equal(sub(level, level), 0);
  const Tensor shrink = exp(where(finite, div(level, -static_cast<double>(x.shape(-1))), zeros_like(level)));
  return {sign(det(mul(stop_gradient(x), as_matrix(shrink)))), log};
}

}  // namespace evolute
