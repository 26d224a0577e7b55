// Dense factorisations. Each works on a row-major copy of one matrix at a time, and spends its time in
// `subtract_multiples`, which takes four rows at once from a row.
#include <cmath>
#include <limits>
#include <numeric>

#include "core/thread_pool.h"
#include "cpu/cpu_backend.h"

namespace evolute::cpu {

namespace {

// ---- the inner loop -----------------------------------------------------------------------------------------------

// y[j] -= Σ_p c[p] x[p · step + j] for p < count and j < n.
template <class T>
[[gnu::always_inline]] inline void subtract_loop(T* __restrict y, std::int64_t n, const T* c, const T* __restrict x,
                                                 std::int64_t step, std::int64_t count) {
  for (; count >= 4; count -= 4, c += 4, x += 4 * step) {
    const T c0 = c[0], c1 = c[1], c2 = c[2], c3 = c[3];
    const T *x1 = x + step, *x2 = x1 + step, *x3 = x2 + step;
    for (std::int64_t j = 0; j < n; ++j) {
      T s = y[j];
      s -= c0 * x[j];
      s -= c1 * x1[j];
      s -= c2 * x2[j];
      s -= c3 * x3[j];
      y[j] = s;
    }
  }
  for (; count > 0; --count, ++c, x += step) {
    const T c0 = *c;
    for (std::int64_t j = 0; j < n; ++j) y[j] -= c0 * x[j];
  }
}

template <class T>
using Subtract = void (*)(T*, std::int64_t, const T*, const T*, std::int64_t, std::int64_t);

#define EV_DEFINE_SUBTRACT(name, target)                                                                  \
  template <class T>                                                                                      \
  target void name(T* y, std::int64_t n, const T* c, const T* x, std::int64_t step, std::int64_t count) { \
    subtract_loop(y, n, c, x, step, count);                                                               \
  }
EV_DEFINE_SUBTRACT(subtract_baseline, )
#if defined(__x86_64__) && defined(__GNUC__)
EV_DEFINE_SUBTRACT(subtract_avx2, __attribute__((target("avx2,fma"))))
EV_DEFINE_SUBTRACT(subtract_avx512, __attribute__((target("avx512f,fma"))))
#endif
#undef EV_DEFINE_SUBTRACT

template <class T>
Subtract<T> best_subtract() {
#if defined(__x86_64__) && defined(__GNUC__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f")) return subtract_avx512<T>;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return subtract_avx2<T>;
#endif
  return subtract_baseline<T>;
}

template <class T>
void subtract_multiples(T* y, std::int64_t n, const T* c, const T* x, std::int64_t step, std::int64_t count) {
  if (n * count <= 32) return subtract_loop(y, n, c, x, step, count);  // not worth a call
  static const Subtract<T> subtract = best_subtract<T>();
  subtract(y, n, c, x, step, count);
}

// ---- matrices in memory -------------------------------------------------------------------------------------------

// The matrices of a batch, each `rows` x `cols`, in strided memory.
template <class T>
struct Batch {
  explicit Batch(const Array& a)
      : array(a),
        axes(a.ndim() - 2),
        rows(a.shape()[axes]),
        cols(a.shape()[axes + 1]),
        rs(a.strides()[axes]),
        cs(a.strides()[axes + 1]) {}

  T* at(std::int64_t i) const {
    std::int64_t offset = 0;
    for (int d = axes - 1; d > 0; --d) {
      offset += i % array.shape()[d] * array.strides()[d];
      i /= array.shape()[d];
    }
    return array.template data<T>() + (axes > 0 ? offset + i * array.strides()[0] : 0);
  }
  void transpose() {
    std::swap(rows, cols);
    std::swap(rs, cs);
  }
  // Whether all are one matrix, broadcast.
  bool shared() const {
    for (int d = 0; d < axes; ++d)
      if (array.shape()[d] != 1 && array.strides()[d] != 0) return false;
    return true;
  }

