// Every elementwise function and its first and second derivatives, eager and compiled, over 10⁶ elements; and a copy of
// as many bytes, which is the floor. The list is that of the library: elementwise.def.
#include <cstring>
#include <memory>

#include "common.h"

namespace bench {

namespace {

constexpr std::int64_t kSize = 1'000'000;

using Unary = ev::Tensor (*)(const ev::Tensor&);
using Binary = ev::Tensor (*)(const ev::Tensor&, const ev::Tensor&);

// Benchmarks make their data when they run, not when they are registered: most are filtered out.
template <class Make>
void add_lazily(const std::string& name, Make make) {
  benchmark::RegisterBenchmark(name.c_str(), [make](benchmark::State& state) {
    auto fn = make();
    for (auto _ : state) benchmark::DoNotOptimize(fn());
    state.SetItemsProcessed(state.iterations() * kSize);
  })->UseRealTime();
}

void add_unary(const std::string& name, Unary f, double low, double high, int orders, ev::DType dtype) {
  const auto x = [=] { return uniform({kSize}, low, high, dtype); };
  const std::string tail = name + "/" + suffix(dtype);
  add_lazily("forward/" + tail, [=] { return [f, x = x()] { return f(x); }; });
  if (orders < 1) return;
  const auto first = ev::grad(f);
  add_lazily("grad1/" + tail, [=] { return [first, x = x()] { return first(x); }; });
  if (orders < 2) return;
  const auto second = ev::grad([first](const ev::Tensor& z) { return first(z); });
  add_lazily("grad2/" + tail, [=] { return [second, x = x()] { return second(x); }; });
  add_lazily("compiled2/" + tail, [=] {
    return [fn = ev::jit([second](const ev::Tensor& z) { return second(z); }), x = x()] { return fn(x); };
  });
}

void add_binary(const std::string& name, Binary f, double low, double high, ev::DType dtype) {
  const auto x = [=] { return uniform({kSize}, low, high, dtype, 1); };
  const auto y = [=] { return uniform({kSize}, low, high, dtype, 2); };
  const std::string tail = name + "/" + suffix(dtype);
  add_lazily("forward/" + tail, [=] { return [f, x = x(), y = y()] { return f(x, y); }; });
  const ev::Function both = [f](const ev::TensorList& a) -> ev::TensorList { return {f(a[0], a[1])}; };
  add_lazily("grad1/" + tail, [=] { return [both, x = x(), y = y()] { return ev::gradients(both, {x, y}, {0, 1}); }; });
  const ev::Function slopes = [both](const ev::TensorList& a) { return ev::gradients(both, a, {0, 1}).inputs; };
  add_lazily("grad2/" + tail,
             [=] { return [slopes, x = x(), y = y()] { return ev::gradients(slopes, {x, y}, {0, 1}); }; });
}

// What is left when a derivative that is zero everywhere is not worth a benchmark.
int orders_of(const std::string& name) { return name == "neg" || name == "abs" || name == "relu" ? 1 : 2; }

void add_copy(ev::DType dtype) {
  const std::size_t bytes = kSize * ev::size_of(dtype);
  const auto copy = [bytes](benchmark::State& state) {
    const auto from = std::make_unique<char[]>(bytes), to = std::make_unique<char[]>(bytes);
    for (auto _ : state) {
      std::memcpy(to.get(), from.get(), bytes);
      benchmark::ClobberMemory();
    }
    state.SetItemsProcessed(state.iterations() * kSize);
  };
  benchmark::RegisterBenchmark((std::string("copy/") + suffix(dtype)).c_str(), copy)->UseRealTime();
}

}  // namespace

void add_elementwise() {
  for (const ev::DType dtype : {ev::float32, ev::float64}) {
    add_copy(dtype);
#define EV_UNARY(Name, fn, types, r, lo, hi, ...) add_unary(#fn, ev::fn, lo, hi, orders_of(#fn), dtype);
#define EV_UNARY_FLAT(Name, fn, types, lo, hi, ...) add_unary(#fn, ev::fn, lo, hi, 0, dtype);
#define EV_BINARY(Name, fn, types, lo, hi, ...) add_binary(#fn, ev::fn, lo, hi, dtype);
#include <evolute/elementwise.def>
  }
}

}  // namespace bench
