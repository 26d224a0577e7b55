// Numbers made from nothing: evenly spaced, and random ones, which are those of the CPU.
#include "cuda/elementwise.cuh"
#include "cuda/kernels.h"
#include "math/convert.h"
#include "math/philox.h"

namespace evolute::cuda {
namespace {

template <class T>
__global__ void __launch_bounds__(kBlock)
    iota_kernel(double start, double step, std::int64_t n, std::int64_t stride, T* out) {
  const Global<T> p(out);
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x; i < n;
       i += static_cast<std::int64_t>(gridDim.x) * kBlock)
    p[i * stride] = math::convert<T>(step == 0 ? start : start + static_cast<double>(i) * step);
}

// A thread for each block of the generator.
template <class T, bool normal>
__global__ void __launch_bounds__(kBlock) random_kernel(std::uint64_t seed, std::int64_t n, T* out) {
  constexpr int per = math::kPhiloxPerBlock<T>;
  const Global<T> p(out);
  for (std::int64_t b = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x; b * per < n;
       b += static_cast<std::int64_t>(gridDim.x) * kBlock) {
    const math::PhiloxBlock w = math::philox_block(seed, static_cast<std::uint64_t>(b));
    Pack<T, per> x;
    if constexpr (normal)
      math::normal(w, x.v);
    else
      math::uniform(w, x.v);
    if ((b + 1) * per <= n)
      store_pack<T, per>(p + b * per, x);
    else
      for (int i = 0; b * per + i < n; ++i) p[b * per + i] = x.v[i];
  }
}

template <class T>
void start(bool normal, std::uint64_t seed, std::int64_t n, void* out, cudaStream_t stream) {
  launch(normal ? random_kernel<T, true> : random_kernel<T, false>, blocks_for(n, kBlock * math::kPhiloxPerBlock<T>),
         kBlock, stream, seed, n, static_cast<T*>(out));
}

}  // namespace

void start_iota(DType t, double start, double step, std::int64_t n, std::int64_t stride, void* out,
                cudaStream_t stream) {
  dispatch(t, [&]<class T>(TypeTag<T>) {
    launch(iota_kernel<T>, blocks_for(n, kBlock), kBlock, stream, start, step, n, stride, static_cast<T*>(out));
  });
}

void start_random(DType t, bool normal, std::uint64_t seed, std::int64_t n, void* out, cudaStream_t stream) {
  if (t == DType::Float32)
    start<float>(normal, seed, n, out, stream);
  else
    start<double>(normal, seed, n, out, stream);
}

}  // namespace evolute::cuda
