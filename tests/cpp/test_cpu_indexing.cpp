// CPU kernels against naive references: integer-array indexing, sequences and random numbers.
#include <doctest/doctest.h>

#include "kernel_helpers.h"
#include "math/philox.h"

using namespace evolute;
using namespace evolute::test;

// ---- indexing -------------------------------------------------------------------------------------------------------

namespace {

// Position in `a` (row-major, by values) that element `flat` of the result of a gather comes from.
std::size_t source_of(std::size_t flat, const Shape& in, const Axes& axes,
                      const std::vector<std::vector<double>>& index) {
  Shape at = Shape::filled(in.size(), 0);
  auto rest = static_cast<std::int64_t>(flat);
  for (int d = in.size() - 1; d >= 0; --d) {
    if (axes.contains(d)) continue;
    at[d] = rest % in[d];
    rest /= in[d];
  }
  for (int k = 0; k < axes.size(); ++k) {
    const int d = static_cast<int>(axes[k]);
    const auto i = static_cast<std::int64_t>(index[static_cast<std::size_t>(k)][static_cast<std::size_t>(rest)]);
    at[d] = i < 0 ? i + in[d] : i;
  }
  std::int64_t out = 0;
  for (int d = 0; d < in.size(); ++d) out = out * in[d] + at[d];
  return static_cast<std::size_t>(out);
}

struct IndexCase {
  Shape in, b;
  Axes axes;
};
const IndexCase kIndexCases[] = {
    {{7}, {4}, {0}},          {{7, 3}, {5}, {0}},         {{7, 3}, {5}, {1}},      {{7, 3}, {2, 2}, {0, 1}},
    {{4, 5, 6}, {3, 2}, {1}}, {{4, 5, 6}, {8}, {0, 2}},   {{4, 5, 6}, {}, {1, 2}}, {{40, 50}, {33}, {1}},
    {{4, 5}, {0}, {0}},       {{3, 2, 4}, {6}, {0, 1, 2}}};

std::vector<Ref<Array>> random_indices(const IndexCase& c, unsigned seed) {
  std::mt19937 gen(seed);
  std::vector<Ref<Array>> out;
  for (auto axis : c.axes) {
    const std::int64_t n = c.in[static_cast<int>(axis)];
    std::vector<double> v(static_cast<std::size_t>(c.b.product()));
    for (double& x : v) x = static_cast<double>(static_cast<std::int64_t>(gen() % static_cast<unsigned>(2 * n)) - n);
    out.push_back(filled(c.b, int64, v));
  }
  return out;
}

Shape listed_shape(const IndexCase& c) {
  Shape s = c.b;
  for (auto n : removed(c.in, c.axes)) s.push_back(n);
  return s;
}

}  // namespace

TEST_CASE("gather") {
  for (const auto& c : kIndexCases)
    for (DType t : kDTypes)
      for (const auto& in : layouts(c.in, t)) {
        const auto index = random_indices(c, 3);
        std::vector<const Array*> pointers;
        std::vector<std::vector<double>> at;
        for (const auto& i : index) {
          pointers.push_back(i.get());
          at.push_back(values(*i));
        }
        for (const auto& target : layouts(listed_shape(c), t)) {
          Ref<Array> out = view(*target, target->shape(), target->strides());
          device().gather(*in, pointers, c.axes, *out);
          const auto x = values(*in), y = values(*out);
          bool right = true;
          for (std::size_t i = 0; i < y.size(); ++i) right = right && y[i] == x[source_of(i, c.in, c.axes, at)];
          CHECK(right);
        }
      }
}

TEST_CASE("scatter sets the last and adds all") {
  for (const auto& c : kIndexCases)
    for (DType t : {int32, int64, float32, float64})
      for (const auto& updates : layouts(listed_shape(c), t))
        for (ScatterMode mode : {ScatterMode::Set, ScatterMode::Add}) {
          const Ref<Array> base = random_array(c.in, t);
          const auto index = random_indices(c, 5);
          std::vector<const Array*> pointers;
          std::vector<std::vector<double>> at;
          for (const auto& i : index) {
            pointers.push_back(i.get());
            at.push_back(values(*i));
          }
          Ref<Array> out = empty(base->aval());
          device().scatter(mode, *base, pointers, c.axes, *updates, *out);
          auto expected = values(*base);
          const auto u = values(*updates);
          for (std::size_t i = 0; i < u.size(); ++i) {
            double& x = expected[source_of(i, c.in, c.axes, at)];
            x = mode == ScatterMode::Set ? u[i] : x + u[i];
          }
          CHECK(same(values(*out), expected));
        }
}

TEST_CASE("scatter of broadcast updates and strided indices") {
  Ref<Array> base = filled({4, 2}, float32, std::vector<double>(8, 0)), one = filled({}, float32, {1});
  Ref<Array> index = filled({6}, int64, {0, 9, 0, 9, 3, 9}), every_other = view(*index, {3}, {2}),
             out = empty(base->aval());
  const Array* pointers[] = {every_other.get()};
  device().scatter(ScatterMode::Add, *base, pointers, {0}, *broadcast_view(*one, {3, 2}), *out);
  CHECK(same(values(*out), {2, 2, 0, 0, 0, 0, 1, 1}));
}

