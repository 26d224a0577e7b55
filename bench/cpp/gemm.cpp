// Matrix products of the sizes of numerical libraries' tests and of small networks; and the blocks of rows that
// compiled programs compute.
#include <evolute/threads.h>

#include <algorithm>

#include "common.h"
#include "core/array.h"
#include "cpu/simd.h"

namespace bench {

namespace {

benchmark::Counter rate(std::int64_t m, std::int64_t k, std::int64_t n) {
  const double flops = 2.0 * static_cast<double>(m) * static_cast<double>(k) * static_cast<double>(n);
  return benchmark::Counter(flops, benchmark::Counter::kIsIterationInvariantRate);
}

void add_products() {
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
          state.counters["flop/s"] = rate(m, k, n);
        };
        benchmark::RegisterBenchmark((name + suffix(dtype)).c_str(), run)->UseRealTime();
      }
    }
  }
}

void add_batches() {
  struct Batch {
    std::int64_t count, m, k, n;
  };
  constexpr Batch batches[] = {{10000, 3, 3, 3}, {1000, 8, 8, 8}, {100, 64, 64, 64}, {32, 256, 64, 64}};
  for (const ev::DType dtype : {ev::float32, ev::float64})
    for (const auto [count, m, k, n] : batches) {
      const auto run = [=](benchmark::State& state) {
        const ev::Tensor a = uniform({count, m, k}, -1, 1, dtype, 1), b = uniform({count, k, n}, -1, 1, dtype, 2);
        for (auto _ : state) benchmark::DoNotOptimize(ev::matmul(a, b));
        state.counters["flop/s"] = rate(count * m, k, n);
      };
      const std::string name = ev::cat("matmul/batch ", count, "/", m, "x", k, "x", n, "/", suffix(dtype));
      benchmark::RegisterBenchmark(name.c_str(), run)->UseRealTime();
    }
}

const ev::cpu::GemmKernels<float>& kernels(float) { return *ev::cpu::simd().gemm_float; }
const ev::cpu::GemmKernels<double>& kernels(double) { return *ev::cpu::simd().gemm_double; }

// A product of a row block, on one thread: of rows with weights, also transposed ones, and of two blocks of rows.
template <class T>
void add_rows(const char* type) {
  enum Kind { Plain, Transposed, Accumulate };
  constexpr const char* names[] = {"rows", "rows, transposed weights", "sum over rows"};
  constexpr std::int64_t n = 256;
  for (const std::int64_t units : {20, 64, 128})
    for (const Kind kind : {Plain, Transposed, Accumulate}) {
      const auto run = [=](benchmark::State& state) {
        std::vector<ev::Ref<ev::Array>> arrays;
        const auto numbers = [&arrays](std::int64_t count) {
          arrays.push_back(ev::empty({{count}, ev::dtype_of<T>}));
          T* p = arrays.back()->template data<T>();
          std::fill_n(p, count, T(0.5));
          return p;
        };
        const T *x = numbers(n * units), *y = numbers(n * units), *w = numbers(units * units);
        T* z = numbers(n * units);
        ev::cpu::Gemm<T> g{{n, units, units}, {x, units, 1}, {w, units, 1}, {z, units, 1}};
        if (kind == Transposed) g.b = {w, 1, units};
        if (kind == Accumulate) g = {{units, units, n}, {x, 1, units}, {y, units, 1}, {z, units, 1}, true};
        const auto& k = kernels(T());
        const int threads = ev::num_threads();
        ev::set_num_threads(1);
        for (auto _ : state) {
          ev::cpu::gemm(k, g);
          benchmark::ClobberMemory();
        }
        ev::set_num_threads(threads);
        state.counters["flop/s"] = rate(n, units, units);
      };
      benchmark::RegisterBenchmark(ev::cat("gemm/", names[kind], "/", n, "x", units, "/", type).c_str(), run);
    }
}

}  // namespace

void add_matmul() {
  add_products();
  add_batches();
  add_rows<float>("f32");
  add_rows<double>("f64");
}

}  // namespace bench
