// Copies between any strides, with conversion, and transpositions through shared memory.
#include <cstring>

#include "cuda/elementwise.cuh"
#include "cuda/kernels.h"
#include "math/convert.h"

namespace evolute::cuda {
namespace {

template <class To, class From>
__global__ void __launch_bounds__(kBlock) copy_kernel(const __grid_constant__ CopyArgs a) {
  constexpr int W = 16 / (sizeof(To) > sizeof(From) ? sizeof(To) : sizeof(From));
  const Global<To> out(static_cast<To*>(a.out));
  const Global<const From> in(static_cast<const From*>(a.in));
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * kBlock * W;
  for (std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x) * W; i < a.loop.size;
       i += step) {
    std::int64_t offset[2];
    if (a.packed && i + W <= a.loop.size) {
      a.loop.offsets(i, offset);
      Pack<To, W> to;
      if (!in || a.loop.stride[1][0] == 0) {
        const From x = in ? static_cast<From>(in[offset[1]]) : from_bits<From>(a.immediate);
        for (int l = 0; l < W; ++l) to.v[l] = math::convert<To>(x);
      } else {
        const Pack<From, W> from = load_pack<From, W>(in + offset[1]);
        for (int l = 0; l < W; ++l) to.v[l] = math::convert<To>(from.v[l]);
      }
      store_pack<To, W>(out + offset[0], to);
      continue;
    }
    for (int l = 0; l < W && i + l < a.loop.size; ++l) {
      a.loop.offsets(i + l, offset);
      const From x = in ? static_cast<From>(in[offset[1]]) : from_bits<From>(a.immediate);
      out[offset[0]] = math::convert<To>(x);
    }
  }
}

constexpr int kTile = 32, kRows = 8;

template <class T>
struct Tile {
  T v[kTile][kTile + 1];
};

template <class T>
__global__ void __launch_bounds__(kTile* kRows) transpose_kernel(const __grid_constant__ TransposeArgs a) {
  EV_SHARED(Tile<T>, tile);
  const std::int64_t across = (a.columns + kTile - 1) / kTile, down = (a.rows + kTile - 1) / kTile;
  for (std::int64_t t = blockIdx.x; t < across * down * a.matrices.size; t += gridDim.x) {
    std::int64_t offset[2];
    a.matrices.offsets(t / (across * down), offset);
    const Global<T> out = Global<T>(static_cast<T*>(a.out)) + offset[0];
    const Global<const T> in = Global<const T>(static_cast<const T*>(a.in)) + offset[1];
    const std::int64_t i0 = t % (across * down) / across * kTile, j0 = t % across * kTile;
    for (int y = threadIdx.y; y < kTile; y += kRows)
      if (j0 + y < a.columns && i0 + threadIdx.x < a.rows)
        tile.v[y][threadIdx.x] = in[(j0 + y) * a.in_pitch + i0 + threadIdx.x];
    __syncthreads();
    for (int y = threadIdx.y; y < kTile; y += kRows)
      if (i0 + y < a.rows && j0 + threadIdx.x < a.columns)
        out[(i0 + y) * a.out_pitch + j0 + threadIdx.x] = tile.v[threadIdx.x][y];
    __syncthreads();
  }
}

template <class To, class From>
void start(const CopyArgs& a, cudaStream_t stream) {
  constexpr int W = 16 / (sizeof(To) > sizeof(From) ? sizeof(To) : sizeof(From));
  launch(copy_kernel<To, From>, blocks_for(a.loop.size, kBlock * W), kBlock, stream, a);
}

}  // namespace

void start_copy(DType to, DType from, const CopyArgs& a, cudaStream_t stream) {
  if (to == from) {  // as bits
    switch (size_of(to)) {
      case 1: return start<std::uint8_t, std::uint8_t>(a, stream);
      case 4: return start<std::uint32_t, std::uint32_t>(a, stream);
      default: return start<std::uint64_t, std::uint64_t>(a, stream);
    }
  }
  dispatch(to, [&]<class To>(TypeTag<To>) {
    dispatch(from, [&]<class From>(TypeTag<From>) {
      if constexpr (!std::is_same_v<To, From>) start<To, From>(a, stream);
    });
  });
}

void start_transpose(std::size_t item, const TransposeArgs& a, cudaStream_t stream) {
  const std::int64_t tiles = ((a.columns + kTile - 1) / kTile) * ((a.rows + kTile - 1) / kTile) * a.matrices.size;
  const dim3 block(kTile, kRows);
  if (item == 1)
    launch(transpose_kernel<std::uint8_t>, blocks_for(tiles, 1), block, stream, a);
  else if (item == 4)
    launch(transpose_kernel<std::uint32_t>, blocks_for(tiles, 1), block, stream, a);
  else
    launch(transpose_kernel<std::uint64_t>, blocks_for(tiles, 1), block, stream, a);
}

}  // namespace evolute::cuda
