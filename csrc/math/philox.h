// Philox4x32-10, the counter-based generator of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011),
// and the numbers made of its words.
//
// Each block of the generator (four 32-bit words w) makes four floats or two doubles, in order:
//   uniform float32   the upper 24 bits of w[i]
//   uniform float64   the upper 53 bits of w[2i] + 2^32 w[2i+1]
//   normal            Box-Muller on pairs (u1, u2): float32 takes 32-bit fractions w[2i], w[2i+1] for each pair,
//                     float64 takes 53-bit fractions for its one pair
// so that element i of an array depends on the seed and i alone, on every device.
#pragma once

#include <cmath>
#include <cstdint>

#include "math/scalar.h"  // EV_HD

namespace evolute::math {

struct PhiloxBlock {
  std::uint32_t w[4];
  EV_HD std::uint32_t operator[](int i) const { return w[i]; }
};

EV_HD inline PhiloxBlock philox4x32(PhiloxBlock c, std::uint32_t key0, std::uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53} * c[0], b = std::uint64_t{0xCD9E8D57} * c[2];
    c = {{static_cast<std::uint32_t>(b >> 32) ^ c[1] ^ key0, static_cast<std::uint32_t>(b),
          static_cast<std::uint32_t>(a >> 32) ^ c[3] ^ key1, static_cast<std::uint32_t>(a)}};
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
  return c;
}

// Block number `index` of the stream of `seed`.
EV_HD inline PhiloxBlock philox_block(std::uint64_t seed, std::uint64_t index) {
  return philox4x32({{static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32), 0, 0}},
                    static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
}

template <class T>
constexpr int kPhiloxPerBlock = sizeof(T) == 4 ? 4 : 2;

EV_HD inline std::uint64_t bits53(std::uint32_t lo, std::uint32_t hi) { return (std::uint64_t{hi} << 32 | lo) >> 11; }

EV_HD inline void uniform(const PhiloxBlock& w, float* x) {
  for (int i = 0; i < 4; ++i) x[i] = static_cast<float>(w[i] >> 8) * 0x1p-24f;
}
EV_HD inline void uniform(const PhiloxBlock& w, double* x) {
  for (int i = 0; i < 2; ++i) x[i] = static_cast<double>(bits53(w[2 * i], w[2 * i + 1])) * 0x1p-53;
}

// u1 in (0, 1], u2 in [0, 1).
template <class T>
EV_HD void box_muller(double u1, double u2, T* x) {
  const double r = std::sqrt(-2 * std::log(u1)), angle = 2 * 3.14159265358979323846 * u2;
  x[0] = static_cast<T>(r * std::cos(angle));
  x[1] = static_cast<T>(r * std::sin(angle));
}
EV_HD inline void normal(const PhiloxBlock& w, float* x) {
  for (int i = 0; i < 4; i += 2) box_muller((w[i] + 1.0) * 0x1p-32, w[i + 1] * 0x1p-32, x + i);
}
EV_HD inline void normal(const PhiloxBlock& w, double* x) {
  box_muller(static_cast<double>(bits53(w[0], w[1]) + 1) * 0x1p-53, static_cast<double>(bits53(w[2], w[3])) * 0x1p-53,
             x);
}

}  // namespace evolute::math
