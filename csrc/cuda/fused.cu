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

// Runs the program on the elements of one place, and writes the outputs that are not summed.
EV_NOINLINE __device__ void interpret(const FusedArgs& a, const SumPlace& at, std::uint64_t* slot) {
  for (int k = 0; k < a.inputs; ++k)
    slot[k] =
        a.data[k] ? read_as(size_of(static_cast<DType>(a.dtype[k])), a.data[k], offset_of(a, k, at)) : a.immediate[k];
  for (int o = 0; o < a.ops; ++o) run_op(a.op[o], slot);
  for (int k = a.inputs; k < a.inputs + a.outputs; ++k)
    write_as(size_of(static_cast<DType>(a.dtype[k])), a.data[k], offset_of(a, k, at), slot[k]);
}

__device__ void run_all(const FusedArgs& a) {
  std::uint64_t slot[kFusedSlots];
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x; i < a.size;
       i += static_cast<std::int64_t>(gridDim.x) * kBlock) {
    SumPlace at{i, 0, 0, 1};
    if (a.ndim > 1) {
      at.rest = a.length[0].quotient(static_cast<std::uint32_t>(i));
      at.column = i - at.rest * a.length[0].d;
    }
    interpret(a, at, slot);
  }
}

template <class T>
__device__ void run_and_sum(const FusedArgs& a) {
  sum_tiles<T, 1, kFusedSums>(a, [&](const SumPlace& at, T(&term)[kFusedSums][1]) {
    std::uint64_t slot[kFusedSlots];
    interpret(a, at, slot);
#pragma unroll
    for (int k = 0; k < kFusedSums; ++k)
      if (k < a.sums) term[k][0] = from_bits<T>(slot[a.sum_slot[k]]);
  });
}

// One kernel: compiling the micro-ops takes half a minute for each that calls them.
__global__ void __launch_bounds__(kBlock) fused_kernel(const __grid_constant__ FusedArgs a) {
  if (a.sums == 0)
    run_all(a);
  else if (static_cast<DType>(a.dtype[a.inputs + a.outputs]) == DType::Float32)
    run_and_sum<float>(a);
  else
    run_and_sum<double>(a);
}

}  // namespace

void start_fused(const FusedArgs& a, cudaStream_t stream) {
  launch(fused_kernel, fused_blocks(a, 1), kBlock, stream, a);
}

}  // namespace evolute::cuda
