// Matrix products: C = A B with any strides, hence all transposes.
//
// A block computes a tile of C. Slices of A and B, kDepth deep, come to shared memory behind the back of the threads,
// while these work on the slices before. Both lie there along k, so that a thread reads what it multiplies in groups of
// 16 bytes, and keeps its part of the tile in registers. Products of few tiles and a long k are cut along k, and the
// parts added up in a fixed order. Tensor cores take no part: they would round float32 to fewer bits.
#include "cuda/elementwise.cuh"
#include "cuda/kernels.h"

namespace evolute::cuda {
namespace {

// kM × kN elements of C by kThreads threads, each of which has TM × TN of them: TM/GM groups of GM rows, kRows · GM
// apart, and the same for columns.
template <class T, int kM_, int kN_, int TM_, int TN_, int kDepth_ = 16>
struct Tiling {
  static constexpr int kM = kM_, kN = kN_, kDepth = kDepth_, TM = TM_, TN = TN_;
  static constexpr int W = 16 / sizeof(T);
  static constexpr int GM = TM < W ? TM : W, GN = TN < W ? TN : W;
  static constexpr int kRows = kM / TM, kColumns = kN / TN;  // threads
  static constexpr int kThreads = kRows * kColumns;
  static constexpr int kPad = W;  // keeps groups aligned, and columns of a slice out of one bank

