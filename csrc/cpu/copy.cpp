#include <cstring>

#include "cpu/cost.h"
#include "cpu/cpu_backend.h"
#include "cpu/strided_loop.h"
#include "math/convert.h"

namespace evolute::cpu {
namespace {

using math::convert;

template <class T>
T& at(char* p, std::int64_t offset) {
  return *reinterpret_cast<T*>(p + offset);
}

// Unsigned integer of a size: how elements are moved when their type does not matter.
template <std::size_t size>
using Bits = std::conditional_t<size == 1, std::uint8_t, std::conditional_t<size == 4, std::uint32_t, std::uint64_t>>;

template <class To, class From>
void convert_row(char* const* p, const std::int64_t* stride, std::int64_t n) {
  constexpr auto to_size = std::int64_t{sizeof(To)}, from_size = std::int64_t{sizeof(From)};
  if (stride[1] == 0) {
    const To value = convert<To>(at<From>(p[1], 0));
    if (stride[0] == to_size)
      std::fill_n(&at<To>(p[0], 0), n, value);
    else
      for (std::int64_t i = 0; i < n; ++i) at<To>(p[0], i * stride[0]) = value;
  } else if (stride[0] == to_size && stride[1] == from_size) {
    if constexpr (std::is_same_v<To, From>) {
      std::memcpy(p[0], p[1], static_cast<std::size_t>(n) * sizeof(To));
    } else {
      To* __restrict to = &at<To>(p[0], 0);
      const From* __restrict from = &at<From>(p[1], 0);
      for (std::int64_t i = 0; i < n; ++i) to[i] = convert<To>(from[i]);
    }
  } else {
    for (std::int64_t i = 0; i < n; ++i) at<To>(p[0], i * stride[0]) = convert<To>(at<From>(p[1], i * stride[1]));
  }
}

// A block of kLanes × kLanes elements, transposed in registers: kLanes² loads become kLanes wide ones.
template <class T>
struct Block;

template <>
struct Block<std::uint32_t> {
  static constexpr int kLanes = 4;
  using V = std::uint32_t __attribute__((vector_size(16)));
  static void transpose(V* v) {
    const V a = __builtin_shufflevector(v[0], v[1], 0, 4, 1, 5), b = __builtin_shufflevector(v[2], v[3], 0, 4, 1, 5);
    const V c = __builtin_shufflevector(v[0], v[1], 2, 6, 3, 7), d = __builtin_shufflevector(v[2], v[3], 2, 6, 3, 7);
    v[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
    v[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
    v[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
    v[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
  }
};

template <>
struct Block<std::uint64_t> {
  static constexpr int kLanes = 2;
  using V = std::uint64_t __attribute__((vector_size(16)));
  static void transpose(V* v) {
    const V a = __builtin_shufflevector(v[0], v[1], 0, 2), b = __builtin_shufflevector(v[0], v[1], 1, 3);
    v[0] = a;
    v[1] = b;
  }
};

// to[i][j] = from[j][i] for i < rows, j < columns; each dense along its last index, `pitch` bytes between its rows.
template <class T>
void transpose_blocks(char* to, std::int64_t to_pitch, const char* from, std::int64_t from_pitch, std::int64_t rows,
                      std::int64_t columns) {
  using B = Block<T>;
  constexpr int L = B::kLanes;
  const auto single = [&](std::int64_t i, std::int64_t j) {
    std::memcpy(to + i * to_pitch + j * sizeof(T), from + j * from_pitch + i * sizeof(T), sizeof(T));
  };
  std::int64_t i = 0;
  for (; i + L <= rows; i += L) {
    std::int64_t j = 0;
    for (; j + L <= columns; j += L) {
      typename B::V v[L];
      for (int k = 0; k < L; ++k) std::memcpy(&v[k], from + (j + k) * from_pitch + i * sizeof(T), sizeof v[k]);
      B::transpose(v);
      for (int k = 0; k < L; ++k) std::memcpy(to + (i + k) * to_pitch + j * sizeof(T), &v[k], sizeof v[k]);
    }
    for (; j < columns; ++j)
      for (int k = 0; k < L; ++k) single(i + k, j);
  }
  for (; i < rows; ++i)
    for (std::int64_t j = 0; j < columns; ++j) single(i, j);
}

// Four cache lines wide: more rows at a time would outgrow the TLB.
template <class T>
constexpr std::int64_t kTile = 256 / sizeof(T);

// The same for at most kTile rows and columns. Rows that lie far apart may all compete for a few sets of the cache:
// each is then read once, into a buffer where they do not.
template <class T>
void transpose_tile(char* to, std::int64_t to_pitch, const char* from, std::int64_t from_pitch, std::int64_t rows,
                    std::int64_t columns) {
  if (std::abs(from_pitch) < 2048) return transpose_blocks<T>(to, to_pitch, from, from_pitch, rows, columns);
  constexpr std::int64_t kPitch = kTile<T> * sizeof(T) + 16;
  alignas(64) char packed[kTile<T> * kPitch];
  for (std::int64_t j = 0; j < columns; ++j)
    std::memcpy(packed + j * kPitch, from + j * from_pitch, static_cast<std::size_t>(rows) * sizeof(T));
  transpose_blocks<T>(to, to_pitch, packed, kPitch, rows, columns);
}

// The first two axes of `loop` are a transposition of dense matrices.
template <class T>
void transpose_all(const StridedLoop& loop) {
  const std::int64_t columns = loop.length(0), rows = loop.length(1);
  const std::int64_t to_pitch = loop.stride(1, 0), from_pitch = loop.stride(0, 1);
  const auto bands = (rows + kTile<T> - 1) / kTile<T>;
  const double band_ns = 4 * kNsPerByte * sizeof(T) * static_cast<double>(kTile<T> * columns);
  const auto matrix = [&](char* to, const char* from) {
    parallel_ranges(bands, band_ns, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin * kTile<T>; i < std::min(end * kTile<T>, rows); i += kTile<T>)
        for (std::int64_t j = 0; j < columns; j += kTile<T>)
          transpose_tile<T>(to + i * to_pitch + j * sizeof(T), to_pitch, from + j * from_pitch + i * sizeof(T),
                            from_pitch, std::min(kTile<T>, rows - i), std::min(kTile<T>, columns - j));
    });
  };
  Shape outer;
  StridedLoop::Operand operands[2] = {{loop.data(0), {}}, {loop.data(1), {}}};
  for (int i = 2; i < loop.ndim(); ++i) {
    outer.push_back(loop.length(i));
    for (int k = 0; k < 2; ++k) operands[k].strides.push_back(loop.stride(i, k));
  }
  // A few large matrices are cut themselves, many small ones dealt out; what is nested stays on its thread.
  StridedLoop(outer, operands).run([&](char* const* p, const std::int64_t* stride, std::int64_t n) {
    const auto range = [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) matrix(p[0] + i * stride[0], p[1] + i * stride[1]);
    };
    bands < 8 ? parallel_ranges(n, band_ns * static_cast<double>(bands), range) : range(0, n);
  });
}

template <class T>
void copy_same(const StridedLoop& loop) {
  if constexpr (sizeof(T) > 1) {
    constexpr auto size = std::int64_t{sizeof(T)};
    if (loop.ndim() >= 2 && loop.stride(0, 0) == size && loop.stride(1, 1) == size && loop.stride(0, 1) != 0)
      return transpose_all<T>(loop);
  }
  loop.run_parallel(2 * kNsPerByte * sizeof(T), convert_row<T, T>);
}

}  // namespace

void CpuBackend::copy(const Array& in, Array& out) {
  const StridedLoop loop(out.shape(), {&out, &in});
  dispatch(out.dtype(), [&](auto to) {
    using To = typename decltype(to)::type;
    if (in.dtype() == out.dtype()) return copy_same<Bits<sizeof(To)>>(loop);
    dispatch(in.dtype(), [&](auto from) {
      using From = typename decltype(from)::type;
      if constexpr (!std::is_same_v<To, From>)
        loop.run_parallel(kNsPerByte * (sizeof(To) + sizeof(From)), convert_row<To, From>);
    });
  });
}

}  // namespace evolute::cpu
