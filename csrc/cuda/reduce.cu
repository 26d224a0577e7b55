// Reductions over any axes. The space that is reduced is cut by its shape alone, and partial results are combined in a
// fixed order, so that equal inputs give equal bits.
#include "cuda/elementwise.cuh"
#include "cuda/kernels.h"
#include "math/monoid.h"

namespace evolute::cuda {
namespace {

constexpr int kColumns = 32, kRows = 8;
constexpr unsigned kAll = 0xffffffff;

// Terms are added up in short runs, so that rounding errors grow with the length of a run and their number, not with
// the product of both.
template <class Op, class T>
struct Accumulator {
  T run = Op::template identity<T>, total = Op::template identity<T>;
  int count = 0;
  __device__ __forceinline__ void add(T x) {
    run = Op::combine(run, x);
    if constexpr (std::is_floating_point_v<T> && std::is_same_v<Op, math::SumOf>)
      if (++count == 16) {
        total = Op::combine(total, run);
        run = Op::template identity<T>;
        count = 0;
      }
  }
  __device__ __forceinline__ T result() const { return Op::combine(total, run); }
};

template <class T>
struct Partials {
  T v[kRows][kColumns + 1];
};

// `lanes` threads for each output, several outputs for each block.
template <class Op, class T>
__global__ void __launch_bounds__(kBlock) reduce_rows(const __grid_constant__ ReduceArgs a) {
  EV_SHARED(Partials<T>, shared);
  constexpr int W = 16 / sizeof(T);
  const int lanes = a.lanes, lane = threadIdx.x % lanes;
  const std::int64_t per_block = kBlock / lanes, units = a.kept.size * a.chunks;
  // All threads of a block stay together: they share their results.
  for (std::int64_t first = blockIdx.x * per_block; first < units; first += gridDim.x * per_block) {
    const std::int64_t unit = first + threadIdx.x / lanes, chunk = unit % a.chunks;
    std::int64_t offset[2] = {0, 0};
    Accumulator<Op, T> acc;
    if (unit < units) {
      a.kept.offsets(unit / a.chunks, offset);
      const Global<const T> in = Global<const T>(static_cast<const T*>(a.in)) + offset[0];
      const std::int64_t begin = chunk * a.per, end = begin + a.per < a.along.size ? begin + a.per : a.along.size;
      if (a.packed) {
        for (std::int64_t i = begin + lane * W; i < end; i += lanes * W) {
          if (i + W <= end) {
            const Pack<T, W> x = load_pack<T, W>(in + i);
            T sum = x.v[0];
#pragma unroll
            for (int l = 1; l < W; ++l) sum = Op::combine(sum, x.v[l]);
            acc.add(sum);
          } else {
            for (std::int64_t j = i; j < end; ++j) acc.add(in[j]);
          }
        }
      } else {
        for (std::int64_t i = begin + lane; i < end; i += lanes) {
          std::int64_t at[1];
          a.along.offsets(i, at);
          acc.add(in[at[0]]);
        }
      }
    }
    T x = acc.result();
    for (int by = (lanes < 32 ? lanes : 32) / 2; by > 0; by /= 2) x = Op::combine(x, __shfl_xor_sync(kAll, x, by));
    if (lanes > 32) {
      const int warp = threadIdx.x / 32;
      if (threadIdx.x % 32 == 0) shared.v[warp][0] = x;
      __syncthreads();
      const int first_warp = threadIdx.x / lanes * (lanes / 32);
      x = shared.v[first_warp][0];
      for (int w = 1; w < lanes / 32; ++w) x = Op::combine(x, static_cast<T>(shared.v[first_warp + w][0]));
      __syncthreads();
    }
    if (lane == 0 && unit < units) Global<T>(static_cast<T*>(a.out))[a.chunks > 1 ? unit : offset[1]] = x;
  }
}

// A thread for each of 32 outputs that lie side by side in the input, by eight parts of what is reduced.
template <class Op, class T>
__global__ void __launch_bounds__(kBlock) reduce_columns(const __grid_constant__ ReduceArgs a) {
  EV_SHARED(Partials<T>, shared);
  const std::int64_t groups = (a.kept.size + kColumns - 1) / kColumns;
  for (std::int64_t b = blockIdx.x; b < groups * a.chunks; b += gridDim.x) {
    const std::int64_t chunk = b % a.chunks, unit = b / a.chunks * kColumns + threadIdx.x;
    std::int64_t offset[2] = {0, 0};
    Accumulator<Op, T> acc;
    if (unit < a.kept.size) {
      a.kept.offsets(unit, offset);
      const Global<const T> in = Global<const T>(static_cast<const T*>(a.in)) + offset[0];
      const std::int64_t begin = chunk * a.per, end = begin + a.per < a.along.size ? begin + a.per : a.along.size;
      if (a.along.ndim == 1) {  // as nearly always: without looking for the place of each element
        const std::int64_t step = kRows * a.along.stride[0][0];
        Global<const T> p = in + (begin + threadIdx.y) * a.along.stride[0][0];
#pragma unroll 4
        for (std::int64_t i = begin + threadIdx.y; i < end; i += kRows, p = p + step) acc.add(*p);
      } else {
        for (std::int64_t i = begin + threadIdx.y; i < end; i += kRows) {
          std::int64_t at[1];
          a.along.offsets(i, at);
          acc.add(in[at[0]]);
        }
      }
    }
    shared.v[threadIdx.y][threadIdx.x] = acc.result();
    __syncthreads();
    if (threadIdx.y == 0 && unit < a.kept.size) {
      T x = shared.v[0][threadIdx.x];
      for (int r = 1; r < kRows; ++r) x = Op::combine(x, static_cast<T>(shared.v[r][threadIdx.x]));
      Global<T>(static_cast<T*>(a.out))[a.chunks > 1 ? unit * a.chunks + chunk : offset[1]] = x;
    }
    __syncthreads();
  }
}

template <class Op, class T>
void start(const ReduceArgs& a, cudaStream_t stream) {
  if (a.columns)
    launch(reduce_columns<Op, T>, blocks_for((a.kept.size + kColumns - 1) / kColumns * a.chunks, 1),
           dim3(kColumns, kRows), stream, a);
  else
    launch(reduce_rows<Op, T>, blocks_for(a.kept.size * a.chunks, kBlock / a.lanes), kBlock, stream, a);
}

template <class Op>
void start_numbers(DType t, const ReduceArgs& a, cudaStream_t stream) {
  constexpr bool ordered = std::is_same_v<Op, math::MaxOf> || std::is_same_v<Op, math::MinOf>;
  switch (t) {
    case DType::Float32: return start<Op, float>(a, stream);
    case DType::Float64: return start<Op, double>(a, stream);
    case DType::Int32:
      if constexpr (ordered) start<Op, std::int32_t>(a, stream);
      return;
    default: return start<Op, std::int64_t>(a, stream);
  }
}

// ---- position of the extremum

// The best of the elements seen so far: NaN before all numbers, the first of equal ones. None yet: index -1.
template <bool max, class T>
struct Extremum {
  T value = T();
  std::int64_t index = -1;

