// The thread pool, and kernels on it: results must not depend on the number of threads.
#include <doctest/doctest.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <numeric>
#include <stdexcept>
#include <thread>

#include "core/thread_pool.h"
#include "evolute/evolute.h"
#include "kernel_helpers.h"
#include "math/elementwise.h"

using namespace evolute;
using namespace evolute::test;

namespace {

// Sets the number of threads for as long as it lives.
struct Threads {
  explicit Threads(int n) : before(num_threads()) { set_num_threads(n); }
  ~Threads() { set_num_threads(before); }
  int before;
};

bool same_bits(const Array& a, const Array& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::memcmp(a.bytes(), b.bytes(), static_cast<std::size_t>(a.size()) * size_of(a.dtype())) == 0;
}

// Whether `make()` gives the same bits on one thread and on several.
void check_threads(const std::function<Ref<Array>()>& make) {
  const Ref<Array> one = [&] {
    const Threads t(1);
    return make();
  }();
  for (const int n : {2, 3, 7}) {
    const Threads t(n);
    CAPTURE(n);
    CHECK(same_bits(*one, *make()));
  }
}

Ref<Array> computed(const Shape& shape, DType dtype, const std::function<void(Array&)>& f) {
  Ref<Array> out = empty({shape, dtype});
  f(*out);
  return out;
}

}  // namespace

TEST_CASE("every part runs once") {
  for (const int threads : {1, 2, 5}) {
    const Threads t(threads);
    for (const std::int64_t parts : {0, 1, 2, 3, 64, 1000}) {
      std::vector<std::atomic<int>> runs(static_cast<std::size_t>(parts));
      parallel_for(parts, [&](std::int64_t i) { runs[static_cast<std::size_t>(i)].fetch_add(1); });
      for (const auto& r : runs) CHECK(r.load() == 1);
    }
  }
}

TEST_CASE("ranges cover all items and begin where asked") {
  const Threads t(3);
  for (const std::int64_t n : {0, 1, 15, 16, 17, 1000, 4097}) {
    std::vector<std::atomic<int>> seen(static_cast<std::size_t>(n));
    parallel_ranges(
        n, 1e5,
        [&](std::int64_t begin, std::int64_t end) {
          CHECK(begin % 16 == 0);
          for (std::int64_t i = begin; i < end; ++i) seen[static_cast<std::size_t>(i)].fetch_add(1);
        },
        16);
    for (const auto& s : seen) CHECK(s.load() == 1);
  }
}

TEST_CASE("small work stays on the caller's thread") {
  const Threads t(4);
  CHECK(worthwhile_parts(1000) == 1);
  CHECK(worthwhile_parts(1e9) == 4);
  CHECK(balanced_parts(1000) == 1);
  CHECK(balanced_parts(1e9) > 4);
}

TEST_CASE("a region inside of another one runs on the thread it is called from") {
  const Threads t(4);
  std::atomic<int> sum{0};
  parallel_for(8, [&](std::int64_t) {
    const auto self = std::this_thread::get_id();
    CHECK(worthwhile_parts(1e9) == 1);
    parallel_for(8, [&](std::int64_t j) {
      CHECK(std::this_thread::get_id() == self);
      sum.fetch_add(static_cast<int>(j));
    });
  });
  CHECK(sum.load() == 8 * 28);
}

TEST_CASE("the exception of the lowest part that threw arrives, and the pool goes on") {
  const Threads t(3);
  for (int round = 0; round < 20; ++round) {
    std::string what;
    try {
      parallel_for(50, [](std::int64_t i) {
        if (i >= 10) throw std::runtime_error(std::to_string(i));
      });
    } catch (const std::runtime_error& e) {
      what = e.what();
    }
    CHECK(what == "10");
  }
  std::atomic<int> count{0};
  parallel_for(10, [&](std::int64_t) { count.fetch_add(1); });
  CHECK(count.load() == 10);
}

TEST_CASE("several threads of the program at once") {
  const Threads t(3);
  std::atomic<std::int64_t> total{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c)
    callers.emplace_back([&] {
      for (int round = 0; round < 200; ++round)
        parallel_for(16, [&](std::int64_t i) { total.fetch_add(i, std::memory_order_relaxed); });
    });
  for (auto& c : callers) c.join();
  CHECK(total.load() == 4 * 200 * 120);
}