TEST_CASE("an index out of range throws before anything is written") {
  Ref<Array> base = filled({3}, float32, {1, 2, 3}), out = filled({3}, float32, {7, 7, 7}),
             four = empty({{2}, float32});
  Ref<Array> updates = filled({2}, float32, {0, 0});
  for (double bad : {3.0, -4.0, 1e15}) {
    Ref<Array> index = filled({2}, int64, {0, bad});
    const Array* pointers[] = {index.get()};
    CHECK_THROWS_AS(device().gather(*base, pointers, {0}, *four), IndexError);
    CHECK_THROWS_AS(device().scatter(ScatterMode::Set, *base, pointers, {0}, *updates, *out), IndexError);
    CHECK(same(values(*out), {7, 7, 7}));
  }
  Ref<Array> nothing = empty({{0}, float32}), index = filled({1}, int64, {0}), one = empty({{1}, float32});
  const Array* pointers[] = {index.get()};
  CHECK_THROWS_AS(device().gather(*nothing, pointers, {0}, *one), IndexError);
}

TEST_CASE("nonzero") {
  for (DType t : kDTypes)
    for (const Shape& shape : {Shape{7}, Shape{3, 5}, Shape{0}, Shape{}})
      for (const auto& mask : layouts(shape, t)) {
        std::vector<double> expected;
        const auto x = values(*mask);
        for (std::size_t i = 0; i < x.size(); ++i)
          if (x[i] != 0) expected.push_back(static_cast<double>(i));
        CHECK(same(values(*device().nonzero(*mask)), expected));
      }
}

// ---- sequences and random numbers -----------------------------------------------------------------------------------

TEST_CASE("iota") {
  Ref<Array> out = empty({{4}, float32});
  device().iota(1, 0.5, *out);
  CHECK(same(values(*out), {1, 1.5, 2, 2.5}));
  Ref<Array> integers = empty({{3}, int64});
  device().iota(5, -2, *integers);
  CHECK(same(values(*integers), {5, 3, 1}));
  device().iota(7, 0, *integers);
  CHECK(same(values(*integers), {7, 7, 7}));
}

TEST_CASE("Philox4x32-10 gives the known answers of the Random123 distribution") {
  using math::philox4x32;
  using math::PhiloxBlock;
  const auto gives = [](const PhiloxBlock& got, std::array<std::uint32_t, 4> want) {
    return std::equal(want.begin(), want.end(), got.w);
  };
  CHECK(gives(philox4x32({{0, 0, 0, 0}}, 0, 0), {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const std::uint32_t f = 0xffffffff;
  CHECK(gives(philox4x32({{f, f, f, f}}, f, f), {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  CHECK(gives(philox4x32({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0),
              {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST_CASE("random numbers depend on seed and position alone, and have the moments they should") {
  for (DType t : {float32, float64})
    for (Distribution d : {Distribution::Uniform, Distribution::Normal}) {
      const std::int64_t n = 100001;
      Ref<Array> x = empty({{n}, t}), shorter = empty({{3, 7}, t}), other = empty({{21}, t});
      device().random(d, 42, *x);
      device().random(d, 42, *shorter);
      device().random(d, 43, *other);
      const auto v = values(*x), w = values(*shorter);
      CHECK(std::equal(w.begin(), w.end(), v.begin()));
      CHECK_FALSE(same(values(*other), w));
      double mean = 0, square = 0, lo = kInf, hi = -kInf, lag = 0;
      for (std::size_t i = 0; i < v.size(); ++i) {
        mean += v[i] / n;
        square += v[i] * v[i] / n;
        lo = std::min(lo, v[i]);
        hi = std::max(hi, v[i]);
      }
      for (std::size_t i = 1; i < v.size(); ++i) lag += (v[i] - mean) * (v[i - 1] - mean) / n;
      const double variance = square - mean * mean;
      if (d == Distribution::Uniform) {
        CHECK(lo >= 0);
        CHECK(lo < 1e-3);
        CHECK(hi < 1);
        CHECK(hi > 0.999);
        CHECK(mean == doctest::Approx(0.5).epsilon(0.01));
        CHECK(variance == doctest::Approx(1.0 / 12).epsilon(0.02));
      } else {
        CHECK(std::abs(mean) < 0.015);
        CHECK(variance == doctest::Approx(1).epsilon(0.02));
        CHECK(lo < -3.5);
        CHECK(hi > 3.5);
        CHECK(hi < 7);
      }
      CHECK(std::abs(lag / variance) < 0.015);
    }
  Ref<Array> first = empty({{4}, float32});
  device().random(Distribution::Uniform, 0, *first);
  CHECK(first->data<float>()[0] == static_cast<float>(0x6627e8) * 0x1p-24f);
  CHECK(first->data<float>()[3] == static_cast<float>(0x9b00db) * 0x1p-24f);
}
