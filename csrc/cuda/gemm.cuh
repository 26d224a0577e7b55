// Matrix products: C = A B with any strides, hence all transposes. Included by gemm.cu, and by kernels made at run time
// for products that are operands of fused loops.
//
// A block computes a tile of C. Slices of A and B, kDepth deep, come to shared memory behind the back of the threads,
// while these work on the slices before. Both lie there along k, so that a thread reads what it multiplies in groups of
// 16 bytes, and keeps its part of the tile in registers. When it is done the tile goes through shared memory once more,
// to be read in rows: whatever is done with it then has operands and results side by side.
#pragma once

#include "cuda/device.h"
#include "cuda/gemm.h"

namespace evolute::cuda {

// A factor seen from a tile: its long axis, rows of A or columns of B, and k.
struct Factor {
  std::int64_t stride, k_stride;
  Lie lies;
};

// Brings slices of a factor to shared memory, one after the other: kLength × kDepth elements, zeros where there are
// none.
template <class T, int kLength, int kPitch, int kThreads, int kDepth>
class Feed {
 public:
  // From the place of the tile, which has so many elements on the long axis.
  __device__ __forceinline__ Feed(const Factor& f, Global<const T> from, std::int64_t length) {
    const int thread = threadIdx.x;
    int i;
    if (f.lies == Lie::Dense)
      i = thread % (kLength / W) * W, p_ = thread / (kLength / W), jump_ = kThreads / (kLength / W) * f.k_stride;
    else if (f.lies == Lie::AlongK)
      i = thread / kDepth, p_ = thread % kDepth, jump_ = kThreads / kDepth * f.stride;
    else
      i = thread % kLength, p_ = thread / kLength, jump_ = kThreads / kLength * f.k_stride;
    behind_ = static_cast<int>(length < kLength ? length : kLength) - i;
    place_ = p_ * kPitch + i;
    from_ = from + (i * f.stride + p_ * f.k_stride);
  }

  // The next slice, of which `depth` rows are there.
  __device__ __forceinline__ void next(const Factor& f, T (*to)[kPitch], int depth) {
    T* const place = &to[0][0] + place_;
    if (f.lies == Lie::Dense)
      bring<W, 0, kThreads / (kLength / W), kLength / W * kDepth>(place, depth);
    else if (f.lies == Lie::AlongK)
      bring<1, kThreads / kDepth, 0, kLength * kDepth>(place, depth);
    else
      bring<1, 0, kThreads / kLength, kLength * kDepth>(place, depth);
    from_ = from_ + kDepth * f.k_stride;
  }

 private:
  static constexpr int W = 16 / sizeof(T);

  // `count` groups of `width` elements by all threads; the next one of a thread is (di, dp) further. What is compared
  // there are constants: sums of p_ would each take a register throughout.
  template <int width, int di, int dp, int count>
  __device__ __forceinline__ void bring(T* place, int depth) const {
    static_assert(count < kThreads || count % kThreads == 0);
    if (count < kThreads && static_cast<int>(threadIdx.x) >= count) return;
    Global<const T> from = from_;
    const int below = depth - p_;
#pragma unroll
    for (int r = 0; r < (count + kThreads - 1) / kThreads; ++r) {
      async_copy<T, width>(place + (r * dp * kPitch + r * di), from, r * di < behind_ && r * dp < below);
      from = from + jump_;
    }
  }