  const Array& array;
  int axes;
  std::int64_t rows, cols, rs, cs;
};

template <class T>
void copy_matrix(const T* src, std::int64_t rs, std::int64_t cs, std::int64_t rows, std::int64_t cols, T* dst) {
  for (std::int64_t i = 0; i < rows; ++i, src += rs, dst += cols) {
    if (cs == 1)
      std::copy_n(src, cols, dst);
    else
      for (std::int64_t j = 0; j < cols; ++j) dst[j] = src[j * cs];
  }
}

// Uninitialised working memory for `n` elements.
template <class T>
class Scratch {
 public:
  explicit Scratch(std::int64_t n) : buffer_(allocate_host(static_cast<std::size_t>(n) * sizeof(T))) {}
  T* get() const { return reinterpret_cast<T*>(buffer_->data()); }

 private:
  Ref<Buffer> buffer_;
};

std::int64_t batch_size(const Array& a) {
  std::int64_t n = 1;
  for (int d = 0; d < a.ndim() - 2; ++d) n *= a.shape()[d];
  return n;
}

// A product kept as m · 2^e, so that it neither overflows nor underflows on the way.
template <class T>
struct ScaledProduct {
  T m = 1;
  std::int64_t e = 0;

  void times(T x) {
    int ex = 0, em = 0;
    const T mx = std::frexp(x, &ex);
    m = std::frexp(m * mx, &em);
    if (std::isfinite(m)) e += ex + em;
  }
  // y times the product.
  T scale(T y) const { return std::ldexp(m * y, static_cast<int>(std::clamp<std::int64_t>(e, -100000, 100000))); }
  T log_abs() const { return std::log(std::abs(m)) + static_cast<T>(e) * static_cast<T>(0.693147180559945309417232L); }
};

// ---- triangular systems -------------------------------------------------------------------------------------------

template <class T>
T dot(const T* x, const T* y, std::int64_t n) {
  T lane[4] = {};
  std::int64_t i = 0;
  for (; i + 4 <= n; i += 4)
    for (int l = 0; l < 4; ++l) lane[l] += x[i + l] * y[i + l];
  T s = (lane[0] + lane[2]) + (lane[1] + lane[3]);
  for (; i < n; ++i) s += x[i] * y[i];
  return s;
}

// Replaces the n x k matrix x by the solution of a x' = x; `a` is row-major, and only its triangle is read.
template <class T>
void solve_triangle(const T* a, std::int64_t n, bool lower, bool unit_diagonal, T* x, std::int64_t k) {
  constexpr std::int64_t kColumns = 128;  // a block of columns of x stays in L2
  for (std::int64_t j = 0; j < k; j += kColumns) {
    const std::int64_t width = std::min(kColumns, k - j);
    for (std::int64_t step = 0; step < n; ++step) {
      const std::int64_t i = lower ? step : n - 1 - step, first = lower ? 0 : i + 1;
      const T *row = a + i * n, *solved = x + first * k + j;
      T* y = x + i * k + j;
      if (k == 1)
        *y -= dot(row + first, solved, step);
      else
        subtract_multiples(y, width, row + first, solved, k, step);
      if (!unit_diagonal)
        for (std::int64_t l = 0; l < width; ++l) y[l] /= row[i];
    }
  }
}

// ---- LU -----------------------------------------------------------------------------------------------------------

// Row of the largest |a[i][k]| for i >= k.
template <class T>
std::int64_t largest_in_column(const T* a, std::int64_t n, std::int64_t k) {
  std::int64_t row = k;
  T best = -1;
  for (std::int64_t i = k; i < n; ++i)
    if (const T v = std::abs(a[i * n + k]); v > best) {
      best = v;
      row = i;
    }
  return row;
}

// Factors P a = L U in place with partial pivoting, L unit lower, panel by panel. Row i of P a is row `perm[i]` of a.
// Returns the sign of the permutation. A zero pivot leaves its column as it is.
template <class T>
int factor_lu(T* a, std::int64_t n, std::int64_t* perm) {
  constexpr std::int64_t kPanel = 32;
  int sign = 1;
  std::iota(perm, perm + n, 0);
  for (std::int64_t k0 = 0; k0 < n; k0 += kPanel) {
    const std::int64_t k1 = std::min(k0 + kPanel, n);
    for (std::int64_t k = k0; k < k1; ++k) {
      const std::int64_t pivot = largest_in_column(a, n, k);
      T* row = a + k * n;
      if (pivot != k) {
        std::swap_ranges(row, row + n, a + pivot * n);
        std::swap(perm[k], perm[pivot]);
        sign = -sign;
      }
      if (row[k] == 0) continue;
      for (std::int64_t i = k + 1; i < n; ++i) {
        T* __restrict y = a + i * n;
        const T c = y[k] /= row[k];
        for (std::int64_t j = k + 1; j < k1; ++j) y[j] -= c * row[j];
      }
    }
    for (std::int64_t i = k0 + 1; i < n && k1 < n; ++i)
      subtract_multiples(a + i * n + k1, n - k1, a + i * n + k0, a + k0 * n + k1, n, std::min(i, k1) - k0);
  }
  return sign;
}

// Factors a[row[i]][col[j]] = L U in place with complete pivoting and returns the sign of the permutations; 0 if a
// pivot other than the last is zero.
template <class T>
int factor_complete(T* a, std::int64_t n, std::int64_t* row, std::int64_t* col) {
  std::iota(row, row + n, 0);
  std::iota(col, col + n, 0);
  int sign = 1;
  for (std::int64_t k = 0; k < n; ++k) {
    std::int64_t pi = k, pj = k;
    T best = -1;
    for (std::int64_t i = k; i < n; ++i)
      for (std::int64_t j = k; j < n; ++j)
        if (const T v = std::abs(a[i * n + j]); v > best) {
          best = v;
          pi = i;
          pj = j;
        }
    if (pi != k) {
      std::swap_ranges(a + k * n, a + (k + 1) * n, a + pi * n);
      std::swap(row[k], row[pi]);
      sign = -sign;
    }
    if (pj != k) {
      for (std::int64_t i = 0; i < n; ++i) std::swap(a[i * n + k], a[i * n + pj]);
      std::swap(col[k], col[pj]);
      sign = -sign;
    }
    const T* __restrict top = a + k * n;
    if (k == n - 1) break;
    if (top[k] == 0) return 0;
    for (std::int64_t i = k + 1; i < n; ++i) {
      T* __restrict y = a + i * n;
      const T c = y[k] /= top[k];
      for (std::int64_t j = k + 1; j < n; ++j) y[j] -= c * top[j];
    }
  }
  return sign;
}

// ---- one matrix -----------------------------------------------------------------------------------------------------

// Lower factor of the symmetric matrix whose lower triangle is in `in`. `u` is n x n scratch: it holds the transposed
// factor, so that rows are what is read and written; `c` is scratch for n.
template <class T>
void cholesky_one(const T* in, std::int64_t rs, std::int64_t cs, std::int64_t n, T* u, T* c, T* out) {
  bool definite = true;
  for (std::int64_t i = 0; i < n && definite; ++i) {
    T* row = u + i * n;
    for (std::int64_t j = i; j < n; ++j) row[j] = in[j * rs + i * cs];
    for (std::int64_t p = 0; p < i; ++p) c[p] = u[p * n + i];
    subtract_multiples(row + i, n - i, c, u + i, n, i);
    definite = row[i] > 0;
    const T pivot = std::sqrt(row[i]);
    row[i] = pivot;
    for (std::int64_t j = i + 1; j < n; ++j) row[j] /= pivot;
  }
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < n; ++j)
      out[i * n + j] = j > i ? T(0) : definite ? u[j * n + i] : std::numeric_limits<T>::quiet_NaN();
}

// Cofactor matrix of `a` (destroyed); `m` is n x n scratch, `c` scratch for n.
//
// With a[row[i]][col[j]] = L U, adj(a) = ± Q adj(U) L⁻¹ P. Splitting off the last pivot δ,
//   U = [U₁ u; 0 δ],  adj(U) = det U₁ [δ U₁⁻¹  −U₁⁻¹u; 0  1],
// which divides by all pivots but the last: complete pivoting makes that the one that vanishes at rank n − 1. At lower
// rank all minors of order n − 1 are zero.
template <class T>
void cofactor_one(T* a, std::int64_t n, std::int64_t* row, std::int64_t* col, T* m, T* c, T* out) {
  const int sign = factor_complete(a, n, row, col);
  if (sign == 0) {
    std::fill_n(out, n * n, T(0));
    return;
  }
  ScaledProduct<T> det;
  det.times(static_cast<T>(sign));
  for (std::int64_t i = 0; i + 1 < n; ++i) det.times(a[i * n + i]);

  std::fill_n(m, n * n, T(0));
  const std::int64_t last = n - 1;
  m[n * n - 1] = 1;
  for (std::int64_t i = last - 1; i >= 0; --i) {
    T* y = m + i * n;
    const T* u = a + i * n;
    y[i] = a[n * n - 1];
    y[last] = -u[last];
    subtract_multiples(y + i + 1, n - i - 1, u + i + 1, m + (i + 1) * n + i + 1, n, last - i - 1);
    for (std::int64_t j = i; j < n; ++j) y[j] /= u[i];
  }
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < i; ++j) std::swap(m[i * n + j], m[j * n + i]);
  for (std::int64_t j = last - 1; j >= 0; --j) {  // Lᵀ Z = Mᵀ
    for (std::int64_t i = j + 1; i < n; ++i) c[i] = a[i * n + j];
    subtract_multiples(m + j * n, n, c + j + 1, m + (j + 1) * n, n, last - j);
  }
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < n; ++j) out[row[i] * n + col[j]] = det.scale(m[i * n + j]);
}

