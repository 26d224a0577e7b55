#include <cmath>
#include <numbers>

#include "core/thread_pool.h"
#include "cpu/convert.h"
#include "cpu/cpu_backend.h"
#include "cpu/philox.h"

// Each block of the generator (four 32-bit words w) makes four floats or two doubles, in order:
//   uniform float32   the upper 24 bits of w[i]
//   uniform float64   the upper 53 bits of w[2i] + 2^32 w[2i+1]
//   normal            Box-Muller on pairs (u1, u2): float32 takes 32-bit fractions w[2i], w[2i+1] for each pair,
//                     float64 takes 53-bit fractions for its one pair
// so that element i of an array depends on the seed and i alone.

namespace evolute::cpu {
namespace {

template <class T>
constexpr int kPerBlock = sizeof(T) == 4 ? 4 : 2;

std::uint64_t bits53(std::uint32_t lo, std::uint32_t hi) { return (std::uint64_t{hi} << 32 | lo) >> 11; }

void uniform(const PhiloxBlock& w, float* x) {
  for (int i = 0; i < 4; ++i) x[i] = static_cast<float>(w[i] >> 8) * 0x1p-24f;
}
void uniform(const PhiloxBlock& w, double* x) {
  for (int i = 0; i < 2; ++i) x[i] = static_cast<double>(bits53(w[2 * i], w[2 * i + 1])) * 0x1p-53;
}

// u1 in (0, 1], u2 in [0, 1).
template <class T>
void box_muller(double u1, double u2, T* x) {
  const double r = std::sqrt(-2 * std::log(u1)), angle = 2 * std::numbers::pi * u2;
  x[0] = static_cast<T>(r * std::cos(angle));
  x[1] = static_cast<T>(r * std::sin(angle));
}
void normal(const PhiloxBlock& w, float* x) {
  for (int i = 0; i < 4; i += 2) box_muller((w[i] + 1.0) * 0x1p-32, w[i + 1] * 0x1p-32, x + i);
}
void normal(const PhiloxBlock& w, double* x) {
  box_muller(static_cast<double>(bits53(w[0], w[1]) + 1) * 0x1p-53, static_cast<double>(bits53(w[2], w[3])) * 0x1p-53,
             x);
}

// Fills x with elements [begin, end) of the stream; begin is a multiple of a block.
template <class T, class F>
void fill_range(std::uint64_t seed, std::int64_t begin, std::int64_t end, T* x, F&& make) {
  constexpr int per = kPerBlock<T>;
  std::int64_t i = begin;
  for (; i + per <= end; i += per) make(philox_block(seed, static_cast<std::uint64_t>(i / per)), x + i);
  if (i == end) return;
  T rest[per];
  make(philox_block(seed, static_cast<std::uint64_t>(i / per)), rest);
  std::copy_n(rest, end - i, x + i);
}

// Fills x with the first n elements, each of which takes `ns` nanoseconds.
template <class T, class F>
void fill(std::uint64_t seed, std::int64_t n, double ns, T* x, F&& make) {
  parallel_ranges(n, ns, [&](std::int64_t begin, std::int64_t end) { fill_range(seed, begin, end, x, make); }, 16);
}

}  // namespace

void CpuBackend::iota(double start, double step, Array& out) {
  const std::int64_t n = out.size(), stride = out.ndim() ? out.strides()[0] : 1;
  dispatch(out.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* x = out.data<T>();
    if (step == 0 && stride == 1) return void(std::fill_n(x, n, convert<T>(start)));
    parallel_ranges(n, 1, [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) x[i * stride] = convert<T>(start + static_cast<double>(i) * step);
    });
  });
}

void CpuBackend::random(Distribution d, std::uint64_t seed, Array& out) {
  dispatch_floating(out.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (d == Distribution::Uniform)
      fill(seed, out.size(), 3, out.data<T>(), [](const PhiloxBlock& w, T* x) { uniform(w, x); });
    else
      fill(seed, out.size(), 20, out.data<T>(), [](const PhiloxBlock& w, T* x) { normal(w, x); });
  });
}

}  // namespace evolute::cpu
