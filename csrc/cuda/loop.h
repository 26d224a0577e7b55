// Iteration spaces of several strided operands, as kernels get them: positions are turned into offsets by
// multiplications in place of divisions.
#pragma once

#include <cstdint>

#include "math/scalar.h"  // EV_HD

namespace evolute::cuda {

inline constexpr int kMaxAxes = 8;
inline constexpr int kBlock = 256;  // threads

// Division of n < 2^31 by a constant (Granlund and Montgomery, "Division by invariant integers using multiplication",
// 1994).
struct Divisor {
  std::uint32_t d = 1, magic = 1, shift = 0;

  Divisor() = default;
  explicit Divisor(std::uint32_t n) : d(n) {
    while ((std::uint64_t{1} << shift) < n) ++shift;
    magic = static_cast<std::uint32_t>(((std::uint64_t{1} << 32) * ((std::uint64_t{1} << shift) - n)) / n + 1);
  }
  EV_HD std::uint32_t quotient(std::uint32_t n) const {
    const auto high = static_cast<std::uint32_t>((std::uint64_t{n} * magic) >> 32);
    return (high + n) >> shift;
  }
};

// N operands that lie over one space; axis 0 is the innermost. A space of several axes has fewer than 2^31 elements,
// one of a single axis any number.
template <int N>
struct Loop {
  std::int64_t size = 1;
  int ndim = 0;
  Divisor length[kMaxAxes];
  std::int64_t stride[N][kMaxAxes] = {};  // in elements

  EV_HD void offsets(std::int64_t i, std::int64_t* offset) const {
    if (ndim == 1) {
      for (int k = 0; k < N; ++k) offset[k] = i * stride[k][0];
      return;
    }
    for (int k = 0; k < N; ++k) offset[k] = 0;
    auto rest = static_cast<std::uint32_t>(i);
    for (int a = 0; a < ndim; ++a) {
      const std::uint32_t q = length[a].quotient(rest), r = rest - q * length[a].d;
      for (int k = 0; k < N; ++k) offset[k] += r * stride[k][a];
      rest = q;
    }
  }
};

}  // namespace evolute::cuda
