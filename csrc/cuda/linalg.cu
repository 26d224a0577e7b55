// Dense factorisations, a block for each matrix of a batch, in global memory.
//
// Matrices of these sizes are read again and again from the second-level cache; what takes the time is waiting for each
// step of the elimination, so that many matrices at once are what this is good at.
#include "cuda/elementwise.cuh"
#include "cuda/kernels.h"

namespace evolute::cuda {
namespace {

constexpr unsigned kAll = 0xffffffff;

template <class T>
struct Pivot {
  T value[kBlock / 32];
  std::int64_t at[kBlock / 32];
};

// The first place of the largest |value(i)|, i < n, by all threads; NaN never is the largest.
template <class T, class F>
__device__ std::int64_t first_largest(std::int64_t n, Pivot<T>& shared, F&& value) {
  T best = T(-1);
  std::int64_t at = 0;
  const auto take = [&](T x, std::int64_t i) {
    if (x > best || (x == best && i < at)) best = x, at = i;
  };
  for (std::int64_t i = threadIdx.x; i < n; i += kBlock) take(std::fabs(value(i)), i);
  for (int by = 16; by > 0; by /= 2) {
    const T x = __shfl_xor_sync(kAll, best, by);
    const std::int64_t i = __shfl_xor_sync(kAll, static_cast<long long>(at), by);
    take(x, i);
  }
  if (threadIdx.x % 32 == 0) shared.value[threadIdx.x / 32] = best, shared.at[threadIdx.x / 32] = at;
  __syncthreads();
  best = shared.value[0], at = shared.at[0];
  for (int w = 1; w < kBlock / 32; ++w) take(shared.value[w], shared.at[w]);
  __syncthreads();
  return best < 0 ? 0 : at;
}

template <class T>
__device__ void exchange(Global<T> a, std::int64_t a_step, Global<T> b, std::int64_t b_step, std::int64_t n) {
  for (std::int64_t j = threadIdx.x; j < n; j += kBlock) {
    const T x = a[j * a_step], y = b[j * b_step];
    a[j * a_step] = y;
    b[j * b_step] = x;
  }
  __syncthreads();
}

// Column k becomes that of L, and its multiples of row k are taken from what lies behind both.
template <class T>
__device__ void eliminate(Global<T> a, std::int64_t n, std::int64_t k) {
  const T pivot = a[k * n + k];
  for (std::int64_t i = k + 1 + threadIdx.x; i < n; i += kBlock) a[i * n + k] = static_cast<T>(a[i * n + k]) / pivot;
  __syncthreads();
  const std::int64_t rest = n - k - 1;
  for (std::int64_t e = threadIdx.x; e < rest * rest; e += kBlock) {
    const std::int64_t i = k + 1 + e / rest, j = k + 1 + e % rest;
    a[i * n + j] = static_cast<T>(a[i * n + j]) - static_cast<T>(a[i * n + k]) * static_cast<T>(a[k * n + j]);
  }
  __syncthreads();
}

template <class T>
__global__ void __launch_bounds__(kBlock) cholesky_kernel(std::int64_t batches, std::int64_t n, T* matrices) {
  for (std::int64_t z = blockIdx.x; z < batches; z += gridDim.x) {
    const Global<T> a = Global<T>(matrices) + z * n * n;
    bool definite = true;
    for (std::int64_t k = 0; k < n && definite; ++k) {
      const T d = a[k * n + k];
      definite = d > 0;
      const T pivot = std::sqrt(d);
      __syncthreads();  // all have read it
      for (std::int64_t i = k + threadIdx.x; i < n; i += kBlock)
        a[i * n + k] = i == k ? pivot : static_cast<T>(a[i * n + k]) / pivot;
      __syncthreads();
      const std::int64_t rest = n - k - 1;
      for (std::int64_t e = threadIdx.x; e < rest * rest; e += kBlock) {
        const std::int64_t i = k + 1 + e / rest, j = k + 1 + e % rest;
        if (j <= i)
          a[i * n + j] = static_cast<T>(a[i * n + j]) - static_cast<T>(a[i * n + k]) * static_cast<T>(a[j * n + k]);
      }
      __syncthreads();
    }
    for (std::int64_t e = threadIdx.x; e < n * n; e += kBlock) {
      const std::int64_t i = e / n, j = e % n;
      if (j > i)
        a[e] = T(0);
      else if (!definite)
        a[e] = std::numeric_limits<T>::quiet_NaN();
    }
    __syncthreads();
  }
}

constexpr std::int64_t kColumns = 32;  // of right-hand sides, for each block

// x = a⁻¹ x for columns [first, first + width) of x, of k.
template <class T>
__device__ void substitute(Global<const T> a, std::int64_t n, bool lower, bool unit, Global<T> x, std::int64_t k,
                           std::int64_t width) {
  for (std::int64_t step = 0; step < n; ++step) {
    const std::int64_t i = lower ? step : n - 1 - step, left = n - 1 - step;
    if (!unit) {
      const T d = a[i * n + i];
      for (std::int64_t c = threadIdx.x; c < width; c += kBlock) x[i * k + c] = static_cast<T>(x[i * k + c]) / d;
      __syncthreads();
    }
    for (std::int64_t e = threadIdx.x; e < left * width; e += kBlock) {
      const std::int64_t r = lower ? i + 1 + e / width : e / width, c = e % width;
      x[r * k + c] = static_cast<T>(x[r * k + c]) - static_cast<T>(a[r * n + i]) * static_cast<T>(x[i * k + c]);
    }
    __syncthreads();
  }
}

// Blocks go through groups of columns of all matrices: f(matrix, first column, how many).
template <class F>
__device__ void for_columns(std::int64_t batches, std::int64_t k, F&& f) {
  const std::int64_t groups = (k + kColumns - 1) / kColumns;
  for (std::int64_t g = blockIdx.x; g < batches * groups; g += gridDim.x) {
    const std::int64_t first = g % groups * kColumns;
    f(g / groups, first, k - first < kColumns ? k - first : kColumns);
  }
}

template <class T>
__global__ void __launch_bounds__(kBlock)
    triangular_kernel(std::int64_t batches, std::int64_t n, std::int64_t k, const T* matrices, std::int64_t step,
                      bool lower, bool unit, T* sides) {
  for_columns(batches, k, [&](std::int64_t z, std::int64_t first, std::int64_t width) {
    substitute<T>(Global<const T>(matrices) + z * step, n, lower, unit, Global<T>(sides) + (z * n * k + first), k,
                  width);
  });
}

template <class T>
__global__ void __launch_bounds__(kBlock)
    lu_kernel(std::int64_t batches, std::int64_t n, T* matrices, std::int64_t* all_pivots) {
  EV_SHARED(Pivot<T>, shared);
  for (std::int64_t z = blockIdx.x; z < batches; z += gridDim.x) {
    const Global<T> a = Global<T>(matrices) + z * n * n;
    const Global<std::int64_t> pivots = Global<std::int64_t>(all_pivots) + z * n;
    for (std::int64_t k = 0; k < n; ++k) {
      const std::int64_t p =
          k + first_largest(n - k, shared, [&](std::int64_t i) { return static_cast<T>(a[(k + i) * n + k]); });
      if (threadIdx.x == 0) pivots[k] = p;
      if (p != k) exchange(a + k * n, 1, a + p * n, 1, n);
      const T pivot = a[k * n + k];
      if (pivot != 0) eliminate(a, n, k);  // a zero pivot leaves its column as it is
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kBlock)
    lu_solve_kernel(std::int64_t batches, std::int64_t n, std::int64_t k, const T* matrices,
                    const std::int64_t* all_pivots, std::int64_t step, T* sides) {
  for_columns(batches, k, [&](std::int64_t z, std::int64_t first, std::int64_t width) {
    const Global<const T> a = Global<const T>(matrices) + z * step;
    const Global<const std::int64_t> pivots = Global<const std::int64_t>(all_pivots) + (step == 0 ? 0 : z * n);
    const Global<T> x = Global<T>(sides) + (z * n * k + first);
    for (std::int64_t i = 0; i < n; ++i) {
      const std::int64_t p = pivots[i];
      if (p != i) exchange(x + i * k, 1, x + p * k, 1, width);
    }
    substitute<T>(a, n, true, true, x, k, width);
    substitute<T>(a, n, false, false, x, k, width);
  });
}

// A product kept as m · 2^e, so that it neither overflows nor underflows on the way.
template <class T>
struct ScaledProduct {
  T m = 1;
  long long e = 0;
  __device__ void times(T x) {
    int ex = 0, em = 0;
    const T mx = std::frexp(x, &ex);
    m = std::frexp(m * mx, &em);
    if (m - m == 0) e += ex + em;
  }
  __device__ T scale(T y) const {
    return std::ldexp(m * y, static_cast<int>(e > 100000 ? 100000 : e < -100000 ? -100000 : e));
  }
  __device__ T log_abs() const {
    return std::log(std::fabs(m)) + static_cast<T>(e) * static_cast<T>(0.693147180559945309417232);
  }
};

template <class T>
__global__ void __launch_bounds__(kBlock) determinant_kernel(std::int64_t batches, std::int64_t n, const T* matrices,
                                                             const std::int64_t* all_pivots, bool log, T* out) {
  const Global<T> to(out);
  for (std::int64_t z = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x; z < batches;
       z += static_cast<std::int64_t>(gridDim.x) * kBlock) {
    const Global<const T> a = Global<const T>(matrices) + z * n * n;
    const Global<const std::int64_t> pivots = Global<const std::int64_t>(all_pivots) + z * n;
    ScaledProduct<T> det;
    for (std::int64_t k = 0; k < n; ++k) {
      det.times(a[k * n + k]);
      if (pivots[k] != k) det.m = -det.m;
    }
    to[z] = log ? det.log_abs() : det.scale(1);
  }
}

// Cofactor matrix, as in csrc/cpu/linalg.cpp: with a[row[i]][col[j]] = L U by complete pivoting, adj(a) = ± Q adj(U)
// L⁻¹ P, and adj(U) divides by all pivots but the last. `m`: n × n of scratch.
template <class T>
__global__ void __launch_bounds__(kBlock)
    cofactor_kernel(std::int64_t batches, std::int64_t n, T* matrices, T* work, std::int64_t* permutations, T* out) {
  EV_SHARED(Pivot<T>, shared);
  for (std::int64_t z = blockIdx.x; z < batches; z += gridDim.x) {
    const Global<T> a = Global<T>(matrices) + z * n * n, m = Global<T>(work) + z * n * n,
                    to = Global<T>(out) + z * n * n;
    const Global<std::int64_t> row = Global<std::int64_t>(permutations) + z * 2 * n, col = row + n;
    for (std::int64_t i = threadIdx.x; i < n; i += kBlock) row[i] = i, col[i] = i;
    __syncthreads();
    int sign = 1;
    for (std::int64_t k = 0; k < n && sign != 0; ++k) {
      const std::int64_t left = n - k;
      const std::int64_t p = first_largest(
          left * left, shared, [&](std::int64_t e) { return static_cast<T>(a[(k + e / left) * n + k + e % left]); });
      const std::int64_t pi = k + p / left, pj = k + p % left;
      if (pi != k) {
        exchange(a + k * n, 1, a + pi * n, 1, n);
        exchange(row + k, 1, row + pi, 1, 1);
        sign = -sign;
      }
      if (pj != k) {
        exchange(a + k, n, a + pj, n, n);
        exchange(col + k, 1, col + pj, 1, 1);
        sign = -sign;
      }
      if (k == n - 1) break;
      const T pivot = a[k * n + k];
      if (pivot == 0)
        sign = 0;
      else
        eliminate(a, n, k);
    }
    if (sign == 0) {  // all minors of order n − 1 are zero
      for (std::int64_t e = threadIdx.x; e < n * n; e += kBlock) to[e] = T(0);
      __syncthreads();
      continue;
    }
    ScaledProduct<T> det;
    det.times(static_cast<T>(sign));
    for (std::int64_t i = 0; i + 1 < n; ++i) det.times(a[i * n + i]);

    // m = adj(U)/det U₁, row by row from the last.
    const std::int64_t last = n - 1;
    for (std::int64_t e = threadIdx.x; e < n * n; e += kBlock) m[e] = T(e == n * n - 1 ? 1 : 0);
    __syncthreads();
    const T delta = a[n * n - 1];
    for (std::int64_t i = last - 1; i >= 0; --i) {
      const T pivot = a[i * n + i];
      for (std::int64_t j = i + threadIdx.x; j < n; j += kBlock) {
        T y = j == i ? delta : j == last ? -static_cast<T>(a[i * n + last]) : T(0);
        for (std::int64_t p = i + 1; p < last; ++p) y -= static_cast<T>(a[i * n + p]) * static_cast<T>(m[p * n + j]);
        m[i * n + j] = y / pivot;
      }
      __syncthreads();
    }
    // Lᵀ Z = mᵀ in the columns of m: z[j][c] is m[c][j].
    for (std::int64_t j = last - 1; j >= 0; --j) {
      for (std::int64_t c = threadIdx.x; c < n; c += kBlock) {
        T y = m[c * n + j];
        for (std::int64_t i = j + 1; i < n; ++i) y -= static_cast<T>(a[i * n + j]) * static_cast<T>(m[c * n + i]);
        m[c * n + j] = y;
      }
      __syncthreads();
    }
    for (std::int64_t e = threadIdx.x; e < n * n; e += kBlock) {
      const std::int64_t i = e / n, j = e % n, r = row[i], c = col[j];
      to[r * n + c] = det.scale(m[j * n + i]);
    }
    __syncthreads();
  }
}

unsigned column_blocks(std::int64_t batches, std::int64_t k) {
  return blocks_for(batches * ((k + kColumns - 1) / kColumns), 1);
}

template <class F>
void for_float(DType t, F&& f) {
  dispatch_floating(t, std::forward<F>(f));
}

}  // namespace

void start_cholesky(DType t, std::int64_t batches, std::int64_t n, void* a, cudaStream_t stream) {
  for_float(t, [&]<class T>(TypeTag<T>) {
    launch(cholesky_kernel<T>, blocks_for(batches, 1), kBlock, stream, batches, n, static_cast<T*>(a));
  });
}
void start_solve_triangular(DType t, std::int64_t batches, std::int64_t n, std::int64_t k, const void* a,
                            std::int64_t a_step, bool lower, bool unit, void* x, cudaStream_t stream) {
  for_float(t, [&]<class T>(TypeTag<T>) {
    launch(triangular_kernel<T>, column_blocks(batches, k), kBlock, stream, batches, n, k, static_cast<const T*>(a),
           a_step, lower, unit, static_cast<T*>(x));
  });
}
void start_lu(DType t, std::int64_t batches, std::int64_t n, void* a, std::int64_t* pivots, cudaStream_t stream) {
  for_float(t, [&]<class T>(TypeTag<T>) {
    launch(lu_kernel<T>, blocks_for(batches, 1), kBlock, stream, batches, n, static_cast<T*>(a), pivots);
  });
}
void start_lu_solve(DType t, std::int64_t batches, std::int64_t n, std::int64_t k, const void* lu,
                    const std::int64_t* pivots, std::int64_t lu_step, void* x, cudaStream_t stream) {
  for_float(t, [&]<class T>(TypeTag<T>) {
    launch(lu_solve_kernel<T>, column_blocks(batches, k), kBlock, stream, batches, n, k, static_cast<const T*>(lu),
           pivots, lu_step, static_cast<T*>(x));
  });
}
void start_determinant(DType t, std::int64_t batches, std::int64_t n, const void* lu, const std::int64_t* pivots,
                       bool log, void* out, cudaStream_t stream) {
  for_float(t, [&]<class T>(TypeTag<T>) {
    launch(determinant_kernel<T>, blocks_for(batches, kBlock), kBlock, stream, batches, n, static_cast<const T*>(lu),
           pivots, log, static_cast<T*>(out));
  });
}
void start_cofactor(DType t, std::int64_t batches, std::int64_t n, void* a, void* work, std::int64_t* permutations,
                    void* out, cudaStream_t stream) {
  for_float(t, [&]<class T>(TypeTag<T>) {
    launch(cofactor_kernel<T>, blocks_for(batches, 1), kBlock, stream, batches, n, static_cast<T*>(a),
           static_cast<T*>(work), permutations, static_cast<T*>(out));
  });
}

}  // namespace evolute::cuda