  int p_, behind_, place_;  // of this thread's first element: its row of the slice, what is left of the tile from there
  std::int64_t jump_;       // from one of its groups to the next
  Global<const T> from_;
};

template <class T, class Of>
struct alignas(16) Shared {
  static constexpr int kPitchA = Of::kM + Of::kPad, kPitchB = Of::kN + Of::kPad;
  struct Slices {
    T a[2][Of::kDepth][kPitchA], b[2][Of::kDepth][kPitchB];
  };
  // A chunk of the tile, by rows or by columns.
  static constexpr int W = 16 / sizeof(T), kByColumns = Of::kN + W, kByRows = Of::kChunkRows + W;
  union {
    Slices slices;
    T rows[Of::kChunkRows][kByColumns];
    T columns[Of::kN][kByRows];
  };
};

template <int G, class T>
__device__ __forceinline__ void read_group(const T* from, T* to) {
  const auto group = *reinterpret_cast<const Pack<T, G>*>(from);
#pragma unroll
  for (int l = 0; l < G; ++l) to[l] = group.v[l];
}

// c += a b for a slice. What the next step needs is read while this one is computed.
template <class Of, class T, int kPitchA, int kPitchB>
__device__ __forceinline__ void multiply(const T (*a)[kPitchA], const T (*b)[kPitchB], int row, int column,
                                         T (&c)[Of::TM][Of::TN]) {
  if constexpr (Of::kTensorCores) {
    const int lane = threadIdx.x % 32, k = lane % 4;
    const int i0 = row, j0 = column / Of::GN / 4 * 8 + lane / 4;
#pragma unroll
    for (int p = 0; p < Of::kDepth; p += 8) {
      std::uint32_t y[Of::TN / 2][2];
#pragma unroll
      for (int j = 0; j < Of::TN / 2; ++j)
#pragma unroll
        for (int h = 0; h < 2; ++h) y[j][h] = to_tf32(b[p + k + 4 * h][j0 + j * Of::kColumns * Of::GN]);
#pragma unroll
      for (int i = 0; i < Of::kChunks; ++i) {
        std::uint32_t x[4];
#pragma unroll
        for (int h = 0; h < 4; ++h) x[h] = to_tf32(a[p + k + h / 2 * 4][i0 + i * Of::kChunkRows + h % 2 * 8]);
#pragma unroll
        for (int j = 0; j < Of::TN / 2; ++j)
          multiply_tf32(c[2 * i][2 * j], c[2 * i][2 * j + 1], c[2 * i + 1][2 * j], c[2 * i + 1][2 * j + 1], x, y[j]);
      }
    }
  } else {
    T x[2][Of::TM], y[2][Of::TN];
    const auto read = [&](int p) {
#pragma unroll
      for (int i = 0; i < Of::TM; i += Of::GM) read_group<Of::GM>(&a[p][row + i * Of::kRows], &x[p % 2][i]);
#pragma unroll
      for (int j = 0; j < Of::TN; j += Of::GN) read_group<Of::GN>(&b[p][column + j * Of::kColumns], &y[p % 2][j]);
    };
    read(0);
#pragma unroll
    for (int p = 0; p < Of::kDepth; ++p) {
      if (p + 1 < Of::kDepth) read(p + 1);
#pragma unroll
      for (int i = 0; i < Of::TM; ++i)
#pragma unroll
        for (int j = 0; j < Of::TN; ++j) c[i][j] = std::fma(x[p % 2][i], y[p % 2][j], c[i][j]);
    }
  }
}

// Hands the tile to finish(z, split, x, y, count, v): `count` elements v that lie side by side from x on, at y across;
// rows are x where `by_rows`, else y. `count` is at most W, and more than W where there are more behind.
template <bool by_rows, int W, class T, class Of, class Finish>
__device__ __forceinline__ void finish_tile(Shared<T, Of>& s, const GemmArgs& g, const Units::Place& at, int row,
                                            int column, const T (&c)[Of::TM][Of::TN], const Finish& finish) {
  constexpr int kLong = by_rows ? Of::kChunkRows : Of::kN;
#pragma unroll 1
  for (int chunk = 0; chunk < Of::kChunks; ++chunk) {
    __syncthreads();
#pragma unroll
    for (int i = 0; i < Of::TM; ++i) {
      if (i / Of::kGroup != chunk) continue;  // registers have no addresses
#pragma unroll
      for (int j = 0; j < Of::TN; ++j) {
        const int r = row + i % Of::kGroup * Of::kRowStep, q = column + j / Of::GN * Of::GN * Of::kColumns + j % Of::GN;
        (by_rows ? s.columns[q][r] : s.rows[r][q]) = c[i][j];
      }
    }
    __syncthreads();
    const std::int64_t first_row = at.row * std::int64_t{Of::kM} + chunk * Of::kChunkRows;
    const std::int64_t first_column = at.column * std::int64_t{Of::kN};
#pragma unroll 2
    for (int e = threadIdx.x * W; e < Of::kChunkRows * Of::kN; e += Of::kThreads * W) {
      const int along = e % kLong, across = e / kLong;
      const std::int64_t x = (by_rows ? first_row : first_column) + along;
      const std::int64_t y = (by_rows ? first_column : first_row) + across;
      const std::int64_t count = (by_rows ? g.m : g.n) - x;
      if (count <= 0 || y >= (by_rows ? g.n : g.m)) continue;
      T v[W];
      read_group<W>(by_rows ? &s.columns[across][along] : &s.rows[across][along], v);
      finish(at.batch, at.split, x, y, count, v);
    }
  }
  __syncthreads();
}

// All of a product. `Finish` has W, how many elements it takes at a time, and by_rows.
template <class T, class Of, class Finish>
__device__ __forceinline__ void gemm(const GemmArgs& g, const Finish& finish) {
  using S = Shared<T, Of>;
  EV_SHARED(S, s);
  const int row = Of::row(threadIdx.x), column = Of::column(threadIdx.x);
  const Units units(g, Of::kM, Of::kN);
  for (std::int64_t unit = blockIdx.x; unit < units.count; unit += gridDim.x) {
    const Units::Place at = units[unit];
    std::int64_t offset[3];
    g.batch.offsets(at.batch, offset);
    const std::int64_t k = at.split * g.per, k_end = k + g.per < g.k ? k + g.per : g.k;
    const Factor fa{g.a_row, g.a_col, g.a_lies}, fb{g.b_col, g.b_row, g.b_lies};
    const std::int64_t i0 = at.row * std::int64_t{Of::kM}, j0 = at.column * std::int64_t{Of::kN};
    Feed<T, Of::kM, S::kPitchA, Of::kThreads, Of::kDepth> a(
        fa, Global<const T>(static_cast<const T*>(g.a)) + (offset[0] + i0 * g.a_row + k * g.a_col), g.m - i0);
    Feed<T, Of::kN, S::kPitchB, Of::kThreads, Of::kDepth> b(
        fb, Global<const T>(static_cast<const T*>(g.b)) + (offset[1] + j0 * g.b_col + k * g.b_row), g.n - j0);
    const auto feed = [&](int buffer, std::int64_t left) {
      const int depth = static_cast<int>(left < Of::kDepth ? left : Of::kDepth);
      a.next(fa, s.slices.a[buffer], depth);
      b.next(fb, s.slices.b[buffer], depth);
      async_commit();
    };
    T c[Of::TM][Of::TN] = {};
    int buffer = 0;
    feed(0, k_end - k);
    for (std::int64_t left = k_end - k; left > 0; left -= Of::kDepth, buffer ^= 1) {
      async_wait<0>();
      __syncthreads();  // the slice is there for all, and nobody works on the one before any more
      if (left > Of::kDepth) feed(buffer ^ 1, left - Of::kDepth);
      multiply<Of>(s.slices.a[buffer], s.slices.b[buffer], row, column, c);
    }
    if (finish.by_rows)
      finish_tile<true, Finish::W>(s, g, at, row, column, c, finish);
    else
      finish_tile<false, Finish::W>(s, g, at, row, column, c, finish);
  }
}

}  // namespace evolute::cuda
