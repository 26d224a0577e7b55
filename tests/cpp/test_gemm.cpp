// The matrix product of floats, on every instruction set this CPU has, against plain loops.
#include <doctest/doctest.h>

#include <evolute/error.h>
#include <evolute/threads.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "core/thread_pool.h"
#include "cpu/simd.h"

using namespace evolute;
using cpu::Extent;
using cpu::Gemm;
using cpu::GemmKernels;

namespace {

using Index = std::int64_t;

// A matrix somewhere within a block of memory.
template <class T>
struct Stored {
  std::vector<T> data;
  Index offset, rs, cs;

  cpu::Matrix<T> matrix() { return {data.data() + offset, rs, cs}; }
  T operator()(Index i, Index j) const { return data[static_cast<std::size_t>(offset + i * rs + j * cs)]; }
};

enum class Layout { Rows, Columns, WideRows, WideColumns, Gaps, Reversed, OneRow, OneColumn };
constexpr Layout kLayouts[] = {Layout::Rows, Layout::Columns,  Layout::WideRows, Layout::WideColumns,
                               Layout::Gaps, Layout::Reversed, Layout::OneRow,   Layout::OneColumn};
constexpr int kWritable = 6;  // the first so many have no two elements in one place

template <class T, class Value>
Stored<T> store(Index m, Index n, Layout layout, Value&& value) {
  Index offset = 0, rs = n, cs = 1, size = m * n;
  switch (layout) {
    case Layout::Rows: break;
    case Layout::Columns: rs = 1, cs = m; break;
    case Layout::WideRows: offset = 3, rs = n + 5, size = offset + m * rs; break;
    case Layout::WideColumns: rs = 1, cs = m + 260, size = n * cs; break;
    case Layout::Gaps: offset = 1, cs = 2, rs = 2 * n + 1, size = offset + m * rs; break;
    case Layout::Reversed: offset = std::max<Index>(m * n - 1, 0), rs = -n, cs = -1; break;
    case Layout::OneRow: rs = 0, size = n; break;
    case Layout::OneColumn: rs = 1, cs = 0, size = m; break;
  }
  Stored<T> s{std::vector<T>(static_cast<std::size_t>(size)), offset, rs, cs};
  for (T& x : s.data) x = static_cast<T>(value());
  return s;
}

std::mt19937 engine(1);
// Small enough that products of integers are exact, so that results must be equal.
double small_integer() { return static_cast<double>(engine() % 7) - 3; }
double real() { return engine() * 0x1p-31 - 1; }

struct Options {
  bool add = false;
};
Options any_options() { return {(engine() & 1) != 0}; }

template <class T>
void run(const GemmKernels<T>& kernels, Extent e, Stored<T>& a, Stored<T>& b, Stored<T>& c, Options options) {
  const auto constant = [](cpu::Matrix<T> m) { return cpu::Matrix<const T>{m.p, m.rs, m.cs}; };
  cpu::gemm(kernels, {e, constant(a.matrix()), constant(b.matrix()), c.matrix(), options.add});
}

// True if the product is right to the last bit, and nothing beside it has been written.
template <class T>
bool right(const GemmKernels<T>& kernels, Extent e, Layout la, Layout lb, Layout lc, Options options) {
  auto a = store<T>(e.m, e.k, la, small_integer), b = store<T>(e.k, e.n, lb, small_integer);
  auto c = store<T>(e.m, e.n, lc, small_integer), want = c;
  for (Index i = 0; i < e.m; ++i)
    for (Index j = 0; j < e.n; ++j) {
      T& to = *want.matrix().at(i, j);
      double sum = options.add ? static_cast<double>(to) : 0.0;
      for (Index p = 0; p < e.k; ++p) sum += static_cast<double>(a(i, p)) * static_cast<double>(b(p, j));
      to = static_cast<T>(sum);
    }
  run(kernels, e, a, b, c, options);
  return c.data == want.data;
}

// Calls check(kernels, name) for both types and all instruction sets.
template <class F>
void for_all_kernels(F&& check) {
  for (const cpu::SimdKernels* level : cpu::simd_levels()) {
    check(*level->gemm_float, std::string(level->name) + " float32");
    check(*level->gemm_double, std::string(level->name) + " float64");
  }
}

std::string describe(Extent e, Layout a, Layout b, Layout c, Options options) {
  return cat(e.m, "x", e.k, "x", e.n, ", layouts ", static_cast<int>(a), " ", static_cast<int>(b), " ",
             static_cast<int>(c), options.add ? ", add" : "");
}

}  // namespace

