// Matrix products that are results themselves, and those of integers.
#include "cuda/gemm.cuh"

#include "cuda/elementwise.cuh"
#include "cuda/kernels.h"

namespace evolute::cuda {
namespace {

// Writes the tile where it belongs, or, of a part of k, where the parts are added up.
template <class T>
struct Store {
  static constexpr int W = 16 / sizeof(T);
  const GemmArgs& g;
  bool by_rows;

  __device__ __forceinline__ void operator()(std::int64_t z, int split, std::int64_t x, std::int64_t y,
                                             std::int64_t count, T (&v)[W]) const {
    const bool partial = g.splits > 1;
    std::int64_t offset[3];
    g.batch.offsets(z, offset);
    const Global<T> c = partial ? Global<T>(static_cast<T*>(g.partial)) + g.partial_at(split, z)
                                : Global<T>(static_cast<T*>(g.c)) + offset[2];
    const std::int64_t row = partial ? g.n : g.c_row, column = partial ? 1 : g.c_col;
    const std::int64_t step = by_rows ? row : column;
    const Global<T> p = c + (x * step + y * (by_rows ? column : row));
    if (g.add && !partial) {
#pragma unroll
      for (int l = 0; l < W; ++l)
        if (l < count) v[l] += p[l * step];
    }
    if (g.packed && count >= W) {
      Pack<T, W> group;
#pragma unroll
      for (int l = 0; l < W; ++l) group.v[l] = v[l];
      store_pack<T, W>(p, group);
    } else {
#pragma unroll
      for (int l = 0; l < W; ++l)
        if (l < count) p[l * step] = v[l];
    }
  }
};

template <class T, class Of>
__global__ void __launch_bounds__(Of::kThreads, Of::kBlocks) gemm_kernel(const __grid_constant__ GemmArgs g) {
  gemm<T, Of>(g, Store<T>{g, g.by_rows});
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

template <class T>
void start(Tile tile, const GemmArgs& g, cudaStream_t stream) {
  with_tiling<T>(tile, [&]<class Of>() {
    launch(gemm_kernel<T, Of>, blocks_for(Units(g, Of::kM, Of::kN).count, 1), Of::kThreads, stream, g);
  });
}

}  // namespace

void start_gemm(DType t, Tile tile, const GemmArgs& g, cudaStream_t stream) {
  switch (t) {
    case DType::Float32: return start<float>(tile, g, stream);
    case DType::Float64: return start<double>(tile, g, stream);
    case DType::Int32:
      return launch(integer_gemm<std::uint32_t>, blocks_for(g.m * g.n * g.batches, kBlock), kBlock, stream, g);
    default: return launch(integer_gemm<std::uint64_t>, blocks_for(g.m * g.n * g.batches, kBlock), kBlock, stream, g);
  }
}

}  // namespace evolute::cuda
