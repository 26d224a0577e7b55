// Matrix products as kernels get them, and how they are cut: into tiles, one for each block of threads, and along k.
#pragma once

#include "cuda/loop.h"

namespace evolute::cuda {

// How elements of a factor lie: in groups of 16 bytes along its long axis (rows of A, columns of B), side by side along
// k, or otherwise.
enum class Lie : std::uint8_t { Dense, AlongK, Any };

// c[z] = a[z] b[z], m × k by k × n, with any strides.
struct GemmArgs {
  std::int64_t m, n, k;
  const void* a;
  const void* b;
  void* c;
  std::int64_t a_row, a_col, b_row, b_col, c_row, c_col;
  std::int64_t batches;
  Loop<3> batch;        // a, b, c
  std::int64_t splits;  // parts of k; results of each in `partial`, dense, then added up
  std::int64_t per;     // of k
  void* partial;
  Lie a_lies, b_lies;
  bool by_rows;  // c is written in groups of rows, which lie side by side, or else in groups of columns
  bool packed;   // the groups have 16 bytes
  bool add;      // to what is in c, if there is one part

  EV_HD std::int64_t partial_at(int split, std::int64_t z) const { return (split * batches + z) * m * n; }
};

// kM × kN elements of C by kThreads threads, each of which has TM × TN of them. `multiply` (gemm.cuh) says which. The
// rows come in kChunks chunks of kChunkRows; a thread has kGroup rows in each, kRowStep apart, and its columns in
// groups of GN side by side, kColumns · GN apart.
template <class T, int kM_, int kN_, int TM_, int TN_, int kDepth_ = 16>
struct Tiling {
  static constexpr bool kTensorCores = false;
  static constexpr int kM = kM_, kN = kN_, kDepth = kDepth_, TM = TM_, TN = TN_;
  static constexpr int W = 16 / sizeof(T);
  static constexpr int GM = TM < W ? TM : W, GN = TN < W ? TN : W;
  static constexpr int kRows = kM / TM, kColumns = kN / TN;  // threads
  static constexpr int kThreads = kRows * kColumns;
  // On a multiprocessor: as many as registers allow, without a spill in the inner loop.
  static constexpr int kBlocks = (TM * TN * sizeof(T) > 64 ? 512 : 1024) / kThreads;
  static constexpr int kPad = W;  // keeps groups aligned, and columns of a slice out of one bank
  static constexpr int kGroup = GM, kRowStep = 1, kChunks = TM / GM, kChunkRows = kM / kChunks;

  // Threads of a warp are 4 × 8, neighbours in pairs: of what each reads of A and of B, two threads side by side, or
  // two apart, want the same 16 bytes, and shared memory answers them together.
  static constexpr int kAcross = kColumns < 8 ? kColumns : 8, kDown = 32 / kAcross;
  static_assert(kColumns % kAcross == 0 && kRows % kDown == 0);
  static EV_HD int row(int thread) {
    const int lane = thread % 32, warp = thread / 32;
    return (warp / (kColumns / kAcross) * kDown + (lane % 2 + lane / (2 * kAcross) * 2)) * GM;
  }
  static EV_HD int column(int thread) {
    const int lane = thread % 32, warp = thread / 32;
    return (warp % (kColumns / kAcross) * kAcross + lane / 2 % kAcross) * GN;
  }
};

// The same by tensor cores, which take 16 × 8 by 8 × 8 elements at a time and round them to 10 bits of mantissa. Warps
// lie kDown × kAcross; each has kChunks × TN / 2 such products.
template <int kDown, int kAcross, int kChunks_, int TN_>
struct TensorTiling {
  static constexpr bool kTensorCores = true;
  static constexpr int kM = 16 * kDown * kChunks_, kN = 4 * kAcross * TN_, kDepth = 16, TM = 2 * kChunks_, TN = TN_;
  static constexpr int GN = 2, kColumns = 4 * kAcross;
  static constexpr int kThreads = 32 * kDown * kAcross, kBlocks = 512 / kThreads;
  static constexpr int kPad = 8;  // four rows of a slice, eight neighbours in each, are in 32 banks
  static constexpr int kGroup = 2, kRowStep = 8, kChunks = kChunks_, kChunkRows = 16 * kDown;
  static EV_HD int row(int thread) { return thread / 32 / kAcross * 16 + thread % 32 / 4; }
  static EV_HD int column(int thread) { return (thread / 32 % kAcross * 4 + thread % 4) * GN; }
};

// Large tiles read less, if there are enough of them to go round; others waste less where C is narrow.
enum class Tile : std::uint8_t { Large, Tall, Medium, Narrow, Column, TensorLarge, TensorMedium };

template <class T>
struct Tilings;
template <>
struct Tilings<float> {
  using Large = Tiling<float, 128, 128, 8, 8>;
  using Tall = Tiling<float, 128, 64, 8, 8>;
  using Medium = Tiling<float, 64, 64, 4, 4>;
  using Narrow = Tiling<float, 128, 16, 4, 2>;
  using Column = Tiling<float, 256, 4, 4, 1>;
  using TensorLarge = TensorTiling<4, 2, 2, 16>;
  using TensorMedium = TensorTiling<2, 2, 2, 8>;
};
template <>
struct Tilings<double> {
  using Large = Tiling<double, 128, 64, 8, 4, 8>;
  using Tall = Large;
  using Medium = Tiling<double, 64, 64, 4, 4>;
  using Narrow = Tiling<double, 128, 16, 4, 2>;
  using Column = Tiling<double, 256, 4, 4, 1, 8>;
};

// Calls f.operator()<Tiling>().
template <class T, class F>
auto with_tiling(Tile tile, F&& f) {
  using Of = Tilings<T>;
  if constexpr (sizeof(T) == 4) {
    if (tile == Tile::TensorLarge) return f.template operator()<typename Of::TensorLarge>();
    if (tile == Tile::TensorMedium) return f.template operator()<typename Of::TensorMedium>();
  }
  switch (tile) {
    case Tile::Large: return f.template operator()<typename Of::Large>();
    case Tile::Tall: return f.template operator()<typename Of::Tall>();
    case Tile::Narrow: return f.template operator()<typename Of::Narrow>();
    case Tile::Column: return f.template operator()<typename Of::Column>();
    default: return f.template operator()<typename Of::Medium>();
  }
}

// What blocks do one after the other: tiles of C, of each part of k, of each product of a batch.
struct Units {
  std::int64_t down, across, tiles, splits, count;

