// Elementwise kernels of integers and booleans, and selections.
#include "cuda/elementwise.cuh"

namespace evolute::cuda {

ElementwiseLaunch elementwise_integer(int kernel, DType t) {
  static const auto booleans = elementwise_table<bool>();
  static const auto ints = elementwise_table<std::int32_t>();
  static const auto longs = elementwise_table<std::int64_t>();
  const auto& table = t == DType::Bool ? booleans : t == DType::Int32 ? ints : longs;
  return table[static_cast<std::size_t>(kernel)];
}

namespace {

// cond ? x : y, as bits; operands cond, x, y, out.
template <class T>
__global__ void __launch_bounds__(kBlock) select_kernel(const __grid_constant__ ElementwiseArgs a) {
  constexpr int W = 16 / sizeof(T) > 4 ? 4 : 16 / sizeof(T);
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * kBlock * W;
  for (std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x) * W; i < a.loop.size;
       i += step) {
    const bool packed = a.packed && i + W <= a.loop.size;
    std::int64_t offset[W][kMaxOperands];
#pragma unroll
    for (int l = 0; l < W; ++l)
      if (l == 0 || !packed) a.loop.offsets(i + l < a.loop.size ? i + l : a.loop.size - 1, offset[l]);
    bool cond[W];
    T x[W], y[W];
    read_operand<bool, W>(a, 0, offset[0][0], offset, packed, cond);
    read_operand<T, W>(a, 1, offset[0][1], offset, packed, x);
    read_operand<T, W>(a, 2, offset[0][2], offset, packed, y);
    Pack<T, W> out;
    for (int l = 0; l < W; ++l) out.v[l] = cond[l] ? x[l] : y[l];
    const Global<T> p(static_cast<T*>(a.data[3]));
    if (packed) {
      store_pack<T, W>(p + offset[0][3], out);
    } else {
      for (int l = 0; l < W; ++l)
        if (i + l < a.loop.size) p[offset[l][3]] = out.v[l];
    }
  }
}

template <class T>
void start_select(const ElementwiseArgs& a, cudaStream_t stream) {
  constexpr int W = 16 / sizeof(T) > 4 ? 4 : 16 / sizeof(T);
  launch(select_kernel<T>, blocks_for(a.loop.size, kBlock * W), kBlock, stream, a);
}

}  // namespace

ElementwiseLaunch select_launch(std::size_t item) {
  return item == 1 ? start_select<std::uint8_t> : item == 4 ? start_select<std::uint32_t> : start_select<std::uint64_t>;
}

}  // namespace evolute::cuda
