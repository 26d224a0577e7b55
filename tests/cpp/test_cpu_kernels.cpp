// CPU kernels against naive references: loops, copy, reductions.
#include <doctest/doctest.h>

#include "cpu/strided_loop.h"
#include "kernel_helpers.h"

using namespace evolute;
using namespace evolute::test;

// ---- strided loops --------------------------------------------------------------------------------------------------

TEST_CASE("a strided loop visits every element once, also in parts") {
  for (const Shape& shape : {Shape{}, Shape{5}, Shape{0, 3}, Shape{40, 50}, Shape{3, 4, 5}, Shape{200, 3},
                             Shape{2, 70, 3, 40}, Shape{20000}, Shape{300, 90}}) {
    std::vector<Ref<Array>> in;
    if (shape.size() == 2)
      in = layouts(shape, int32);
    else
      in = {random_array(shape, int32)};
    for (const auto& a : in) {
      Shape last_axis;
      if (!shape.empty()) last_axis.push_back(shape.back());
      const Ref<Array> row = random_array(last_axis, float64),
                       out = filled(shape, float64, std::vector<double>(shape.product(), 0));
      const cpu::StridedLoop loop(shape, {out.get(), a.get(), row.get()});
      const auto add = [](char* const* p, const std::int64_t* s, std::int64_t n) {
        for (std::int64_t i = 0; i < n; ++i)
          *reinterpret_cast<double*>(p[0] + i * s[0]) +=
              *reinterpret_cast<int*>(p[1] + i * s[1]) + *reinterpret_cast<double*>(p[2] + i * s[2]);
      };
      loop.run(add);
      const std::int64_t third = loop.parts() / 3;
      loop.run(add, 0, third);
      loop.run(add, third, loop.parts());
      const auto x = values(*a), y = values(*row), z = values(*out);
      bool right = true;
      for (std::size_t i = 0; i < z.size(); ++i) right = right && z[i] == 2 * (x[i] + y[i % y.size()]);
      CHECK_MESSAGE(right, shape);
    }
  }
}

// ---- copy -----------------------------------------------------------------------------------------------------------

TEST_CASE("copy between all pairs of dtypes and layouts") {
  for (DType from : kDTypes)
    for (DType to : kDTypes)
      for (const Shape& shape : {Shape{}, Shape{7}, Shape{3, 5}, Shape{37, 70}, Shape{2, 3, 4}, Shape{0, 2}})
        for (const auto& in : layouts(shape, from))
          for (const auto& target : layouts(shape, to)) {
            Ref<Array> out = view(*target, shape, target->strides());
            device().copy(*in, *out);
            auto expected = values(*in);
            if (to == bool_)
              for (double& x : expected) x = x != 0;
            CHECK(same(values(*out), expected));
          }
}

TEST_CASE("copy broadcasts") {
  for (DType t : kDTypes) {
    Ref<Array> row = filled({3}, t, {0, 1, 1}), column = filled({2, 1}, t, {0, 1}), out = empty({{2, 3}, t});
    device().copy(*row, *out);
    CHECK(same(values(*out), {0, 1, 1, 0, 1, 1}));
    device().copy(*column, *out);
    CHECK(same(values(*out), {0, 0, 0, 1, 1, 1}));
  }
}

TEST_CASE("transposes of all sizes around the block") {
  for (DType t : {float32, float64})
    for (std::int64_t m : {1, 3, 4, 31, 32, 33, 65, 100})
      for (std::int64_t n : {2, 4, 32, 35, 129}) {
        Ref<Array> a = random_array({2, m, n}, t, false), at = view(*a, {2, n, m}, {m * n, 1, n}),
                   out = empty(at->aval());
        device().copy(*at, *out);
        CHECK(same(values(*out), values(*at)));
      }
}