  struct alignas(16) Shared {
    T a[2][kDepth][kM + kPad];
    T b[2][kDepth][kN + kPad];
  };
};

// Brings kLength × kDepth elements of an operand, from position `first` along its long axis and `k` along the other, to
// `to`; zeros where there are none. `dense`: groups of 16 bytes lie along the long axis.
template <class T, int kLength, int kPad, int kThreads, int kDepth>
__device__ __forceinline__ void bring(T (*to)[kLength + kPad], Global<const T> from, std::int64_t first,
                                      std::int64_t length, std::int64_t stride, std::int64_t k, std::int64_t k_end,
                                      std::int64_t k_stride, bool dense) {
  constexpr int W = 16 / sizeof(T);
  if (dense) {
    for (int e = threadIdx.x; e < kLength / W * kDepth; e += kThreads) {
      const int i = e % (kLength / W) * W, p = e / (kLength / W);
      const bool valid = first + i < length && k + p < k_end;
      async_copy<T, W>(&to[p][i], valid ? from + ((first + i) + (k + p) * k_stride) : from, valid);
    }
  } else if (k_stride == 1) {
    for (int e = threadIdx.x; e < kLength * kDepth; e += kThreads) {
      const int p = e % kDepth, i = e / kDepth;
      const bool valid = first + i < length && k + p < k_end;
      async_copy<T, 1>(&to[p][i], valid ? from + ((first + i) * stride + (k + p)) : from, valid);
    }
  } else {
    for (int e = threadIdx.x; e < kLength * kDepth; e += kThreads) {
      const int i = e % kLength, p = e / kLength;
      const bool valid = first + i < length && k + p < k_end;
      async_copy<T, 1>(&to[p][i], valid ? from + ((first + i) * stride + (k + p) * k_stride) : from, valid);
    }
  }
}

// Whether groups of 16 bytes lie along an axis of stride 1, at every place where a tile may begin.
template <class T>
bool is_dense(const void* p, std::int64_t length, std::int64_t stride, std::int64_t k_stride, const Loop<3>& batch,
              int operand) {
  constexpr std::int64_t W = 16 / sizeof(T);
  bool dense = stride == 1 && length % W == 0 && k_stride % W == 0 && reinterpret_cast<std::uintptr_t>(p) % 16 == 0;
  for (int a = 0; a < batch.ndim; ++a) dense = dense && batch.stride[operand][a] % W == 0;
  return dense;
}

template <class T, class Tile>
__global__ void __launch_bounds__(Tile::kThreads)
    gemm_kernel(const __grid_constant__ GemmArgs g, bool dense_a, bool dense_b, bool dense_c) {
  using Shared = typename Tile::Shared;
  EV_SHARED(Shared, s);
  constexpr int kDepth = Tile::kDepth, TM = Tile::TM, TN = Tile::TN, GM = Tile::GM, GN = Tile::GN;
  const int row = threadIdx.x / Tile::kColumns * GM, column = threadIdx.x % Tile::kColumns * GN;
  const std::int64_t down = (g.m + Tile::kM - 1) / Tile::kM, across = (g.n + Tile::kN - 1) / Tile::kN;
  const std::int64_t tiles = down * across, units = tiles * g.splits * g.batches;
  for (std::int64_t unit = blockIdx.x; unit < units; unit += gridDim.x) {
    // Blocks that run at the same time compute a patch of eight rows of tiles: they share what they read.
    constexpr std::int64_t kPatch = 8;
    const std::int64_t tile = unit % tiles, patch = tile / (kPatch * across);
    const std::int64_t height = down - patch * kPatch < kPatch ? down - patch * kPatch : kPatch;
    const std::int64_t within = tile - patch * kPatch * across;
    const std::int64_t i0 = (patch * kPatch + within % height) * Tile::kM, j0 = within / height * Tile::kN;
    const std::int64_t split = unit / tiles % g.splits, z = unit / tiles / g.splits;
    std::int64_t offset[3];
    g.batch.offsets(z, offset);
    const Global<const T> a = Global<const T>(static_cast<const T*>(g.a)) + offset[0];
    const Global<const T> b = Global<const T>(static_cast<const T*>(g.b)) + offset[1];
    const std::int64_t k_begin = split * g.per, k_end = k_begin + g.per < g.k ? k_begin + g.per : g.k;

    T c[TM][TN] = {};
    const auto fetch = [&](int buffer, std::int64_t k) {
      bring<T, Tile::kM, Tile::kPad, Tile::kThreads, Tile::kDepth>(s.a[buffer], a, i0, g.m, g.a_row, k, k_end, g.a_col,
                                                                   dense_a);
      bring<T, Tile::kN, Tile::kPad, Tile::kThreads, Tile::kDepth>(s.b[buffer], b, j0, g.n, g.b_col, k, k_end, g.b_row,
                                                                   dense_b);
    };
    fetch(0, k_begin);
    async_commit();
    int buffer = 0;
    for (std::int64_t k = k_begin; k < k_end; k += kDepth, buffer ^= 1) {
      if (k + kDepth < k_end) fetch(buffer ^ 1, k + kDepth);
      async_commit();
      async_wait<1>();
      __syncthreads();
#pragma unroll
      for (int p = 0; p < kDepth; ++p) {
        T x[TM], y[TN];
#pragma unroll
        for (int i = 0; i < TM; i += GM) {
          const auto group = *reinterpret_cast<const Pack<T, GM>*>(&s.a[buffer][p][row + i * Tile::kRows]);
#pragma unroll
          for (int l = 0; l < GM; ++l) x[i + l] = group.v[l];
        }
#pragma unroll
        for (int j = 0; j < TN; j += GN) {
          const auto group = *reinterpret_cast<const Pack<T, GN>*>(&s.b[buffer][p][column + j * Tile::kColumns]);
#pragma unroll
          for (int l = 0; l < GN; ++l) y[j + l] = group.v[l];
        }
#pragma unroll
        for (int i = 0; i < TM; ++i)
#pragma unroll
          for (int j = 0; j < TN; ++j) c[i][j] = std::fma(x[i], y[j], c[i][j]);
      }
      __syncthreads();
    }

    const bool partial = g.splits > 1;
    const Global<T> out = partial ? Global<T>(static_cast<T*>(g.partial)) + (split * g.batches + z) * g.m * g.n
                                  : Global<T>(static_cast<T*>(g.c)) + offset[2];
    const std::int64_t c_row = partial ? g.n : g.c_row, c_col = partial ? 1 : g.c_col;
    const bool dense = partial ? g.n % GN == 0 : dense_c;
#pragma unroll
    for (int i = 0; i < TM; ++i) {
      const std::int64_t r = i0 + row + i / GM * GM * Tile::kRows + i % GM;
      if (r >= g.m) continue;
#pragma unroll
      for (int j = 0; j < TN; j += GN) {
        const std::int64_t q = j0 + column + j * Tile::kColumns;
        if (g.add && !partial)
#pragma unroll
          for (int l = 0; l < GN; ++l)
            if (q + l < g.n) c[i][j + l] += out[r * c_row + (q + l) * c_col];
        if (dense && q < g.n) {
          Pack<T, GN> group;
#pragma unroll
          for (int l = 0; l < GN; ++l) group.v[l] = c[i][j + l];
          store_pack<T, GN>(out + (r * c_row + q), group);
        } else {
#pragma unroll
          for (int l = 0; l < GN; ++l)
            if (q + l < g.n) out[r * c_row + (q + l) * c_col] = c[i][j + l];
        }
      }
    }
  }
}

// Row times column, a thread each. T is unsigned: overflow wraps around.
template <class T>
__global__ void __launch_bounds__(kBlock) integer_gemm(const __grid_constant__ GemmArgs g) {
  for (std::int64_t e = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x; e < g.m * g.n * g.batches;
       e += static_cast<std::int64_t>(gridDim.x) * kBlock) {
    const std::int64_t j = e % g.n, i = e / g.n % g.m;
    std::int64_t offset[3];
    g.batch.offsets(e / g.n / g.m, offset);
    const Global<const T> a(static_cast<const T*>(g.a)), b(static_cast<const T*>(g.b));
    T sum = 0;
    for (std::int64_t p = 0; p < g.k; ++p)
      sum += static_cast<T>(a[offset[0] + i * g.a_row + p * g.a_col]) *
             static_cast<T>(b[offset[1] + p * g.b_row + j * g.b_col]);
    Global<T>(static_cast<T*>(g.c))[offset[2] + i * g.c_row + j * g.c_col] = sum;
  }
}

template <class T, class Tile>
std::int64_t tiles_of(const GemmArgs& g) {
  return ((g.m + Tile::kM - 1) / Tile::kM) * ((g.n + Tile::kN - 1) / Tile::kN) * g.batches;
}

template <class T, class Tile>
void start(const GemmArgs& g, cudaStream_t stream) {
  const bool dense_a = is_dense<T>(g.a, g.m, g.a_row, g.a_col, g.batch, 0);
  const bool dense_b = is_dense<T>(g.b, g.n, g.b_col, g.b_row, g.batch, 1);
  const bool dense_c = is_dense<T>(g.c, g.n, g.c_col, g.c_row, g.batch, 2);
  launch(gemm_kernel<T, Tile>, blocks_for(tiles_of<T, Tile>(g) * g.splits, 1), Tile::kThreads, stream, g, dense_a,
         dense_b, dense_c);
}

// Large tiles read less, if there are enough of them to go round; narrow ones waste less where C is narrow.
enum class Choice { Large, Medium, Narrow };
constexpr std::int64_t kMultiprocessors = 128;  // about; fixed, so that results do not depend on the device

template <class T>
struct Tilings;
template <>
struct Tilings<float> {
  using Large = Tiling<float, 128, 128, 8, 8>;
  using Medium = Tiling<float, 64, 64, 4, 4>;
  using Narrow = Tiling<float, 128, 16, 4, 2>;
};
template <>
struct Tilings<double> {
  using Large = Tiling<double, 128, 64, 8, 4, 8>;
  using Medium = Tiling<double, 64, 64, 4, 4>;
  using Narrow = Tiling<double, 128, 16, 4, 2>;
};

template <class T>
Choice choose(const GemmArgs& g) {
  if (g.n <= 16) return Choice::Narrow;
  return g.n > 64 && tiles_of<T, typename Tilings<T>::Large>(g) >= kMultiprocessors ? Choice::Large : Choice::Medium;
}

template <class T>
std::int64_t splits_of(const GemmArgs& g) {
  const Choice choice = choose<T>(g);
  const std::int64_t tiles = choice == Choice::Large    ? tiles_of<T, typename Tilings<T>::Large>(g)
                             : choice == Choice::Medium ? tiles_of<T, typename Tilings<T>::Medium>(g)
                                                        : tiles_of<T, typename Tilings<T>::Narrow>(g);
  constexpr std::int64_t kLeast = 256;  // of k
  const std::int64_t wanted = 2 * kMultiprocessors / (tiles > 0 ? tiles : 1), most = g.k / kLeast;
  const std::int64_t splits = wanted < most ? wanted : most;
  return splits < 1 ? 1 : splits;
}

template <class T>
void start_chosen(const GemmArgs& g, cudaStream_t stream) {
  switch (choose<T>(g)) {
    case Choice::Large: return start<T, typename Tilings<T>::Large>(g, stream);
    case Choice::Medium: return start<T, typename Tilings<T>::Medium>(g, stream);
    case Choice::Narrow: return start<T, typename Tilings<T>::Narrow>(g, stream);
  }
}

}  // namespace

std::int64_t gemm_splits(const GemmArgs& g, DType t) {
  return t == DType::Float32 ? splits_of<float>(g) : t == DType::Float64 ? splits_of<double>(g) : 1;
}

void start_gemm(DType t, const GemmArgs& g, cudaStream_t stream) {
  switch (t) {
    case DType::Float32: return start_chosen<float>(g, stream);
    case DType::Float64: return start_chosen<double>(g, stream);
    case DType::Int32:
      return launch(integer_gemm<std::uint32_t>, blocks_for(g.m * g.n * g.batches, kBlock), kBlock, stream, g);
    default: return launch(integer_gemm<std::uint64_t>, blocks_for(g.m * g.n * g.batches, kBlock), kBlock, stream, g);
  }
}

}  // namespace evolute::cuda