TEST_CASE("gemm takes all layouts, with all options") {
  for_all_kernels([](const auto& kernels, const std::string& name) {
    for (const Extent e : {Extent{1, 1, 1}, {5, 3, 40}, {3, 5, 50}, {17, 37, 9}, {40, 70, 33}, {1, 33, 8}, {33, 1, 8}})
      for (const Layout la : kLayouts)
        for (const Layout lb : kLayouts)
          for (int i = 0; i < kWritable; ++i) {
            const Options options = any_options();
            if (!right(kernels, e, la, lb, kLayouts[i], options))
              FAIL_CHECK(name, ": ", describe(e, la, lb, kLayouts[i], options));
          }
  });
}

TEST_CASE("gemm takes all sizes around those of tiles, panels and blocks") {
  for_all_kernels([](const auto& kernels, const std::string& name) {
    const Index r = kernels.rows, w = kernels.panel, d = kernels.depth;
    unsigned turn = 0;
    for (const Index m : {Index{0}, Index{1}, Index{2}, Index{3}, Index{4}, Index{5}, Index{7}, r - 1, r, r + 1, 2 * r,
                          2 * r + 1, 3 * r - 1})
      for (const Index n : {Index{0}, Index{1}, Index{2}, Index{3}, Index{4}, Index{5}, w / 2 - 1, w / 2, w / 2 + 1,
                            w - 1, w, w + 1, 2 * w - 1, 2 * w, 2 * w + 1})
        for (const Index k : {Index{0}, Index{1}, Index{2}, Index{3}, Index{15}, Index{48}, d, d + 1}) {
          const Layout la = kLayouts[turn % 8], lb = kLayouts[turn / 2 % 8], lc = kLayouts[turn % kWritable];
          const Options options = any_options();
          ++turn;
          if (!right(kernels, {m, n, k}, la, lb, lc, options))
            FAIL_CHECK(name, ": ", describe({m, n, k}, la, lb, lc, options));
        }
  });
}

TEST_CASE("large products are cut into blocks and parts, and add up") {
  for_all_kernels([](const auto& kernels, const std::string& name) {
    const Index d = kernels.depth;
    for (const Extent e : {Extent{150, 700, 2 * d + 3},
                           {700, 130, 300},
                           {20, 30, 4200},
                           {3, 9000, 40},
                           {9000, 3, 40},
                           {1, 5000, 70},
                           {5000, 1, 70}})
      for (const Layout l : {Layout::Rows, Layout::Columns})
        for (const bool add : {false, true}) {
          const Options options{add};
          if (!right(kernels, e, l, l, Layout::Rows, options))
            FAIL_CHECK(name, ": ", describe(e, l, l, Layout::Rows, options));
        }
  });
}

TEST_CASE("the error of a product is that of sums in working precision") {
  for_all_kernels([]<class T>(const GemmKernels<T>& kernels, const std::string& name) {
    for (const Extent e : {Extent{30, 40, 700}, {16, 16, 16}, {64, 64, 10000}, {1, 30, 5000}, {50, 2, 3000}}) {
      auto a = store<T>(e.m, e.k, Layout::Rows, real), b = store<T>(e.k, e.n, Layout::Rows, real),
           c = store<T>(e.m, e.n, Layout::Rows, real);
      run(kernels, e, a, b, c, {});
      long double worst = 0;
      for (Index i = 0; i < e.m; ++i)
        for (Index j = 0; j < e.n; ++j) {
          long double sum = 0, size = 0;
          for (Index p = 0; p < e.k; ++p) {
            const long double x = static_cast<long double>(a(i, p)) * b(p, j);
            sum += x;
            size += std::fabs(x);
          }
          worst = std::max(worst, std::fabs(c(i, j) - sum) / size);
        }
      // Rounding errors of k sums are random: their sum grows with the square root.
      const double bound = 0.5 * std::sqrt(static_cast<double>(e.k)) * std::numeric_limits<T>::epsilon();
      CHECK_MESSAGE(worst <= bound, name << ": " << e.m << "x" << e.k << "x" << e.n);
    }
  });
}

