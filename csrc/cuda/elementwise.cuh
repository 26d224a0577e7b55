// The loop of all elementwise kernels: each thread takes 16 bytes of every operand at a time.
#pragma once

#include <array>
#include <cstring>

#include "cuda/elementwise.h"
#include "cuda/functors.cuh"

namespace evolute::cuda {

constexpr bool takes(Operands kind, DType t) {
  if (kind == Operands::logical || is_floating(t)) return true;
  return t != DType::Bool && kind == Operands::number;
}

// Calls `visit.template operator()<Functor>(kernel)` for every kernel that takes operands of type T.
template <class T, class Visit>
EV_HD constexpr void for_each_kernel(Visit&& visit) {
#define EV_KERNEL(Name, fun, suffix, text, Functor, exists) \
  if constexpr (exists) visit.template operator()<Functor<fn::Name, T>>(k##Name##suffix);
#include "cuda/kernels.def"
}

template <class T>
__device__ __forceinline__ T from_bits(std::uint64_t bits) {
  T x;
  memcpy(&x, &bits, sizeof(T));
  return x;
}

// Reads operand k of the W elements from i on; those that lie beyond the end repeat the last one.
template <class T, int W>
__device__ __forceinline__ void read_operand(const ElementwiseArgs& a, int k, std::int64_t packed_offset,
                                             const std::int64_t (*offset)[kMaxOperands], bool packed, T* x) {
  const Global<const T> p(static_cast<const T*>(a.data[k]));
  if (!p) {
    const T value = from_bits<T>(a.immediate[k]);
    for (int l = 0; l < W; ++l) x[l] = value;
  } else if (!packed) {
    for (int l = 0; l < W; ++l) x[l] = p[offset[l][k]];
  } else if (a.loop.stride[k][0] == 0) {
    const T value = p[packed_offset];
    for (int l = 0; l < W; ++l) x[l] = value;
  } else {
    const Pack<T, W> pack = load_pack<T, W>(p + packed_offset);
    for (int l = 0; l < W; ++l) x[l] = pack.v[l];
  }
}

template <class T, class F>
__global__ void __launch_bounds__(kBlock) elementwise_kernel(const __grid_constant__ ElementwiseArgs a) {
  constexpr int W = 16 / sizeof(T), N = F::N, M = F::M;
  using Out = typename F::Out;
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * kBlock * W;
  for (std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x) * W; i < a.loop.size;
       i += step) {
    const bool packed = a.packed && i + W <= a.loop.size;
    std::int64_t offset[W][kMaxOperands];
    if (packed) {
      a.loop.offsets(i, offset[0]);
    } else {
#pragma unroll
      for (int l = 0; l < W; ++l) a.loop.offsets(i + l < a.loop.size ? i + l : a.loop.size - 1, offset[l]);
    }
    T in[N][W];
#pragma unroll
    for (int k = 0; k < N; ++k) read_operand<T, W>(a, k, offset[0][k], offset, packed, in[k]);
    Pack<Out, W> out[M];
#pragma unroll
    for (int l = 0; l < W; ++l) {
      T x[N];
      Out y[M];
#pragma unroll
      for (int k = 0; k < N; ++k) x[k] = in[k][l];
      F::apply(x, y);
#pragma unroll
      for (int k = 0; k < M; ++k) out[k].v[l] = y[k];
    }
#pragma unroll
    for (int k = 0; k < M; ++k) {
      const Global<Out> p(static_cast<Out*>(a.data[N + k]));
      if (packed) {
        store_pack<Out, W>(p + offset[0][N + k], out[k]);
      } else {
#pragma unroll
        for (int l = 0; l < W; ++l)
          if (i + l < a.loop.size) p[offset[l][N + k]] = out[k].v[l];
      }
    }
  }
}

template <class T, class F>
void start_elementwise(const ElementwiseArgs& a, cudaStream_t stream) {
  launch(elementwise_kernel<T, F>, blocks_for(a.loop.size, kBlock * (16 / sizeof(T))), kBlock, stream, a);
}

template <class T>
std::array<ElementwiseLaunch, kNumElementwiseKernels> elementwise_table() {
  std::array<ElementwiseLaunch, kNumElementwiseKernels> table{};
  for_each_kernel<T>([&]<class F>(int kernel) { table[kernel] = start_elementwise<T, F>; });
  return table;
}

}  // namespace evolute::cuda
