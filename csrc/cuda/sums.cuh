// The loop of fused kernels whose results are summed, in part or all of them. What is summed is never in memory:
// threads add up what they computed, warps by shuffles, blocks through shared memory, always in the same order.
#pragma once

#include "cuda/device.h"
#include "cuda/fused.h"

namespace evolute::cuda {

// Where a thread is: `count` neighbours along the columns.
struct SumPlace {
  std::int64_t column, row, rest;
  int count;
};

// Of operand k.
__device__ inline std::int64_t offset_of(const FusedArgs& a, int k, const SumPlace& at) {
  std::int64_t sum = at.column * a.stride[k][0];
  const auto add = [&](std::int64_t i, int first, int last) {
    for (int d = first; d < last; ++d) {
      const std::int64_t q = d == last - 1  ? 0
                             : a.tiles.wide ? i / a.length[d].d
                                            : a.length[d].quotient(static_cast<std::uint32_t>(i));
      sum += (i - q * a.length[d].d) * a.stride[k][d];
      i = q;
    }
  };
  add(at.row, 1, 1 + a.tiles.row_axes);
  add(at.rest, 1 + a.tiles.row_axes, a.ndim);
  return sum;
}

template <class T, int W>
struct SumPartials {
  T v[kBlock / 32][32][W];
};

// v[0] becomes the sum of all.
template <class T, int W>
__device__ __forceinline__ void add_neighbours(T (&v)[W]) {
#pragma unroll
  for (int by = W / 2; by > 0; by /= 2)
#pragma unroll
    for (int l = 0; l < by; ++l) v[l] += v[l + by];
}

// Adds v[0..n) over the lanes that differ by multiples of `first` below `end`: powers of two.
template <class T, int W>
__device__ __forceinline__ void add_lanes(T (&v)[W], int n, int first, int end) {
  for (int by = first; by < end; by *= 2)
#pragma unroll
    for (int l = 0; l < W; ++l)
      if (l < n) v[l] += __shfl_xor_sync(0xffffffff, v[l], by);
}

// Adds v[0..n) over the rows of each tile, and over its columns if asked to; the sums are with the tile's first
// threads.
template <class T, int W>
__device__ __forceinline__ void add_tile(const SumTiles& t, SumPartials<T, W>& shared, T (&v)[W], int n,
                                         bool over_columns) {
  const int threads = t.lanes * t.height, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  add_lanes(v, n, over_columns ? 1 : t.lanes, threads < 32 ? threads : 32);
  if (threads <= 32) return;
#pragma unroll
  for (int l = 0; l < W; ++l)
    if (l < n) shared.v[warp][lane][l] = v[l];
  __syncthreads();
  if (warp % (threads / 32) == 0)
    for (int w = 1; w < threads / 32; ++w)
#pragma unroll
      for (int l = 0; l < W; ++l)
        if (l < n) v[l] += shared.v[warp + w][lane][l];
  __syncthreads();
}

// For each place with elements, `evaluate(place, terms)` computes up to M terms of W elements each, those beyond the
// place's count being zero, and writes the outputs that are not summed.
template <class T, int W, int M, class Evaluate>
__device__ __forceinline__ void sum_tiles(const FusedArgs& a, const Evaluate& evaluate) {
  using Shared = SumPartials<T, W>;
  EV_SHARED(Shared, shared);
  const SumTiles& t = a.tiles;
  const int thread = threadIdx.x, tile = thread / (t.lanes * t.height), each = kBlock / (t.lanes * t.height);
  const int x = thread % t.lanes, y = thread / t.lanes % t.height;
  // All threads of a block stay together.
  for (std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * each; first < t.units;
       first += static_cast<std::int64_t>(gridDim.x) * each) {
    const std::int64_t unit = first + tile, column_tile = unit % t.column_tiles;
    const std::int64_t row_tile = unit / t.column_tiles % t.row_tiles;
    SumPlace at{(column_tile * t.lanes + x) * W, 0, unit / t.column_tiles / t.row_tiles, 0};
    const auto write = [&](int k, const T(&v)[W], int n) {
      const int operand = a.inputs + a.outputs + k;
      std::int64_t number = t.over_columns[k] ? column_tile : 0;
      if (t.over_rows[k]) number += row_tile * (t.over_columns[k] ? t.column_tiles : 1);
      const Global<T> out =
          Global<T>(static_cast<T*>(a.data[operand])) + (offset_of(a, operand, at) + number * t.pitch[k]);
#pragma unroll
      for (int l = 0; l < W; ++l)
        if (l < n) out[l * a.stride[operand][0]] = v[l];
    };
    T total[M][W] = {};
    for (int p = 0; p < t.per; ++p) {
      at.row = (row_tile * t.per + p) * t.height + y;
      const bool inside = unit < t.units && at.row < t.rows;
      const std::int64_t left = t.columns - at.column, in_all = t.size - at.row * t.columns - at.column;
      const std::int64_t count = left < in_all ? left : in_all;
      at.count = !inside || count < 0 ? 0 : static_cast<int>(count < W ? count : W);
      T term[M][W] = {};
      if (at.count > 0) evaluate(at, term);
#pragma unroll
      for (int k = 0; k < M; ++k) {
        if (k >= a.sums) continue;
        if (t.over_rows[k]) {
#pragma unroll
          for (int l = 0; l < W; ++l) total[k][l] += term[k][l];
        } else {
          add_neighbours(term[k]);
          add_lanes(term[k], 1, 1, t.lanes);
          if (x == 0 && inside) write(k, term[k], 1);
        }
      }
    }
#pragma unroll
    for (int k = 0; k < M; ++k) {
      if (k >= a.sums || !t.over_rows[k]) continue;
      if (t.over_columns[k]) add_neighbours(total[k]);
      add_tile(t, shared, total[k], t.over_columns[k] ? 1 : W, t.over_columns[k]);
      const std::int64_t left = t.over_columns[k] ? (x == 0) : t.columns - at.column;
      at.row = 0;
      if (y == 0 && unit < t.units && left > 0) write(k, total[k], static_cast<int>(left < W ? left : W));
    }
  }
}

}  // namespace evolute::cuda
