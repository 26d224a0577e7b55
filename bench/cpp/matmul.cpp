// Matrix products of the sizes of numerical libraries' tests and of small networks.
#include "common.h"

namespace bench {

void add_matmul() {
  struct Product {
    std::int64_t m, k, n;
  };
  constexpr Product products[] = {
      {16, 16, 16},    {64, 64, 64},    {256, 256, 256}, {1024, 1024, 1024}, {2048, 2048, 2048},
      {10000, 64, 64}, {64, 10000, 64}, {10000, 20, 20}, {4096, 24, 64},     {10000, 2, 64},
  };
  for (const ev::DType dtype : {ev::float32, ev::float64}) {
    for (const auto [m, k, n] : products) {
      for (const int flags : {0, 1, 2, 3}) {
        const bool ta = flags & 1, tb = flags & 2;
        const std::string name = ev::cat("matmul/", m, "x", k, "x", n, "/", ta ? "T" : "N", tb ? "T" : "N", "/");
        const auto run = [=](benchmark::State& state) {
          const ev::Tensor a = uniform(ta ? ev::Shape{k, m} : ev::Shape{m, k}, -1, 1, dtype, 1);
          const ev::Tensor b = uniform(tb ? ev::Shape{n, k} : ev::Shape{k, n}, -1, 1, dtype, 2);
          for (auto _ : state) benchmark::DoNotOptimize(ev::matmul(a, b, ta, tb));
          const double flops = 2.0 * static_cast<double>(m) * static_cast<double>(k) * static_cast<double>(n);
          state.counters["flop/s"] = benchmark::Counter(flops, benchmark::Counter::kIsIterationInvariantRate);
        };
        benchmark::RegisterBenchmark((name + suffix(dtype)).c_str(), run)->UseRealTime();
      }
    }
  }
}

}  // namespace bench
