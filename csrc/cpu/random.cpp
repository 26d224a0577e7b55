#include "core/thread_pool.h"
#include "cpu/cpu_backend.h"
#include "math/convert.h"
#include "math/philox.h"

namespace evolute::cpu {
namespace {

using math::convert;
using math::PhiloxBlock;

// Fills x with elements [begin, end) of the stream; begin is a multiple of a block.
template <class T, class F>
void fill_range(std::uint64_t seed, std::int64_t begin, std::int64_t end, T* x, F&& make) {
  constexpr int per = math::kPhiloxPerBlock<T>;
  std::int64_t i = begin;
  for (; i + per <= end; i += per) make(math::philox_block(seed, static_cast<std::uint64_t>(i / per)), x + i);
  if (i == end) return;
  T rest[per];
  make(math::philox_block(seed, static_cast<std::uint64_t>(i / per)), rest);
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
      fill(seed, out.size(), 3, out.data<T>(), [](const PhiloxBlock& w, T* x) { math::uniform(w, x); });
    else
      fill(seed, out.size(), 20, out.data<T>(), [](const PhiloxBlock& w, T* x) { math::normal(w, x); });
  });
}

}  // namespace evolute::cpu
