// Running sums along an axis: sums of chunks, their running sums, and then each chunk from where it starts.
#include "cuda/elementwise.cuh"
#include "cuda/kernels.h"

namespace evolute::cuda {
namespace {

constexpr unsigned kAll = 0xffffffff;

// A running sum is a chain of additions, so that errors add up: floats are summed in double.
template <class T>
using Sum = std::conditional_t<std::is_floating_point_v<T>, double, unsigned long long>;

template <class S>
struct WarpSums {
  S v[kBlock / 32];
};

// The sum of what threads before this one hold, and of all; every thread of the block takes part.
template <class S>
__device__ S sum_before(S x, WarpSums<S>& shared, S& all) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  S inclusive = x;
  for (int by = 1; by < 32; by *= 2) {
    const S y = __shfl_up_sync(kAll, inclusive, by);
    if (lane >= by) inclusive += y;
  }
  S exclusive = __shfl_up_sync(kAll, inclusive, 1);
  if (lane == 0) exclusive = 0;
  if (lane == 31) shared.v[warp] = inclusive;
  __syncthreads();
  S before = 0;
  all = 0;
  for (int w = 0; w < kBlock / 32; ++w) {
    if (w == warp) before = all;
    all += shared.v[w];
  }
  __syncthreads();
  return before + exclusive;
}

// Goes through chunks of rows, kBlock elements at a time. `write`: running sums to out; else their total to totals.
template <class T, bool write>
__global__ void __launch_bounds__(kBlock) scan_kernel(const __grid_constant__ ScanArgs a) {
  using S = Sum<T>;
  EV_SHARED(WarpSums<S>, shared);
  const Global<S> totals(static_cast<S*>(a.totals));
  for (std::int64_t unit = blockIdx.x; unit < a.rows.size * a.chunks; unit += gridDim.x) {
    std::int64_t offset[2];
    a.rows.offsets(unit / a.chunks, offset);
    const Global<const T> in = Global<const T>(static_cast<const T*>(a.in)) + offset[0];
    const Global<T> out = Global<T>(static_cast<T*>(a.out)) + offset[1];
    const std::int64_t begin = unit % a.chunks * a.per, end = begin + a.per < a.length ? begin + a.per : a.length;
    S carry = 0;
    if (write && a.chunks > 1) carry = totals[unit];
    for (std::int64_t first = begin; first < end; first += kBlock) {
      const std::int64_t i = first + threadIdx.x;
      const S x = i < end ? static_cast<S>(static_cast<T>(in[i * a.in_stride])) : S(0);
      S all;
      const S before = sum_before(x, shared, all);
      if (write && i < end) out[i * a.out_stride] = static_cast<T>(carry + before + x);
      carry += all;
    }
    if (!write && threadIdx.x == 0) totals[unit] = carry;
  }
}

// totals[row][chunk] = sum of those before it.
template <class S>
__global__ void __launch_bounds__(kBlock) scan_totals(const __grid_constant__ ScanArgs a) {
  const Global<S> totals(static_cast<S*>(a.totals));
  for (std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x; row < a.rows.size;
       row += static_cast<std::int64_t>(gridDim.x) * kBlock) {
    S sum = 0;
    for (std::int64_t c = 0; c < a.chunks; ++c) {
      const S x = totals[row * a.chunks + c];
      totals[row * a.chunks + c] = sum;
      sum += x;
    }
  }
}

template <class T>
void start(const ScanArgs& a, cudaStream_t stream) {
  const unsigned blocks = blocks_for(a.rows.size * a.chunks, 1);
  if (a.chunks > 1) {
    launch(scan_kernel<T, false>, blocks, kBlock, stream, a);
    launch(scan_totals<Sum<T>>, blocks_for(a.rows.size, kBlock), kBlock, stream, a);
  }
  launch(scan_kernel<T, true>, blocks, kBlock, stream, a);
}

}  // namespace

void start_scan(DType t, const ScanArgs& a, cudaStream_t stream) {
  switch (t) {
    case DType::Float32: return start<float>(a, stream);
    case DType::Float64: return start<double>(a, stream);
    case DType::Int32: return start<std::int32_t>(a, stream);
    default: return start<std::int64_t>(a, stream);
  }
}

}  // namespace evolute::cuda
