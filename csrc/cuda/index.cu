// Integer-array indexing, and the positions of true elements.
//
// Of several scatter_set updates of one place the last stays, as on the CPU: indices first claim their places, the
// highest number wins. scatter_add adds with atomics: which of several updates of a place comes first is left to the
// hardware, so the last bits of float sums may differ between runs.
#include "cuda/elementwise.cuh"
#include "cuda/kernels.h"

namespace evolute::cuda {
namespace {

constexpr unsigned kAll = 0xffffffff;

// Where index number b points to in the indexed array; negative, and a fault, if that is outside. `stride` are those of
// the array or of the places that indices can name.
__device__ inline std::int64_t resolve(const IndexArgs& a, const std::int64_t* list, const std::int64_t* stride,
                                       bool scatter) {
  std::int64_t at = 0;
  for (int j = 0; j < a.indices; ++j) {
    const std::int64_t given = Global<const std::int64_t>(a.index[j])[list[j]];
    const std::int64_t i = given < 0 ? given + a.length[j] : given;
    if (i < 0 || i >= a.length[j]) {
      if (atomicCAS(&a.fault->set, 0, 1) == 0) {
        a.fault->scatter = scatter;
        a.fault->axis = a.axis[j];
        a.fault->index = given;
        a.fault->length = a.length[j];
      }
      return -1;
    }
    at += i * stride[j];
  }
  return at;
}

// Calls f(listed, indexed, number of the index) with offsets for every element of every slice. An offset of -1 for the
// second says that there is none: strides of the indexed array may be negative, so that it is told apart beforehand.
template <class F>
__device__ void for_each_element(const IndexArgs& a, bool scatter, F&& f) {
  const std::int64_t n = a.list.size * a.slice.size;
  for (std::int64_t e = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x; e < n;
       e += static_cast<std::int64_t>(gridDim.x) * kBlock) {
    const std::int64_t b = e / a.slice.size;
    std::int64_t list[kMaxIndices + 1], slice[2];
    a.list.offsets(b, list);
    a.slice.offsets(e - b * a.slice.size, slice);
    const std::int64_t place = resolve(a, list, a.place, scatter);
    const std::int64_t at = place < 0 ? 0 : resolve(a, list, a.stride, scatter);
    f(list[kMaxIndices] + slice[0], at + slice[1], place, a.first + b);
  }
}

template <class T>
__global__ void __launch_bounds__(kBlock) gather_kernel(const __grid_constant__ IndexArgs a) {
  const Global<T> out(static_cast<T*>(a.listed));
  const Global<const T> in(static_cast<const T*>(a.indexed));
  for_each_element(a, false, [&](std::int64_t to, std::int64_t from, std::int64_t place, std::int64_t) {
    out[to] = place < 0 ? T(0) : static_cast<T>(in[from]);
  });
}

__global__ void __launch_bounds__(kBlock) claim_kernel(const __grid_constant__ IndexArgs a) {
  const Global<long long> winner(reinterpret_cast<long long*>(a.winner));
  for (std::int64_t b = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x; b < a.list.size;
       b += static_cast<std::int64_t>(gridDim.x) * kBlock) {
    std::int64_t list[kMaxIndices + 1];
    a.list.offsets(b, list);
    const std::int64_t place = resolve(a, list, a.place, true);
    if (place >= 0) atomicMax(winner + place, static_cast<long long>(a.first + b));
  }
}

template <class T>
__global__ void __launch_bounds__(kBlock) scatter_set_kernel(const __grid_constant__ IndexArgs a) {
  const Global<T> out(static_cast<T*>(a.indexed));
  const Global<const T> in(static_cast<const T*>(a.listed));
  const Global<const std::int64_t> winner(a.winner);
  for_each_element(a, true, [&](std::int64_t from, std::int64_t to, std::int64_t place, std::int64_t number) {
    if (place >= 0 && winner[place] == number) out[to] = static_cast<T>(in[from]);
  });
}

// The type that is added in place of T: integers wrap around.
template <class T>
using Added = std::conditional_t<std::is_same_v<T, std::int64_t>, unsigned long long, T>;

template <class T>
__global__ void __launch_bounds__(kBlock) scatter_add_kernel(const __grid_constant__ IndexArgs a) {
  const Global<T> out(static_cast<T*>(a.indexed));
  const Global<const T> in(static_cast<const T*>(a.listed));
  for_each_element(a, true, [&](std::int64_t from, std::int64_t to, std::int64_t place, std::int64_t) {
    if (place < 0) return;
    const T x = in[from];
    if constexpr (std::is_same_v<T, bool>) {
      if (x) out[to] = true;
    } else {
      atomicAdd(Global<Added<T>>(static_cast<Added<T>*>(a.indexed)) + to, static_cast<Added<T>>(x));
    }
  });
}

unsigned blocks_of(const IndexArgs& a) { return blocks_for(a.list.size * a.slice.size, kBlock); }

// ---- positions of true elements

struct Counts {
  std::int64_t v[kBlock / 32];
};

// Sum over the block, and over the threads before this one.
__device__ std::int64_t sum_before(std::int64_t x, Counts& shared, std::int64_t& all) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  long long inclusive = x;
  for (int by = 1; by < 32; by *= 2) {
    const long long y = __shfl_up_sync(kAll, inclusive, by);
    if (lane >= by) inclusive += y;
  }
  if (lane == 31) shared.v[warp] = inclusive;
  __syncthreads();
  std::int64_t before = 0;
  all = 0;
  for (int w = 0; w < kBlock / 32; ++w) {
    if (w == warp) before = all;
    all += shared.v[w];
  }
  __syncthreads();
  return before + inclusive - x;
}

constexpr int kEach = kNonzeroBlock / kBlock;  // neighbours that a thread takes

template <class T>
__device__ int count_mine(Global<const T> mask, std::int64_t first, std::int64_t n) {
  int count = 0;
  for (int j = 0; j < kEach && first + j < n; ++j) count += mask[first + j] != T(0);
  return count;
}

template <class T>
__global__ void __launch_bounds__(kBlock) count_kernel(const T* mask, std::int64_t n, std::int64_t* counts) {
  EV_SHARED(Counts, shared);
  const Global<const T> p(mask);
  const Global<std::int64_t> out(counts);
  for (std::int64_t b = blockIdx.x; b * kNonzeroBlock < n; b += gridDim.x) {
    std::int64_t all;
    sum_before(count_mine(p, b * kNonzeroBlock + threadIdx.x * kEach, n), shared, all);
    if (threadIdx.x == 0) out[b] = all;
  }
}

// By one block.
__global__ void __launch_bounds__(kBlock) sum_counts_kernel(std::int64_t* counts, std::int64_t blocks) {
  EV_SHARED(Counts, shared);
  const Global<std::int64_t> p(counts);
  std::int64_t carry = 0;
  for (std::int64_t first = 0; first < blocks; first += kBlock) {
    const std::int64_t i = first + threadIdx.x;
    const std::int64_t mine = i < blocks ? static_cast<std::int64_t>(p[i]) : 0;
    std::int64_t all;
    const std::int64_t before = sum_before(mine, shared, all);
    if (i < blocks) p[i] = carry + before;
    carry += all;
  }
  if (threadIdx.x == 0) p[blocks] = carry;
}

template <class T>
__global__ void __launch_bounds__(kBlock)
    positions_kernel(const T* mask, std::int64_t n, const std::int64_t* counts, std::int64_t* out) {
  EV_SHARED(Counts, shared);
  const Global<const T> p(mask);
  const Global<const std::int64_t> before(counts);
  const Global<std::int64_t> to(out);
  for (std::int64_t b = blockIdx.x; b * kNonzeroBlock < n; b += gridDim.x) {
    const std::int64_t first = b * kNonzeroBlock + threadIdx.x * kEach;
    std::int64_t all;
    std::int64_t at = before[b] + sum_before(count_mine(p, first, n), shared, all);
    for (int j = 0; j < kEach && first + j < n; ++j)
      if (p[first + j] != T(0)) to[at++] = first + j;
  }
}

}  // namespace

