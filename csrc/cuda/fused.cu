// Fused loops by interpretation: each thread runs the micro-ops of a program on elements of its own. It is what there
// is where no compiler can be had at run time (compiler.cpp); the micro-ops are the same functions.
#include "cuda/elementwise.cuh"
#include "cuda/kernels.h"
#include "cuda/sums.cuh"

namespace evolute::cuda {
namespace {

template <class T>
__device__ __forceinline__ std::uint64_t to_bits(T x) {
  std::uint64_t bits = 0;
  memcpy(&bits, &x, sizeof(T));
  return bits;
}

// Not inlined: there are hundreds of them in one kernel.
template <class T, class F>
EV_NOINLINE __device__ void micro_op(const T* in, typename F::Out* out) {
  F::apply(in, out);
}

template <class T>
__device__ void run_kernel(const FusedOp& op, std::uint64_t* slot) {
  T in[5];
#pragma unroll
  for (int k = 0; k < 5; ++k)
    if (k < op.inputs) in[k] = from_bits<T>(slot[op.slot[k]]);
  const auto step = [&]<class F>() {
    typename F::Out out[F::M];
    micro_op<T, F>(in, out);
#pragma unroll
    for (int k = 0; k < F::M; ++k) slot[op.slot[F::N + k]] = to_bits(out[k]);
  };
  switch (op.kernel) {
#define EV_KERNEL(Name, fun, suffix, text, Functor, exists)                 \
  case k##Name##suffix:                                                     \
    if constexpr (exists) step.template operator()<Functor<fn::Name, T>>(); \
    return;
#include "cuda/kernels.def"
  }
}

EV_NOINLINE __device__ void run_op(const FusedOp& op, std::uint64_t* slot) {
  if (op.kernel < 0) {  // a selection
    slot[op.slot[3]] = (slot[op.slot[0]] & 0xff) != 0 ? slot[op.slot[1]] : slot[op.slot[2]];
    return;
  }
  switch (static_cast<DType>(op.dtype)) {
    case DType::Bool: return run_kernel<bool>(op, slot);
    case DType::Int32: return run_kernel<std::int32_t>(op, slot);
    case DType::Int64: return run_kernel<std::int64_t>(op, slot);
    case DType::Float32: return run_kernel<float>(op, slot);
    default: return run_kernel<double>(op, slot);
  }
}

__device__ std::uint64_t read_as(std::size_t item, const void* p, std::int64_t i) {
  switch (item) {
    case 1: return static_cast<std::uint8_t>(Global<const std::uint8_t>(static_cast<const std::uint8_t*>(p))[i]);
    case 4: return static_cast<std::uint32_t>(Global<const std::uint32_t>(static_cast<const std::uint32_t*>(p))[i]);
    default: return static_cast<std::uint64_t>(Global<const std::uint64_t>(static_cast<const std::uint64_t*>(p))[i]);
  }
}
__device__ void write_as(std::size_t item, void* p, std::int64_t i, std::uint64_t x) {
  switch (item) {
    case 1: Global<std::uint8_t>(static_cast<std::uint8_t*>(p))[i] = static_cast<std::uint8_t>(x); break;
    case 4: Global<std::uint32_t>(static_cast<std::uint32_t*>(p))[i] = static_cast<std::uint32_t>(x); break;
    default: Global<std::uint64_t>(static_cast<std::uint64_t*>(p))[i] = x; break;
  }
}

// Runs the program on the elements that `offset(k)` gives for each operand. Outputs that are not summed are written.
template <class Offset>
__device__ void interpret(const FusedArgs& a, std::uint64_t* slot, const Offset& offset) {
  for (int k = 0; k < a.inputs; ++k)
    slot[k] = a.data[k] ? read_as(size_of(static_cast<DType>(a.dtype[k])), a.data[k], offset(k)) : a.immediate[k];
  for (int o = 0; o < a.ops; ++o) run_op(a.op[o], slot);
  for (int k = a.inputs; k < a.inputs + a.outputs; ++k)
    write_as(size_of(static_cast<DType>(a.dtype[k])), a.data[k], offset(k), slot[k]);
}

__global__ void __launch_bounds__(kBlock) fused_kernel(const __grid_constant__ FusedArgs a) {
  std::uint64_t slot[kFusedSlots];
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x; i < a.size;
       i += static_cast<std::int64_t>(gridDim.x) * kBlock) {
    std::int64_t at[kMaxAxes];
    if (a.ndim == 1) {
      at[0] = i;
    } else {
      auto rest = static_cast<std::uint32_t>(i);
      for (int d = 0; d < a.ndim; ++d) {
        const std::uint32_t q = a.length[d].quotient(rest);
        at[d] = rest - q * a.length[d].d;
        rest = q;
      }
    }
    interpret(a, slot, [&](int k) {
      std::int64_t sum = 0;
      for (int d = 0; d < a.ndim; ++d) sum += at[d] * a.stride[k][d];
      return sum;
    });
  }
}

template <class T>
__global__ void __launch_bounds__(kBlock) fused_sums_kernel(const __grid_constant__ FusedArgs a) {
  sum_tiles<T, 1, kFusedSums>(a, [&](const SumPlace& at, T(&term)[kFusedSums][1]) {
    std::uint64_t slot[kFusedSlots];
    interpret(a, slot, [&](int k) { return offset_of(a, k, at); });
#pragma unroll
    for (int k = 0; k < kFusedSums; ++k)
      if (k < a.sums) term[k][0] = from_bits<T>(slot[a.sum_slot[k]]);
  });
}

}  // namespace

void start_fused(const FusedArgs& a, cudaStream_t stream) {
  if (a.sums == 0) return launch(fused_kernel, blocks_for(a.size, kBlock), kBlock, stream, a);
  const bool wide = static_cast<DType>(a.dtype[a.inputs + a.outputs]) == DType::Float64;
  launch(wide ? fused_sums_kernel<double> : fused_sums_kernel<float>,
         blocks_for(a.tiles.units, kBlock / (a.tiles.lanes * a.tiles.height)), kBlock, stream, a);
}

}  // namespace evolute::cuda
