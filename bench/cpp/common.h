// Data for the microbenchmarks.
#pragma once

#include <benchmark/benchmark.h>
#include <evolute/evolute.h>

#include <random>
#include <string>
#include <vector>

namespace bench {

/// Uniformly distributed elements, the same in every run.
inline ev::Tensor uniform(const ev::Shape& shape, double low, double high, ev::DType dtype, unsigned seed = 1) {
  std::mt19937 engine(seed);
  std::uniform_real_distribution<double> distribution(low, high);
  std::vector<double> values(static_cast<std::size_t>(shape.product()));
  for (double& v : values) v = distribution(engine);
  return ev::tensor(values, shape, dtype);
}

inline const char* suffix(ev::DType dtype) { return dtype == ev::float32 ? "f32" : "f64"; }

/// Registers `fn()` under a name; work on threads is timed by the clock on the wall.
template <class F>
benchmark::internal::Benchmark* add(const std::string& name, F fn) {
  return benchmark::RegisterBenchmark(name.c_str(),
                                      [fn](benchmark::State& state) {
                                        for (auto _ : state) benchmark::DoNotOptimize(fn());
                                      })
      ->UseRealTime();
}

void add_elementwise();
void add_overhead();
void add_matmul();
void add_reductions();

}  // namespace bench