void start_gather(std::size_t item, const IndexArgs& a, cudaStream_t stream) {
  launch(item == 1   ? gather_kernel<std::uint8_t>
         : item == 4 ? gather_kernel<std::uint32_t>
                     : gather_kernel<unsigned long long>,
         blocks_of(a), kBlock, stream, a);
}
void start_claim(const IndexArgs& a, cudaStream_t stream) {
  launch(claim_kernel, blocks_for(a.list.size, kBlock), kBlock, stream, a);
}
void start_scatter_set(std::size_t item, const IndexArgs& a, cudaStream_t stream) {
  launch(item == 1   ? scatter_set_kernel<std::uint8_t>
         : item == 4 ? scatter_set_kernel<std::uint32_t>
                     : scatter_set_kernel<unsigned long long>,
         blocks_of(a), kBlock, stream, a);
}
void start_scatter_add(DType t, const IndexArgs& a, cudaStream_t stream) {
  dispatch(t, [&]<class T>(TypeTag<T>) { launch(scatter_add_kernel<T>, blocks_of(a), kBlock, stream, a); });
}

void start_count(const void* mask, std::int64_t n, std::int64_t* counts, cudaStream_t stream) {
  const unsigned blocks = blocks_for(n, kNonzeroBlock);
  launch(count_kernel<std::uint8_t>, blocks, kBlock, stream, static_cast<const std::uint8_t*>(mask), n, counts);
}
void start_sum_counts(std::int64_t* counts, std::int64_t blocks, cudaStream_t stream) {
  launch(sum_counts_kernel, 1, kBlock, stream, counts, blocks);
}
void start_positions(const void* mask, std::int64_t n, const std::int64_t* counts, std::int64_t* out,
                     cudaStream_t stream) {
  launch(positions_kernel<std::uint8_t>, blocks_for(n, kNonzeroBlock), kBlock, stream,
         static_cast<const std::uint8_t*>(mask), n, counts, out);
}

}  // namespace evolute::cuda