// A matrix of a batch, factored.
template <class T>
struct Lu {
  explicit Lu(std::int64_t n) : n(n), matrix(n * n), perm(n) {}
  void factor(const Batch<T>& batch, const T* m) {
    if (m == of) return;  // neighbours in a broadcast batch
    copy_matrix(m, batch.rs, batch.cs, n, n, matrix.get());
    sign = factor_lu(matrix.get(), n, perm.get());
    of = m;
  }
  std::int64_t n;
  Scratch<T> matrix;
  Scratch<std::int64_t> perm;
  const T* of = nullptr;
  int sign = 1;
};

// Calls f(TypeTag<T>) unless there is nothing to write.
template <class F>
void for_dtype(const Array& out, F&& f) {
  if (out.size() > 0) dispatch_floating(out.dtype(), f);
}

// Deals the matrices of a batch out to the threads; one takes about `flops` operations. f(begin, end).
template <class F>
void for_batch(std::int64_t count, double flops, F&& f) {
  parallel_ranges(count, 50 + flops / 4, f);
}
double cube(std::int64_t n) { return static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n); }

}  // namespace

void CpuBackend::cholesky(const Array& in, Array& out) {
  for_dtype(out, [&]<class T>(TypeTag<T>) {
    const Batch<T> src(in), dst(out);
    const std::int64_t n = src.rows;
    for_batch(batch_size(out), cube(n) / 3, [&](std::int64_t begin, std::int64_t end) {
      const Scratch<T> u(n * n), c(n);
      for (std::int64_t i = begin; i < end; ++i)
        cholesky_one(src.at(i), src.rs, src.cs, n, u.get(), c.get(), dst.at(i));
    });
  });
}

