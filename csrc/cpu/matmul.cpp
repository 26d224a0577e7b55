// Matrix product: blocks of both operands are packed into panels that a register-tiled kernel streams through (Goto and
// van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008). Packing reads any strides, so a transposed
// operand costs nothing extra. Matrix times vector and small products skip the packing.
#include <cstring>

#include "cpu/cpu_backend.h"

namespace evolute::cpu {

namespace {

// A matrix in strided memory.
template <class T>
struct Matrix {
  T* p;
  std::int64_t rs, cs;  // strides of rows and columns, in elements

  T& operator()(std::int64_t i, std::int64_t j) const { return p[i * rs + j * cs]; }
  Matrix transposed() const { return {p, cs, rs}; }
};

struct Extent {
  std::int64_t m, n, k;
};

// ---- register tile ------------------------------------------------------------------------------------------------

#if defined(__x86_64__) && defined(__GNUC__)
#define EV_X86 1
#define EV_TARGET(isa) __attribute__((target(isa)))
#else
#define EV_X86 0
#endif

// name<T>::run computes tile = A B for an MR x k panel A (column after column) and a k x NR panel B (row after row); NR
// is two vectors of `width` bytes. A macro, because compilers lower vector types for the instruction set that the
// function itself is declared with, not for the one it is inlined into.
#define EV_DEFINE_TILE(name, target, width, rows)                                             \
  template <class T>                                                                          \
  struct name {                                                                               \
    typedef T V __attribute__((vector_size(width), may_alias));                               \
    static constexpr int MR = rows, NR = 2 * width / sizeof(T);                               \
    target static void run(std::int64_t k, const T* a, const T* b, T* tile) {                 \
      V acc[MR][2] = {};                                                                      \
      for (; k > 0; --k, a += MR, b += NR) {                                                  \
        const V b0 = reinterpret_cast<const V*>(b)[0], b1 = reinterpret_cast<const V*>(b)[1]; \
        _Pragma("GCC unroll 16") for (int i = 0; i < MR; ++i) {                               \
          const V x = a[i] - V{};                                                             \
          acc[i][0] += x * b0;                                                                \
          acc[i][1] += x * b1;                                                                \
        }                                                                                     \
      }                                                                                       \
      _Pragma("GCC unroll 16") for (int i = 0; i < MR; ++i) {                                 \
        reinterpret_cast<V*>(tile)[2 * i] = acc[i][0];                                        \
        reinterpret_cast<V*>(tile)[2 * i + 1] = acc[i][1];                                    \
      }                                                                                       \
    }                                                                                         \
  };
EV_DEFINE_TILE(TileBaseline, , 16, 4)
#if EV_X86
EV_DEFINE_TILE(TileAvx2, EV_TARGET("avx2,fma"), 32, 6)
EV_DEFINE_TILE(TileAvx512, EV_TARGET("avx512f,fma"), 64, 12)
#endif
#undef EV_DEFINE_TILE

// ---- packed product -----------------------------------------------------------------------------------------------

// Block sizes: an A block stays in L2, a B panel in L1.
constexpr std::int64_t kBlockM = 144, kBlockN = 1024, kBlockK = 256;

constexpr std::int64_t round_up(std::int64_t x, std::int64_t unit) { return (x + unit - 1) / unit * unit; }

// Copies rows [0, m) of `a` into panels of R rows, each panel column after column; the last is padded with zeros.
template <int R, class T>
void pack(Matrix<const T> a, std::int64_t m, std::int64_t k, T* out) {
  for (std::int64_t i = 0; i < m; i += R, out += R * k) {
    const std::int64_t rows = std::min<std::int64_t>(R, m - i);
    const T* src = a.p + i * a.rs;
    if (rows == R && a.rs == 1) {
      for (std::int64_t p = 0; p < k; ++p) std::memcpy(out + p * R, src + p * a.cs, R * sizeof(T));
    } else if (rows == R) {
      for (std::int64_t p = 0; p < k; ++p)
        for (int r = 0; r < R; ++r) out[p * R + r] = src[r * a.rs + p * a.cs];
    } else {
      for (std::int64_t p = 0; p < k; ++p)
        for (int r = 0; r < R; ++r) out[p * R + r] = r < rows ? src[r * a.rs + p * a.cs] : T(0);
    }
  }
}

// Writes or adds the valid part of a tile. c.cs is 1.
template <class T>
void store_tile(const T* tile, int stride, std::int64_t m, std::int64_t n, Matrix<T> c, bool add) {
  for (std::int64_t i = 0; i < m; ++i) {
    T* __restrict row = c.p + i * c.rs;
    const T* __restrict t = tile + i * stride;
    if (add) {
      for (std::int64_t j = 0; j < n; ++j) row[j] += t[j];
    } else {
      for (std::int64_t j = 0; j < n; ++j) row[j] = t[j];
    }
  }
}

template <class Tile, class T>
void packed_product(Extent e, Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
  constexpr int MR = Tile::MR, NR = Tile::NR;
  const std::int64_t block_m = std::min(kBlockM / MR * MR, round_up(e.m, MR));
  const std::int64_t block_n = std::min(kBlockN, round_up(e.n, NR)), block_k = std::min(kBlockK, e.k);
  const Ref<Buffer> pack_a = allocate_host(block_m * block_k * sizeof(T));
  const Ref<Buffer> pack_b = allocate_host(block_n * block_k * sizeof(T));
  T *pa = reinterpret_cast<T*>(pack_a->data()), *pb = reinterpret_cast<T*>(pack_b->data());
  alignas(64) T tile[MR * NR];

  for (std::int64_t j0 = 0; j0 < e.n; j0 += block_n) {
    const std::int64_t n = std::min(block_n, e.n - j0);
    for (std::int64_t p0 = 0; p0 < e.k; p0 += block_k) {
      const std::int64_t k = std::min(block_k, e.k - p0);
      pack<NR, T>({&b(p0, j0), b.cs, b.rs}, n, k, pb);
      for (std::int64_t i0 = 0; i0 < e.m; i0 += block_m) {
        const std::int64_t m = std::min(block_m, e.m - i0);
        pack<MR, T>({&a(i0, p0), a.rs, a.cs}, m, k, pa);
        for (std::int64_t j = 0; j < n; j += NR)
          for (std::int64_t i = 0; i < m; i += MR) {
            Tile::run(k, pa + i * k, pb + j * k, tile);
            const Matrix<T> target{&c(i0 + i, j0 + j), c.rs, c.cs};
            store_tile(tile, NR, std::min<std::int64_t>(MR, m - i), std::min<std::int64_t>(NR, n - j), target, p0 > 0);
          }
      }
    }
  }
}

template <class T>
using Product = void (*)(Extent, Matrix<const T>, Matrix<const T>, Matrix<T>);

template <class T>
Product<T> best_packed_product() {
#if EV_X86
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f")) return packed_product<TileAvx512<T>, T>;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return packed_product<TileAvx2<T>, T>;
#endif
  return packed_product<TileBaseline<T>, T>;
}

// ---- products that are not worth packing ----------------------------------------------------------------------------

// Row by row as sums of multiples of rows of b. c.cs is 1.
template <class T>
void plain_product(Extent e, Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
  for (std::int64_t i = 0; i < e.m; ++i) {
    T* __restrict row = c.p + i * c.rs;
    std::fill_n(row, e.n, T(0));
    for (std::int64_t p = 0; p < e.k; ++p) {
      const T x = a(i, p);
      const T* __restrict y = b.p + p * b.rs;
      if (b.cs == 1) {
        for (std::int64_t j = 0; j < e.n; ++j) row[j] += x * y[j];
      } else {
        for (std::int64_t j = 0; j < e.n; ++j) row[j] += x * y[j * b.cs];
      }
    }
  }
}

// For N columns: a row of c stays in registers.
template <int N, class T>
void narrow_product(Extent e, Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
  for (std::int64_t i = 0; i < e.m; ++i) {
    T row[N] = {};
    for (std::int64_t p = 0; p < e.k; ++p)
      for (int j = 0; j < N; ++j) row[j] += a(i, p) * b(p, j);
    for (int j = 0; j < N; ++j) c(i, j) = row[j];
  }
}

constexpr std::int64_t kSmall = 1024;  // multiplications, or elements of b

template <class T>
void small_product(Extent e, Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
  switch (e.n) {
    case 1: return narrow_product<1>(e, a, b, c);
    case 2: return narrow_product<2>(e, a, b, c);
    case 3: return narrow_product<3>(e, a, b, c);
    case 4: return narrow_product<4>(e, a, b, c);
    default: break;
  }
  if (b.cs == 1 || e.m == 1) return plain_product(e, a, b, c);
  T rows[kSmall];
  for (std::int64_t p = 0; p < e.k; ++p)
    for (std::int64_t j = 0; j < e.n; ++j) rows[p * e.n + j] = b(p, j);
  plain_product<T>(e, a, {rows, e.n, 1}, c);
}

// Sum of x[i] y[i]; lanes are summed apart, so that the sum vectorises.
template <class T>
T dot(const T* x, const T* y, std::int64_t n) {
  constexpr int kLanes = 16;
  T lane[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int l = 0; l < kLanes; ++l) lane[l] += x[i + l] * y[i + l];
  T s = 0;
  for (; i < n; ++i) s += x[i] * y[i];
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int l = 0; l < width; ++l) lane[l] += lane[l + width];
  return s + lane[0];
}

// y = A x with `a` of e.m x e.k, and x and y columns.
template <class T>
void matrix_vector(Extent e, Matrix<const T> a, Matrix<const T> x, Matrix<T> y) {
  if (a.cs == 1 && x.rs == 1) {
    for (std::int64_t i = 0; i < e.m; ++i) y.p[i * y.rs] = dot(a.p + i * a.rs, x.p, e.k);
  } else if (a.rs == 1 && y.rs == 1) {
    plain_product<T>({1, e.m, e.k}, x.transposed(), a.transposed(), y.transposed());
  } else {
    for (std::int64_t i = 0; i < e.m; ++i) {
      T s = 0;
      for (std::int64_t p = 0; p < e.k; ++p) s += a(i, p) * x(p, 0);
      y.p[i * y.rs] = s;
    }
  }
}

template <class T>
void product(Extent e, Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
  if constexpr (std::is_integral_v<T>) {
    plain_product(e, a, b, c);
  } else if (e.m * e.n * e.k <= kSmall) {
    small_product(e, a, b, c);
  } else if (e.n == 1) {
    matrix_vector(e, a, b, c);
  } else if (e.m == 1) {
    matrix_vector({e.n, 1, e.k}, b.transposed(), a.transposed(), c.transposed());
  } else {
    static const Product<T> packed = best_packed_product<T>();
    packed(e, a, b, c);
  }
}

// ---- batches --------------------------------------------------------------------------------------------------------

// Offset in elements of matrix `i`, counted row-major over the batch axes.
std::int64_t batch_offset(const Array& a, int axes, std::int64_t i) {
  std::int64_t offset = 0;
  for (int d = axes - 1; d > 0; --d) {
    offset += i % a.shape()[d] * a.strides()[d];
    i /= a.shape()[d];
  }
  return axes > 0 ? offset + i * a.strides()[0] : 0;
}

template <class T>
void batched_product(const Array& a, const Array& b, Array& out) {
  int axes = out.ndim() - 2;
  Extent e{out.shape()[axes], out.shape()[axes + 1], a.shape()[axes + 1]};
  Matrix<const T> x{a.data<T>(), a.strides()[axes], a.strides()[axes + 1]};
  const Matrix<const T> y{b.data<T>(), b.strides()[axes], b.strides()[axes + 1]};
  Matrix<T> z{out.data<T>(), out.strides()[axes], 1};

  // A batch axis along which b does not change is more rows of a.
  for (; axes > 0; --axes) {
    const std::int64_t count = out.shape()[axes - 1];
    if (count != 1) {
      const std::int64_t step = a.strides()[axes - 1], out_step = out.strides()[axes - 1];
      if (b.strides()[axes - 1] != 0) break;
      if (e.m == 1) {
        x.rs = step;
        z.rs = out_step;
      } else if (step != e.m * x.rs || out_step != e.m * z.rs) {
        break;
      }
      e.m *= count;
    }
  }

  std::int64_t batch = 1;
  for (int d = 0; d < axes; ++d) batch *= out.shape()[d];
  for (std::int64_t i = 0; i < batch; ++i) {
    const std::int64_t ia = batch_offset(a, axes, i), ib = batch_offset(b, axes, i), io = batch_offset(out, axes, i);
    product<T>(e, {x.p + ia, x.rs, x.cs}, {y.p + ib, y.rs, y.cs}, {z.p + io, z.rs, z.cs});
  }
}

}  // namespace

void CpuBackend::matmul(const Array& a, const Array& b, Array& out) {
  if (out.size() == 0) return;
  if (out.shape().back() != 1 && out.strides().back() != 1) {  // the kernels write rows without gaps
    const Ref<Array> rows = empty(out.aval());
    matmul(a, b, *rows);
    return copy(*rows, out);
  }
  switch (out.dtype()) {
    case DType::Float32: return batched_product<float>(a, b, out);
    case DType::Float64: return batched_product<double>(a, b, out);
    case DType::Int32: return batched_product<std::int32_t>(a, b, out);
    default: return batched_product<std::int64_t>(a, b, out);
  }
}

}  // namespace evolute::cpu