TEST_CASE("the number of threads changes between regions") {
  const Threads t(1);
  for (int round = 0; round < 30; ++round) {
    set_num_threads(round % 5 + 1);
    std::atomic<int> count{0};
    parallel_for(20, [&](std::int64_t) { count.fetch_add(1); });
    CHECK(count.load() == 20);
  }
  CHECK_THROWS_AS(set_num_threads(0), ValueError);
  CHECK_THROWS_AS(set_num_threads(-3), ValueError);
  CHECK(num_threads() == 5);
}

TEST_CASE("elementwise kernels and copies on threads") {
  const Shape shape{301, 517};
  for (const DType dtype : {float32, float64}) {
    for (const Ref<Array>& x : layouts(shape, dtype, false)) {
      const Array* in[] = {x.get(), x.get()};
      check_threads([&] {
        return computed(shape, dtype, [&](Array& out) {
          Array* outs[] = {&out};
          device().elementwise(kAtan2, in, outs);
        });
      });
      check_threads([&] { return computed(shape, dtype, [&](Array& out) { device().copy(*x, out); }); });
      check_threads([&] { return computed(shape, int32, [&](Array& out) { device().copy(*x, out); }); });
    }
    const Ref<Array> row = random_array({517}, dtype, false), column = random_array({301, 1}, dtype, false);
    const Ref<Array> mask = random_array(shape, bool_);
    check_threads(
        [&] { return computed(shape, dtype, [&](Array& out) { device().select(*mask, *row, *column, out); }); });
  }
}