void CpuBackend::solve_triangular(const Array& a, const Array& b, bool lower, bool transpose, bool unit_diagonal,
                                  Array& out) {
  for_dtype(out, [&]<class T>(TypeTag<T>) {
    Batch<T> lhs(a);
    const Batch<T> rhs(b), dst(out);
    if (transpose) {
      lhs.transpose();
      lower = !lower;
    }
    const std::int64_t n = dst.rows, k = dst.cols;
    const bool in_place = lhs.cs == 1 && lhs.rs == n;
    for_batch(batch_size(out), static_cast<double>(n * n * (k + 1)), [&](std::int64_t begin, std::int64_t end) {
      const Scratch<T> copy(in_place ? 0 : n * n);
      const T* copied = nullptr;
      for (std::int64_t i = begin; i < end; ++i) {
        const T* matrix = lhs.at(i);
        if (!in_place && matrix != copied) copy_matrix(matrix, lhs.rs, lhs.cs, n, n, copy.get());
        copied = matrix;
        copy_matrix(rhs.at(i), rhs.rs, rhs.cs, n, k, dst.at(i));
        solve_triangle(in_place ? matrix : copy.get(), n, lower, unit_diagonal, dst.at(i), k);
      }
    });
  });
}

void CpuBackend::solve(const Array& a, const Array& b, bool transpose, Array& out) {
  for_dtype(out, [&]<class T>(TypeTag<T>) {
    Batch<T> lhs(a);
    const Batch<T> rhs(b), dst(out);
    if (transpose) lhs.transpose();
    const std::int64_t n = dst.rows, k = dst.cols;
    Lu<T> common(lhs.shared() ? n : 0);
    if (lhs.shared()) common.factor(lhs, lhs.at(0));
    const double flops = static_cast<double>(2 * n * n * k) + (lhs.shared() ? 0 : cube(n));
    for_batch(batch_size(out), flops, [&](std::int64_t begin, std::int64_t end) {
      Lu<T> own(lhs.shared() ? 0 : n);
      for (std::int64_t i = begin; i < end; ++i) {
        if (!lhs.shared()) own.factor(lhs, lhs.at(i));
        const Lu<T>& lu = lhs.shared() ? common : own;
        const T* y = rhs.at(i);
        T* x = dst.at(i);
        for (std::int64_t r = 0; r < n; ++r) copy_matrix(y + lu.perm.get()[r] * rhs.rs, 0, rhs.cs, 1, k, x + r * k);
        solve_triangle(lu.matrix.get(), n, true, true, x, k);
        solve_triangle(lu.matrix.get(), n, false, false, x, k);
      }
    });
  });
}