  __device__ __forceinline__ void take(T x, std::int64_t i) {
    if (i >= 0 && (index < 0 || precedes(x, i))) value = x, index = i;
  }

 private:
  __device__ __forceinline__ bool precedes(T x, std::int64_t i) const {
    const bool x_nan = x != x, value_nan = value != value;
    if (x_nan || value_nan) return x_nan && (!value_nan || i < index);
    return (max ? x > value : x < value) || (x == value && i < index);
  }
};

template <class T>
struct Extrema {
  T value[kBlock / 32];
  std::int64_t index[kBlock / 32];
};

// `lanes` threads for each part of each output; neighbours have neighbouring outputs.
template <bool max, class T>
__global__ void __launch_bounds__(kBlock) arg_extremum(const __grid_constant__ ArgReduceArgs a) {
  EV_SHARED(Extrema<T>, shared);
  const int lanes = a.lanes, lane = threadIdx.x % lanes, warp = threadIdx.x / 32;
  const std::int64_t per_block = kBlock / lanes, units = a.kept.size * a.chunks;
  const Global<const std::int64_t> positions(a.positions);
  // All threads of a block stay together: they share their results.
  for (std::int64_t first = blockIdx.x * per_block; first < units; first += gridDim.x * per_block) {
    const std::int64_t unit = first + threadIdx.x / lanes;
    std::int64_t offset[2] = {0, 0};
    Extremum<max, T> best;
    if (unit < units) {
      a.kept.offsets(unit % a.kept.size, offset);
      const Global<const T> in(static_cast<const T*>(a.in));
      const std::int64_t begin = unit / a.kept.size * a.per;
      const std::int64_t end = begin + a.per < a.length ? begin + a.per : a.length;
#pragma unroll 4
      for (std::int64_t i = begin + lane; i < end; i += lanes) {
        const std::int64_t at = offset[0] + i * a.stride;
        best.take(in[at], positions ? static_cast<std::int64_t>(positions[at]) : i);
      }
    }
    for (int by = (lanes < 32 ? lanes : 32) / 2; by > 0; by /= 2) {
      const T x = __shfl_xor_sync(kAll, best.value, by);
      best.take(x, __shfl_xor_sync(kAll, static_cast<long long>(best.index), by));
    }
    if (lanes > 32) {
      if (threadIdx.x % 32 == 0) shared.value[warp] = best.value, shared.index[warp] = best.index;
      __syncthreads();
      if (lane == 0)
        for (int w = warp + 1; w < warp + lanes / 32; ++w)
          best.take(static_cast<T>(shared.value[w]), static_cast<std::int64_t>(shared.index[w]));
      __syncthreads();
    }
    if (lane != 0 || unit >= units) continue;
    Global<std::int64_t>(a.out)[a.chunks > 1 ? unit : offset[1]] = best.index;
    if (a.chunks > 1) Global<T>(static_cast<T*>(a.values))[unit] = best.value;
  }
}

}  // namespace

void start_reduce(Reduction r, DType t, const ReduceArgs& a, cudaStream_t stream) {
  switch (r) {
    case Reduction::Sum: return start_numbers<math::SumOf>(t, a, stream);
    case Reduction::Prod: return start_numbers<math::ProdOf>(t, a, stream);
    case Reduction::Max: return start_numbers<math::MaxOf>(t, a, stream);
    case Reduction::Min: return start_numbers<math::MinOf>(t, a, stream);
    case Reduction::Any: return start<math::AnyOf, bool>(a, stream);
    case Reduction::All: return start<math::AllOf, bool>(a, stream);
  }
}

void start_arg_reduce(bool max, DType t, const ArgReduceArgs& a, cudaStream_t stream) {
  const unsigned blocks = blocks_for(a.kept.size * a.chunks, kBlock / a.lanes);
  dispatch(t, [&]<class T>(TypeTag<T>) {
    launch(max ? arg_extremum<true, T> : arg_extremum<false, T>, blocks, kBlock, stream, a);
  });
}

}  // namespace evolute::cuda