TEST_CASE("conversions are defined for every value") {
  const std::vector<double> x = {kNan,          kInf, -kInf, 1e300, -1e300, 2147483647.5,
                                 -2147483648.0, -0.9, 1.9,   -1.9,  9.3e18};
  const double hi32 = 2147483647, lo32 = -2147483648.0;
  const double hi64 = 9223372036854775807.0, lo64 = -9223372036854775808.0;
  Ref<Array> in = filled({11}, float64, x), i32 = empty({{11}, int32}), i64 = empty({{11}, int64});
  Ref<Array> flags = empty({{11}, bool_}), f32 = empty({{11}, float32});
  device().copy(*in, *i32);
  CHECK(same(values(*i32), {0, hi32, lo32, hi32, lo32, hi32, lo32, 0, 1, -1, hi32}));
  device().copy(*in, *i64);
  CHECK(same(values(*i64), {0, hi64, lo64, hi64, lo64, 2147483647, lo32, 0, 1, -1, hi64}));
  CHECK(i64->data<std::int64_t>()[1] == std::numeric_limits<std::int64_t>::max());
  device().copy(*in, *flags);
  CHECK(same(values(*flags), std::vector<double>(11, 1)));
  device().copy(*in, *f32);
  CHECK(f32->data<float>()[3] == std::numeric_limits<float>::infinity());
  device().copy(*f32, *i64);
  CHECK(values(*i64)[0] == 0);
  CHECK(values(*i64)[1] == hi64);
}

// ---- reductions -----------------------------------------------------------------------------------------------------

namespace {

// For each element of the result, the elements of `in` it is made of, in order.
std::vector<std::vector<double>> groups(const Array& in, const Axes& axes) {
  const Shape& shape = in.shape();
  const auto x = values(in);
  std::vector<std::vector<double>> out(static_cast<std::size_t>(removed(shape, axes).product()));
  for (std::size_t i = 0; i < x.size(); ++i) {
    auto rest = static_cast<std::int64_t>(i);
    std::int64_t at = 0, step = 1;
    for (int d = shape.size() - 1; d >= 0; --d) {
      const std::int64_t k = rest % shape[d];
      rest /= shape[d];
      if (axes.contains(d)) continue;
      at += k * step;
      step *= shape[d];
    }
    out[static_cast<std::size_t>(at)].push_back(x[i]);
  }
  return out;
}

double naive(Reduction r, const std::vector<double>& x) {
  long double s = r == Reduction::Prod || r == Reduction::All ? 1 : 0;
  if (r == Reduction::Max || r == Reduction::Min) s = x[0];
  for (double v : x) switch (r) {
      case Reduction::Sum: s += v; break;
      case Reduction::Prod: s *= v; break;
      case Reduction::Max: s = std::isnan(v) || v > s ? v : s; break;
      case Reduction::Min: s = std::isnan(v) || v < s ? v : s; break;
      case Reduction::Any: s = s != 0 || v != 0; break;
      case Reduction::All: s = s != 0 && v != 0; break;
    }
  return static_cast<double>(s);
}

DType result_dtype(Reduction r, DType t) {
  if (r == Reduction::Any || r == Reduction::All) return bool_;
  if (r == Reduction::Max || r == Reduction::Min) return t;
  return is_floating(t) ? t : int64;
}

constexpr Reduction kReductions[] = {Reduction::Sum, Reduction::Prod, Reduction::Max,
                                     Reduction::Min, Reduction::Any,  Reduction::All};

}  // namespace

TEST_CASE("reductions over every set of axes of every layout") {
  for (const Shape& shape : {Shape{}, Shape{6}, Shape{4, 5}, Shape{2, 3, 4}, Shape{20, 2, 18}, Shape{3, 1, 2, 2}})
    for (DType t : kDTypes)
      for (const auto& in : layouts(shape, t))
        for (int mask = 0; mask < 1 << shape.size(); ++mask) {
          Axes axes;
          for (int i = 0; i < shape.size(); ++i)
            if (mask >> i & 1) axes.push_back(i);
          const auto parts = groups(*in, axes);
          for (Reduction r : kReductions) {
            if (r == Reduction::Prod && shape.product() > 30) continue;  // beyond what double holds exactly
            std::vector<double> expected;
            for (const auto& g : parts) expected.push_back(naive(r, g));
            Ref<Array> out = empty({removed(shape, axes), result_dtype(r, t)});
            device().reduce(r, *in, axes, *out);
            CHECK(same(values(*out), expected));
          }
        }
}