TEST_CASE("products do not depend on the number of threads, or on where they run") {
  const int threads = num_threads();
  for_all_kernels([]<class T>(const GemmKernels<T>& kernels, const std::string& name) {
    for (const Extent e : {Extent{300, 200, 500},
                           {64, 64, 10000},
                           {1000, 64, 64},
                           {50, 20000, 3},
                           {20000, 3, 50},
                           {7, 1000, 1000},
                           {1, 3000, 300}}) {
      auto a = store<T>(e.m, e.k, Layout::Rows, real), b = store<T>(e.k, e.n, Layout::Columns, real);
      std::vector<Stored<T>> results;
      for (const int n : {1, 2, 3, 5}) {
        set_num_threads(n);
        results.push_back(store<T>(e.m, e.n, Layout::Rows, [] { return 0.0; }));
        run(kernels, e, a, b, results.back(), {});
      }
      for (int i = 0; i < 2; ++i) results.push_back(results[0]);
      parallel_for(2, [&](Index i) { run(kernels, e, a, b, results[static_cast<std::size_t>(4 + i)], {}); });
      for (const auto& c : results)
        CHECK_MESSAGE(c.data == results[0].data, name << ": " << e.m << "x" << e.k << "x" << e.n);
    }
  });
  set_num_threads(threads);
}

TEST_CASE("a part of the rows is what it is in the whole product") {
  for_all_kernels([]<class T>(const GemmKernels<T>& kernels, const std::string& name) {
    const Extent e{500, 64, 64};
    auto a = store<T>(e.m, e.k, Layout::Rows, real), b = store<T>(e.k, e.n, Layout::Columns, real),
         whole = store<T>(e.m, e.n, Layout::Rows, real), parts = whole;
    run(kernels, e, a, b, whole, {});
    for (Index i = 0; i < e.m; i += 120) {
      Stored<T> block = store<T>(std::min<Index>(120, e.m - i), e.n, Layout::Rows, real), rows = a;
      rows.offset = i * rows.rs;
      run(kernels, {std::min<Index>(120, e.m - i), e.n, e.k}, rows, b, block, {});
      std::copy(block.data.begin(), block.data.end(), parts.data.begin() + i * e.n);
    }
    CHECK_MESSAGE(parts.data == whole.data, name);
  });
}

TEST_CASE("a batch is its products one by one") {
  const int threads = num_threads();
  for_all_kernels([]<class T>(const GemmKernels<T>& kernels, const std::string& name) {
    for (const Extent e : {Extent{3, 3, 3}, {8, 20, 5}, {30, 2, 50}, {1, 20, 30}, {20, 20, 0}, {100, 90, 80}})
      for (const Layout layout : {Layout::Rows, Layout::Columns, Layout::Gaps})
        for (const bool same_b : {false, true}) {
          constexpr Index count = 60;
          const auto many = [&](Index m, Index n) {
            const Stored<T> one = store<T>(m, n, layout, real);
            Stored<T> all = store<T>(1, static_cast<Index>(one.data.size()) * count, Layout::Rows, real);
            all.offset = one.offset, all.rs = one.rs, all.cs = one.cs;
            return all;
          };
          auto a = many(e.m, e.k), b = many(e.k, e.n), c = many(e.m, e.n), want = c;
          const auto step = [](const Stored<T>& s) { return static_cast<Index>(s.data.size()) / count; };
          const cpu::Batch batch{count, step(a), same_b ? 0 : step(b), step(c)};
          for (Index i = 0; i < count; ++i) {
            run(kernels, e, a, b, want, {.add = true});
            a.offset += batch.a, b.offset += batch.b, want.offset += batch.c;
          }
          a.offset -= count * batch.a, b.offset -= count * batch.b;
          const cpu::Matrix<T> x = a.matrix(), y = b.matrix();
          for (const int n : {1, 3}) {
            set_num_threads(n);
            Stored<T> got = c;
            cpu::gemm(kernels, {e, {x.p, x.rs, x.cs}, {y.p, y.rs, y.cs}, got.matrix(), true}, batch);
            CHECK_MESSAGE(got.data == want.data, name << ": " << e.m << "x" << e.k << "x" << e.n);
          }
        }
  });
  set_num_threads(threads);
}
