// Sums and maxima over every kind of axis; sums behind broadcasting; and all of it on one thread and on several.
#include <evolute/threads.h>

#include "common.h"

namespace bench {

namespace {

void add_reduction(const std::string& name, const ev::Shape& shape, const ev::OptAxes& axes, ev::DType dtype) {
  const std::string tail = ev::cat("/", name, "/", suffix(dtype));
  const auto run = [=](ev::Tensor (*f)(const ev::Tensor&, const ev::OptAxes&, bool)) {
    return [=](benchmark::State& state) {
      const ev::Tensor x = uniform(shape, 0, 1, dtype);
      for (auto _ : state) benchmark::DoNotOptimize(f(x, axes, false));
      state.SetBytesProcessed(state.iterations() * x.size() * static_cast<std::int64_t>(ev::size_of(dtype)));
    };
  };
  benchmark::RegisterBenchmark(("sum" + tail).c_str(), run(ev::sum))->UseRealTime();
  benchmark::RegisterBenchmark(("max" + tail).c_str(), run(ev::max))->UseRealTime();
}

// Gradients by both operands of sum((x op b)²), b broadcast.
template <class F>
void add_broadcast(const std::string& name, const ev::Shape& shape, const ev::Shape& narrow, F f) {
  benchmark::RegisterBenchmark(("broadcast/" + name).c_str(), [=](benchmark::State& state) {
    const ev::Tensor x = uniform(shape, 0.5, 2, ev::float32, 1), b = uniform(narrow, 0.5, 2, ev::float32, 2);
    const ev::Function loss = [f](const ev::TensorList& a) -> ev::TensorList {
      return {ev::sum(ev::square(f(a[0], a[1])))};
    };
    for (auto _ : state) benchmark::DoNotOptimize(ev::gradients(loss, {x, b}, {0, 1}));
  })->UseRealTime();
}

// `fn()` on 1, 2, … threads, as many as there are.
template <class F>
void add_threads(const std::string& name, F make) {
  for (int n = 1; n <= ev::num_threads(); n *= 2) {
    benchmark::RegisterBenchmark(ev::cat("threads/", name, "/", n).c_str(), [=](benchmark::State& state) {
      const int before = ev::num_threads();
      ev::set_num_threads(n);
      const auto fn = make();
      for (auto _ : state) benchmark::DoNotOptimize(fn());
      ev::set_num_threads(before);
    })->UseRealTime();
  }
}

}  // namespace

void add_reductions() {
  for (const ev::DType dtype : {ev::float32, ev::float64}) {
    add_reduction("all", {1'000'000}, std::nullopt, dtype);
    add_reduction("rows", {15'625, 64}, ev::Axes{1}, dtype);
    add_reduction("columns", {15'625, 64}, ev::Axes{0}, dtype);
    add_reduction("long_rows", {1000, 1000}, ev::Axes{1}, dtype);
    add_reduction("long_columns", {1000, 1000}, ev::Axes{0}, dtype);
    add_reduction("middle", {100, 100, 100}, ev::Axes{1}, dtype);
    add_reduction("ends", {100, 100, 100}, ev::Axes{0, 2}, dtype);
    add_reduction("points", {250'000, 4}, ev::Axes{1}, dtype);
  }
  const auto product = [](const ev::Tensor& a, const ev::Tensor& b) { return a * b; };
  const auto quotient = [](const ev::Tensor& a, const ev::Tensor& b) { return a / b; };
  add_broadcast("mul/row", {15'625, 64}, {64}, product);
  add_broadcast("mul/column", {15'625, 64}, {15'625, 1}, product);
  add_broadcast("mul/scalar", {1'000'000}, {1}, product);
  add_broadcast("div/row", {15'625, 64}, {64}, quotient);

  add_threads("pow", [] { return [x = uniform({1'000'000}, 0.5, 2, ev::float32)] { return ev::pow(x, x); }; });
  add_threads("tanh/f64", [] { return [x = uniform({1'000'000}, -3, 3, ev::float64)] { return ev::tanh(x); }; });
  add_threads("sum", [] { return [x = uniform({4'000'000}, 0, 1, ev::float32)] { return ev::sum(x); }; });
  add_threads("small", [] { return [x = uniform({20'000}, -3, 3, ev::float32)] { return ev::tanh(x); }; });
}

}  // namespace bench