TEST_CASE("long reductions: sums are accurate along any axis") {
  struct Case {
    Shape shape;
    Axes axes;
  };
  const Case cases[] = {{{100003}, {0}},        {{100003, 3}, {0}},         {{1001, 300}, {0}},  {{300, 1001}, {1}},
                        {{50, 40, 30}, {0, 2}}, {{50, 40, 30}, {1}},        {{5, 3001, 2}, {1}}, {{100003, 1}, {0}},
                        {{40, 50, 3}, {0, 1}},  {{2, 3, 5, 7, 11}, {1, 3}}, {{4099, 17}, {0, 1}}};
  for (const auto& c : cases)
    for (DType t : {float32, float64})
      for (bool transposed : {false, true}) {
        Ref<Array> in = random_array(c.shape, t, false);
        if (transposed) {
          Shape reversed(c.shape);
          std::reverse(reversed.begin(), reversed.end());
          Ref<Array> base = random_array(reversed, t, false);
          Strides strides = base->strides();
          std::reverse(strides.begin(), strides.end());
          in = view(*base, c.shape, strides);
        }
        Ref<Array> out = empty({removed(c.shape, c.axes), t}), top = empty(out->aval());
        device().reduce(Reduction::Sum, *in, c.axes, *out);
        device().reduce(Reduction::Max, *in, c.axes, *top);
        const auto parts = groups(*in, c.axes);
        const auto sums = values(*out), tops = values(*top);
        const double eps = t == float32 ? 0x1p-24 : 0x1p-53;
        double worst = 0;
        bool max_right = true;
        for (std::size_t i = 0; i < parts.size(); ++i) {
          long double exact = 0;
          for (double x : parts[i]) exact += x;
          worst = std::max(worst, static_cast<double>(std::abs(sums[i] - exact) / exact) / eps);
          max_right = max_right && tops[i] == *std::max_element(parts[i].begin(), parts[i].end());
        }
        CHECK_MESSAGE(worst < 12, c.shape, " over ", c.axes);
        CHECK(max_right);
      }
}

TEST_CASE("a sum of many equal floats does not drift") {
  Ref<Array> one = filled({1}, float32, {0.1});
  const std::int64_t n = 1 << 22;
  Ref<Array> out = empty({{}, float32}), dense = empty({{n}, float32});
  device().copy(*one, *dense);
  device().reduce(Reduction::Sum, *dense, {0}, *out);
  CHECK(values(*out)[0] == doctest::Approx(0.1 * n).epsilon(1e-6));
  device().reduce(Reduction::Sum, *broadcast_view(*one, {n}), {0}, *out);
  CHECK(values(*out)[0] == doctest::Approx(0.1 * n).epsilon(1e-6));
  Ref<Array> three = empty({{3}, float32}), columns = view(*dense, {n / 3, 3}, {3, 1});
  device().reduce(Reduction::Sum, *columns, {0}, *three);
  CHECK(values(*three)[2] == doctest::Approx(0.1 * static_cast<double>(n / 3)).epsilon(1e-6));
}

TEST_CASE("NaN, infinities and empty axes in reductions") {
  for (DType t : {float32, float64})
    for (std::int64_t at = 0; at < 70; at += 3) {
      std::vector<double> x(70, 1);
      x[static_cast<std::size_t>(at)] = kNan;
      Ref<Array> out = empty({{}, t});
      for (Reduction r : {Reduction::Max, Reduction::Min, Reduction::Sum}) {
        device().reduce(r, *filled({70}, t, x), {0}, *out);
        CHECK(std::isnan(values(*out)[0]));
        Ref<Array> both = empty({{2}, t});
        device().reduce(r, *filled({35, 2}, t, x), {0}, *both);
        CHECK(std::isnan(values(*both)[static_cast<std::size_t>(at % 2)]));
        CHECK_FALSE(std::isnan(values(*both)[static_cast<std::size_t>(1 - at % 2)]));
      }
    }
  Ref<Array> inf = filled({3}, float64, {-kInf, -kInf, -kInf}), out = empty({{}, float64});
  device().reduce(Reduction::Max, *inf, {0}, *out);
  CHECK(values(*out)[0] == -kInf);

  for (DType t : kDTypes) {
    Ref<Array> none = empty({{2, 0}, t});
    const std::pair<Reduction, double> identities[] = {
        {Reduction::Sum, 0}, {Reduction::Prod, 1}, {Reduction::Any, 0}, {Reduction::All, 1}};
    for (auto [r, identity] : identities) {
      Ref<Array> rows = empty({{2}, result_dtype(r, t)}), columns = empty({{0}, result_dtype(r, t)});
      device().reduce(r, *none, {1}, *rows);
      CHECK(same(values(*rows), {identity, identity}));
      device().reduce(r, *none, {0}, *columns);
    }
  }
}