void CpuBackend::determinant(const Array& a, bool log, Array& out) {
  for_dtype(out, [&]<class T>(TypeTag<T>) {
    const Batch<T> src(a);
    const std::int64_t n = src.rows;
    T* dst = out.data<T>();
    for_batch(batch_size(a), cube(n), [&](std::int64_t begin, std::int64_t end) {
      Lu<T> lu(n);
      for (std::int64_t i = begin; i < end; ++i) {
        lu.factor(src, src.at(i));
        ScaledProduct<T> det;
        det.times(static_cast<T>(lu.sign));
        for (std::int64_t k = 0; k < n; ++k) det.times(lu.matrix.get()[k * n + k]);
        dst[i] = log ? det.log_abs() : det.scale(1);
      }
    });
  });
}

void CpuBackend::cofactor(const Array& a, Array& out) {
  for_dtype(out, [&]<class T>(TypeTag<T>) {
    const Batch<T> src(a), dst(out);
    const std::int64_t n = src.rows;
    for_batch(batch_size(a), 4 * cube(n), [&](std::int64_t begin, std::int64_t end) {
      const Scratch<T> lu(n * n), m(n * n), c(n);
      const Scratch<std::int64_t> row(n), col(n);
      for (std::int64_t i = begin; i < end; ++i) {
        copy_matrix(src.at(i), src.rs, src.cs, n, n, lu.get());
        cofactor_one(lu.get(), n, row.get(), col.get(), m.get(), c.get(), dst.at(i));
      }
    });
  });
}

}  // namespace evolute::cpu