  EV_HD Units(const GemmArgs& g, int height, int width)
      : down((g.m + height - 1) / height),
        across((g.n + width - 1) / width),
        tiles(down * across),
        splits(g.splits),
        count(tiles * g.splits * g.batches) {}

  struct Place {
    int row, column, split;  // of tiles: their numbers
    std::int64_t batch;
  };
  // Blocks that run at the same time compute a patch of eight rows of tiles: they share what they read.
  EV_HD Place operator[](std::int64_t unit) const {
    constexpr std::int64_t kPatch = 8;
    const std::int64_t tile = unit % tiles, first = tile / (kPatch * across) * kPatch;
    const std::int64_t height = down - first < kPatch ? down - first : kPatch;
    const std::int64_t within = tile - first * across;
    return {static_cast<int>(first + within % height), static_cast<int>(within / height),
            static_cast<int>(unit / tiles % splits), unit / tiles / splits};
  }
};

#if !defined(__CUDACC_RTC__)
inline constexpr std::int64_t kMultiprocessors = 128;  // about; fixed, so that results do not depend on the device

template <class T>
std::int64_t count_tiles(const GemmArgs& g, Tile tile) {
  return with_tiling<T>(
      tile, [&]<class Of>() { return ((g.m + Of::kM - 1) / Of::kM) * ((g.n + Of::kN - 1) / Of::kN) * g.batches; });
}

// `tensor_cores`: where they are worth it.
template <class T>
Tile choose_tile(const GemmArgs& g, bool tensor_cores) {
  const auto enough = [&](Tile tile) { return count_tiles<T>(g, tile) >= kMultiprocessors; };
  if (g.n <= 4) return Tile::Column;
  if (g.n <= 16) return Tile::Narrow;
  if (sizeof(T) == 4 && tensor_cores)
    return g.n > 64 && enough(Tile::TensorLarge) ? Tile::TensorLarge : Tile::TensorMedium;
  if (g.n > 64 && enough(Tile::Large)) return Tile::Large;
  return g.n <= 64 && enough(Tile::Tall) ? Tile::Tall : Tile::Medium;
}

// Cuts what has few tiles and a long k: into whole slices, not too few of them.
template <class T>
void split(GemmArgs& g, Tile tile) {
  constexpr std::int64_t kLeast = 256, kSlice = 16;
  const std::int64_t tiles = count_tiles<T>(g, tile), most = g.k / kLeast;
  std::int64_t splits = 2 * kMultiprocessors / (tiles > 0 ? tiles : 1);
  splits = splits < most ? splits : most;
  if (splits < 1) splits = 1;
  g.per = ((g.k + splits - 1) / splits + kSlice - 1) / kSlice * kSlice;
  g.splits = (g.k + g.per - 1) / g.per;
}
#endif

}  // namespace evolute::cuda