TEST_CASE("sums convert to the dtype of the result") {
  Ref<Array> in = filled({3}, int32, {2147483647, 2147483647, 2}), wide = empty({{}, int64}),
             real = empty({{}, float32});
  device().reduce(Reduction::Sum, *in, {0}, *wide);
  CHECK(wide->data<std::int64_t>()[0] == 4294967296);
  device().reduce(Reduction::Sum, *in, {0}, *real);
  CHECK(values(*real)[0] == 4294967296.0);
  Ref<Array> x = filled({2}, float32, {1, 0x1p-30}), sum = empty({{}, float64});
  device().reduce(Reduction::Sum, *x, {0}, *sum);
  CHECK(values(*sum)[0] == 1 + 0x1p-30);
  Ref<Array> flags = filled({300}, bool_, std::vector<double>(300, 1));
  device().reduce(Reduction::Sum, *flags, {0}, *wide);
  CHECK(wide->data<std::int64_t>()[0] == 300);
}

TEST_CASE("arg_reduce finds the first extremum, or the first NaN") {
  for (DType t : kDTypes)
    for (const Shape& shape : {Shape{9}, Shape{4, 150}, Shape{150, 4}, Shape{3, 5, 4}})
      for (const auto& in : layouts(shape, t))
        for (int axis = 0; axis < shape.size(); ++axis)
          for (bool max : {false, true}) {
            Ref<Array> out = empty({removed(shape, {axis}), int64});
            device().arg_reduce(max, *in, axis, *out);
            std::vector<double> expected;
            for (const auto& g : groups(*in, {axis})) {
              const auto it = max ? std::max_element(g.begin(), g.end()) : std::min_element(g.begin(), g.end());
              expected.push_back(static_cast<double>(it - g.begin()));
            }
            CHECK(same(values(*out), expected));
          }
  Ref<Array> in = filled({4, 2}, float32, {1, 5, kNan, 6, 9, kNan, kNan, 7}), out = empty({{2}, int64});
  device().arg_reduce(true, *in, 0, *out);
  CHECK(same(values(*out), {1, 2}));
  device().arg_reduce(false, *in, 0, *out);
  CHECK(same(values(*out), {1, 2}));
}

TEST_CASE("cumsum along any axis, either way") {
  for (DType t : {int32, int64, float32, float64})
    for (const Shape& shape : {Shape{9}, Shape{4, 150}, Shape{150, 4}, Shape{3, 5, 4}})
      for (const auto& in : layouts(shape, t))
        for (int axis = 0; axis < shape.size(); ++axis)
          for (bool reverse : {false, true}) {
            Ref<Array> out = empty({shape, t == int32 ? int64 : t});
            device().cumsum(*in, axis, reverse, *out);
            bool right = true;
            const auto sums = groups(*out, {axis}), parts = groups(*in, {axis});
            for (std::size_t g = 0; g < parts.size(); ++g) {
              double s = 0;
              const std::size_t n = parts[g].size();
              for (std::size_t k = 0; k < n; ++k) {
                const std::size_t i = reverse ? n - 1 - k : k;
                s += parts[g][i];
                right = right && sums[g][i] == s;
              }
            }
            CHECK(right);
          }
}