TEST_CASE("reductions on threads, over every pattern of axes") {
  const std::vector<Shape> shapes{{200'003}, {130, 7, 301}, {3, 90'001}, {90'001, 3}, {2, 700, 2, 130}};
  for (const Shape& shape : shapes) {
    const Ref<Array> x = random_array(shape, float32, false);
    for (unsigned bits = 1; bits < 1u << shape.size(); ++bits) {
      Axes axes;
      Shape rest;
      for (int i = 0; i < shape.size(); ++i) {
        if (bits >> i & 1)
          axes.push_back(i);
        else
          rest.push_back(shape[i]);
      }
      CAPTURE(shape);
      CAPTURE(bits);
      for (const Reduction r : {Reduction::Sum, Reduction::Max})
        check_threads([&] { return computed(rest, float32, [&](Array& out) { device().reduce(r, *x, axes, out); }); });
      const Ref<Array> sums =
          computed(rest, float32, [&](Array& out) { device().reduce(Reduction::Sum, *x, axes, out); });
      const Ref<Array> exact = computed(shape, float64, [&](Array& out) { device().copy(*x, out); });
      const Ref<Array> more =
          computed(rest, float64, [&](Array& out) { device().reduce(Reduction::Sum, *exact, axes, out); });
      for (std::int64_t i = 0; i < sums->size(); ++i) {
        const double reference = more->data<double>()[i];
        CHECK(std::abs(sums->data<float>()[i] - reference) <= 2e-6 * reference);  // all are positive
      }
    }
    check_threads([&] {
      Shape out = shape;
      return computed(out, float32, [&](Array& o) { device().cumsum(*x, 0, false, o); });
    });
    Shape rest;
    for (int i = 0; i + 1 < shape.size(); ++i) rest.push_back(shape[i]);
    check_threads([&] {
      return computed(rest, int64, [&](Array& out) { device().arg_reduce(true, *x, shape.size() - 1, out); });
    });
  }
}

TEST_CASE("a long sum is accurate") {
  const std::int64_t n = 5'000'000;
  Ref<Array> x = empty({{n}, float32});
  std::fill_n(x->data<float>(), n, 0.1f);
  const Ref<Array> s = computed({}, float32, [&](Array& out) { device().reduce(Reduction::Sum, *x, {0}, out); });
  CHECK(s->data<float>()[0] == doctest::Approx(static_cast<double>(0.1f) * static_cast<double>(n)).epsilon(3e-7));
}

TEST_CASE("gathers and scatters on threads") {
  const Ref<Array> table = random_array({1000, 70}, float32, false);
  std::vector<double> at(20'000);
  for (std::size_t i = 0; i < at.size(); ++i) at[i] = static_cast<double>(i * 7919 % 1000);
  const Ref<Array> index = filled({20'000}, int64, at);
  const Array* indices[] = {index.get()};
  check_threads(
      [&] { return computed({20'000, 70}, float32, [&](Array& out) { device().gather(*table, indices, {0}, out); }); });
  const Ref<Array> updates = random_array({20'000, 70}, float32, false, 2);
  for (const ScatterMode mode : {ScatterMode::Set, ScatterMode::Add})
    check_threads([&] {
      return computed({1000, 70}, float32,
                      [&](Array& out) { device().scatter(mode, *table, indices, {0}, *updates, out); });
    });
}

TEST_CASE("random numbers on threads") {
  for (const DType dtype : {float32, float64})
    for (const Distribution d : {Distribution::Uniform, Distribution::Normal})
      check_threads([&] { return computed({100'003}, dtype, [&](Array& out) { device().random(d, 42, out); }); });
  check_threads([&] { return computed({100'003}, float64, [&](Array& out) { device().iota(3, 0.5, out); }); });
}

TEST_CASE("batches of matrices on threads") {
  const std::int64_t batch = 300, n = 12;
  const Ref<Array> a = random_array({batch, n, n}, float64, false), b = random_array({batch, n, 3}, float64, false, 2);
  const Ref<Array> one = random_array({n, n}, float64, false, 3);
  const Ref<Array> shared = broadcast_view(*one, {batch, n, n});
  const auto run = [&](const Shape& shape, auto f) { check_threads([&] { return computed(shape, float64, f); }); };
  run({batch, n, n}, [&](Array& out) { device().cholesky(*a, out); });
  run({batch, n, 3}, [&](Array& out) { device().solve_triangular(*a, *b, true, false, false, out); });
  run({batch, n, 3}, [&](Array& out) { device().solve(*a, *b, false, out); });
  run({batch, n, 3}, [&](Array& out) { device().solve(*shared, *b, true, out); });
  run({batch}, [&](Array& out) { device().determinant(*a, false, out); });
  run({batch, n, n}, [&](Array& out) { device().cofactor(*a, out); });
}

TEST_CASE("gradients on threads, from several threads of the program") {
  const Threads t(3);
  const auto slope = grad([](const Tensor& x) { return sum(sin(x) * exp(x)); });
  const Tensor x = to_tensor(random_array({300, 400}, float64, false));
  const Tensor expected = slope(x);
  std::vector<std::thread> callers;
  std::atomic<int> wrong{0};
  for (int c = 0; c < 3; ++c)
    callers.emplace_back([&] {
      for (int round = 0; round < 10; ++round)
        if (!same_bits(slope(x).array(), expected.array())) wrong.fetch_add(1);
    });
  for (auto& c : callers) c.join();
  CHECK(wrong.load() == 0);
}

TEST_CASE("elementwise kernels with sums, against the two steps") {
  const Shape shapes[] = {{4000, 70}, {3, 50'000}, {1, 90'000, 2}, {17, 19, 23, 29}, {200, 20'000}};
  for (const Shape& shape : shapes) {
    const Ref<Array> g = random_array(shape, float64, false, 1), x = random_array(shape, float64, false, 2);
    for (unsigned bits = 0; bits < 1u << shape.size(); ++bits) {
      Shape narrow = shape;
      Axes axes;
      for (int i = 0; i < shape.size(); ++i)
        if (bits >> i & 1) narrow[i] = 1, axes.push_back(i);
      CAPTURE(shape);
      CAPTURE(narrow);
      const Ref<Array> y = random_array(narrow, float64, false, 3);
      const Array* in[] = {g.get(), x.get(), y.get()};
      // Whole results by the kernel, then their sum.
      Ref<Array> by_x = empty({shape, float64}), terms = empty({shape, float64});
      Array* whole[] = {by_x.get(), terms.get()};
      device().elementwise(kDiv_vjp, in, whole);
      const Tensor expected = reshape(sum(to_tensor(terms), axes), narrow);

      const auto run = [&] {
        Ref<Array> a = empty({shape, float64}), b = empty({narrow, float64});
        Array* out[] = {a.get(), b.get()};
        device().elementwise_sum(kDiv_vjp, shape, in, out);
        CHECK(same_bits(*a, *by_x));
        return b;
      };
      check_threads(run);
      const std::vector<double> got = values(*run()), want = values(expected.array());
      for (std::size_t i = 0; i < got.size(); ++i) CHECK(std::abs(got[i] - want[i]) <= 1e-13 * std::abs(want[i]));
    }
  }
}
