// Shapes, slices, indexing, creation, choice: values, errors, and derivatives of first and second order.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "evolute/autodiff.h"
#include "evolute/ops.h"

using namespace evolute;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// 0, 1, 2, … in a shape.
Tensor count(const Shape& shape, DType dtype = float64) {
  return reshape(arange(0, static_cast<double>(shape.product()), 1, dtype), shape);
}
Tensor ints(std::initializer_list<double> v) { return tensor(v, int64); }

void check(const Tensor& t, const Shape& shape, const std::vector<double>& values) {
  CHECK_MESSAGE(t.shape() == shape, cat("shape ", t.shape(), " against ", shape));
  const std::vector<double> got = t.to_vector();
  REQUIRE(got.size() == values.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(values[i]))
      CHECK(std::isnan(got[i]));
    else if (got[i] != values[i])
      CHECK(got[i] == doctest::Approx(values[i]));  // Approx knows no inf
  }
}
void check_shape(const Tensor& t, const Shape& shape) { CHECK_MESSAGE(t.shape() == shape, cat(t.shape())); }
void check_close(const Tensor& a, const Tensor& b, double tolerance) {
  REQUIRE_MESSAGE(a.shape() == b.shape(), cat(a.shape(), " against ", b.shape()));
  const std::vector<double> x = a.to_vector(), y = b.to_vector();
  for (std::size_t i = 0; i < x.size(); ++i) CHECK(x[i] == doctest::Approx(y[i]).epsilon(tolerance).scale(1));
}

using Map = std::function<Tensor(const Tensor&)>;

// Central differences, shape (*f(x).shape, *x.shape).
Tensor numeric_jacobian(const Map& f, const Tensor& x) {
  constexpr double kStep = 1e-5;
  const std::vector<double> at = x.to_vector();
  std::vector<Tensor> columns;
  for (std::size_t k = 0; k < at.size(); ++k) {
    std::vector<double> up = at, down = at;
    up[k] += kStep;
    down[k] -= kStep;
    columns.push_back((f(tensor(up, x.shape(), float64)) - f(tensor(down, x.shape(), float64))) / (2 * kStep));
  }
  const Shape out = columns[0].shape();
  Shape joined = out;
  for (auto n : x.shape()) joined.push_back(n);
  return reshape(stack(columns, out.size()), joined);
}

// Jacobians of f in both modes, and the Hessian of a cubic function of f in three nestings, against differences.
void check_derivatives(const Map& f, const Tensor& x) {
  check_close(jacfwd(f)(x), numeric_jacobian(f, x), 1e-7);
  check_close(jacrev(f)(x), numeric_jacobian(f, x), 1e-7);
  const Map loss = [f](const Tensor& x) {
    const Tensor y = f(x);
    return sum(reshape(sin(count({y.size()}) + 1), y.shape()) * y * square(y));
  };
  const Map slope = [loss](const Tensor& x) { return grad(loss)(x); };
  const Tensor expected = numeric_jacobian(slope, x);
  check_close(jacfwd(slope)(x), expected, 1e-6);
  check_close(jacrev(slope)(x), expected, 1e-6);
  check_close(jacrev([loss](const Tensor& x) { return jacfwd(loss)(x); })(x), expected, 1e-6);
}

Tensor sample(const Shape& shape) { return sin(count(shape) * 1.7 + 0.3); }

const Shape kEight = {2, 1, 2, 1, 1, 2, 1, 3};

}  // namespace

TEST_CASE("reshape") {
  const Tensor x = count({2, 3});
  CHECK(reshape(x, {2, 3}).is_same(x));
  check(reshape(x, {3, 2}), {3, 2}, {0, 1, 2, 3, 4, 5});
  check(reshape(x, {-1}), {6}, {0, 1, 2, 3, 4, 5});
  check(reshape(transpose(x), {-1}), {6}, {0, 3, 1, 4, 2, 5});                       // needs a copy
  check(reshape(flip(x, Axes{1}), {2, 1, 3, 1}), {2, 1, 3, 1}, {2, 1, 0, 5, 4, 3});  // does not
  check(reshape(slice(count({4, 6}), 1, 0, 6, 2), {2, 6}), {2, 6}, {0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22});
  check(reshape(full({2, 3}, 7), {6, 1}), {6, 1}, {7, 7, 7, 7, 7, 7});
  check(reshape(scalar(4), {1, 1, 1}), {1, 1, 1}, {4});
  check(reshape(tensor({4}), {}), {}, {4});
  check(reshape(zeros({0, 3}), {5, 0}), {5, 0}, {});
  check(reshape(zeros({0, 3}), {-1, 3}), {0, 3}, {});
  check_shape(reshape(count(kEight), {24}), {24});
  CHECK_THROWS_WITH_AS(
      reshape(x, {4}),
      "reshape: a tensor of shape (2, 3) has 6 elements and cannot get shape (4,); the products of the "
      "lengths must be equal",
      ShapeError);
  CHECK_THROWS_AS(reshape(x, {-1, -1}), ShapeError);
  CHECK_THROWS_AS(reshape(x, {-2, 3}), ShapeError);
  CHECK_THROWS_AS(reshape(x, {-1, 4}), ShapeError);
  CHECK_THROWS_AS(reshape(zeros({0, 3}), {-1, 0}), ShapeError);
  CHECK_THROWS_AS(reshape(x, {std::int64_t{1} << 62, 8}), ShapeError);
  check_derivatives([](const Tensor& x) { return reshape(transpose(x), {3, 2}); }, sample({2, 3}));
}

TEST_CASE("transpose, swapaxes, moveaxis") {
  const Tensor x = count({2, 3});
  check(transpose(x), {3, 2}, {0, 3, 1, 4, 2, 5});
  CHECK(transpose(x, Axes{0, 1}).is_same(x));
  CHECK(transpose(tensor({1, 2})).ndim() == 1);
  CHECK(transpose(scalar(1)).ndim() == 0);
  const Tensor y = count({2, 3, 4});
  check_shape(transpose(y, Axes{1, -1, 0}), {3, 4, 2});
  check_shape(swapaxes(y, 0, -1), {4, 3, 2});
  check_shape(moveaxis(y, 0, -1), {3, 4, 2});
  check_shape(moveaxis(y, 2, 0), {4, 2, 3});
  CHECK(moveaxis(y, 1, 1).is_same(y));
  check_shape(transpose(count(kEight)), {3, 1, 2, 1, 1, 2, 1, 2});
  check_shape(transpose(zeros({0, 2})), {2, 0});
  CHECK_THROWS_AS(transpose(x, Axes{0}), ValueError);
  CHECK_THROWS_AS(transpose(x, Axes{0, 0}), ValueError);
  CHECK_THROWS_AS(transpose(x, Axes{0, 2}), IndexError);
  CHECK_THROWS_AS(swapaxes(x, 0, 2), IndexError);
  check_derivatives([](const Tensor& x) { return transpose(x, Axes{2, 0, 1}); }, sample({2, 3, 2}));
}

TEST_CASE("broadcast_to, squeeze, expand_dims, tile") {
  const Tensor x = tensor({1, 2});
  check(broadcast_to(x, {3, 2}), {3, 2}, {1, 2, 1, 2, 1, 2});
  check(broadcast_to(scalar(5), {2, 1}), {2, 1}, {5, 5});
  check(broadcast_to(reshape(x, {2, 1}), {2, 0}), {2, 0}, {});
  CHECK(broadcast_to(x, {2}).is_same(x));
  CHECK_THROWS_AS(broadcast_to(x, {3}), ShapeError);
  CHECK_THROWS_AS(broadcast_to(x, {}), ShapeError);
  CHECK_THROWS_AS(broadcast_to(scalar(1), {-1}), ShapeError);
  check_derivatives([](const Tensor& x) { return broadcast_to(x, {2, 2, 3}); }, sample({2, 1}));

  check_shape(squeeze(count({1, 2, 1})), {2});
  check_shape(squeeze(count({1, 2, 1}), Axes{-1}), {1, 2});
  CHECK(squeeze(x).is_same(x));
  CHECK_THROWS_AS(squeeze(x, Axes{0}), ShapeError);
  check_shape(expand_dims(x, -1), {2, 1});
  check_shape(expand_dims(x, 0), {1, 2});
  CHECK_THROWS_AS(expand_dims(x, 2), IndexError);
  CHECK_THROWS_WITH_AS(expand_dims(count(kEight), 0),
                       "expand_dims: the result would have 9 axes; a tensor has at most 8", ShapeError);

  check(tile(x, {2}), {4}, {1, 2, 1, 2});
  check(tile(x, {2, 2}), {2, 4}, {1, 2, 1, 2, 1, 2, 1, 2});
  check(tile(count({2, 2}), {2}), {2, 4}, {0, 1, 0, 1, 2, 3, 2, 3});
  check(tile(scalar(3), {2}), {2}, {3, 3});
  check(tile(x, {0}), {0}, {});
  CHECK(tile(x, {1}).is_same(x));
  CHECK(tile(x, {}).is_same(x));
  CHECK_THROWS_AS(tile(x, {-1}), ValueError);
  const Tensor t = tile(count(kEight), {1, 2, 2, 1, 3, 2, 2, 1});  // several rounds
  check_shape(t, {2, 2, 4, 1, 3, 4, 2, 3});
  for (std::int64_t i = 0; i < 24; ++i) {  // along the third axis with the others fixed
    const Tensor a = index(index(t, 1, 2), 1, 1), b = index(index(t, 3, 2), 0, 1);
    CHECK(a.to_vector() == b.to_vector());
  }
  CHECK(slice(slice(slice(slice(slice(t, 1, 0, 1), 2, 2, 4), 4, 2, 3), 5, 2, 4), 6, 1, 2).to_vector() ==
        count(kEight).to_vector());
  check_derivatives([](const Tensor& x) { return tile(x, {2, 1, 2}); }, sample({2, 2}));
}

TEST_CASE("slice, index, flip, roll") {
  const Tensor x = count({5});
  check(slice(x, 0, 1, 4), {3}, {1, 2, 3});
  check(slice(x, 0, -2, 99), {2}, {3, 4});
  check(slice(x, 0, 0, 5, 2), {3}, {0, 2, 4});
  check(slice(x, 0, 4, -6, -1), {5}, {4, 3, 2, 1, 0});
  check(slice(x, 0, 99, std::numeric_limits<std::int64_t>::min(), -2), {3}, {4, 2, 0});
  check(slice(x, 0, 3, 0, -2), {2}, {3, 1});
  check(slice(x, 0, 3, 3), {0}, {});
  check(slice(x, 0, 4, 1), {0}, {});
  check(slice(slice(x, 0, 4, -6, -2), 0, 2, -4, -1), {3}, {0, 2, 4});
  check(slice(zeros({0, 2}), 0, -1, 3, -1), {0, 2}, {});
  CHECK(slice(x, 0, 0, 5).is_same(x));
  CHECK_THROWS_AS(slice(x, 0, 0, 1, 0), ValueError);
  CHECK_THROWS_AS(slice(x, 1, 0, 1), IndexError);
  CHECK_THROWS_AS(slice(scalar(1), 0, 0, 1), IndexError);
  check_shape(slice(count(kEight), -1, 0, 3, 2), {2, 1, 2, 1, 1, 2, 1, 2});

  check(index(x, -1), {}, {4});
  check(index(count({2, 3}), 1, 1), {2}, {1, 4});
  CHECK_THROWS_AS(index(x, 5), IndexError);
  CHECK_THROWS_AS(index(x, -6), IndexError);

  check(flip(count({2, 2})), {2, 2}, {3, 2, 1, 0});
  check(flip(count({2, 2}), Axes{0}), {2, 2}, {2, 3, 0, 1});
  CHECK(flip(scalar(1)).ndim() == 0);
  check(flip(zeros({0})), {0}, {});

  check(roll(x, {2}, {0}), {5}, {3, 4, 0, 1, 2});
  check(roll(x, {-1}, {0}), {5}, {1, 2, 3, 4, 0});
  check(roll(count({2, 3}), {1, 4}, {0, 1}), {2, 3}, {5, 3, 4, 2, 0, 1});
  CHECK(roll(x, {5}, {0}).is_same(x));
  check(roll(zeros({0}), {3}, {0}), {0}, {});
  CHECK_THROWS_AS(roll(x, {1, 2}, {0}), ValueError);

  check_derivatives([](const Tensor& x) { return slice(slice(x, 0, 3, 0, -2), 1, 0, 3, 2); }, sample({4, 3}));
  check_derivatives([](const Tensor& x) { return index(x, 1, 1) * slice(x, 0, 2, 3); }, sample({3, 3}));
  check_derivatives([](const Tensor& x) { return flip(x) * roll(x, {1, 2}, {0, 1}); }, sample({2, 3}));
}

TEST_CASE("concat, stack, split, pad") {
  const Tensor x = count({2, 2}), y = count({2, 1}) + 10;
  check(concat(std::vector{x, y}, 1), {2, 3}, {0, 1, 10, 2, 3, 11});
  check(concat(std::vector{x, transpose(x)}), {4, 2}, {0, 1, 2, 3, 0, 2, 1, 3});
  check(concat(std::vector{zeros({0}), tensor({1})}), {1}, {1});
  CHECK(concat(std::vector{x}).is_same(x));
  CHECK(concat(std::vector{ints({1}), tensor({2})}).dtype() == float32);
  CHECK(concat(std::vector{tensor({1}, bool_), tensor({0}, bool_)}).to_vector() == std::vector<double>{1, 0});
  check_shape(concat(std::vector{count(kEight), count(kEight)}, -2), {2, 1, 2, 1, 1, 2, 2, 3});
  CHECK_THROWS_AS(concat(std::vector<Tensor>{}), ValueError);
  CHECK_THROWS_AS(concat(std::vector{x, y}, 0), ShapeError);
  CHECK_THROWS_AS(concat(std::vector{x, tensor({1})}, 1), ShapeError);
  CHECK_THROWS_AS(concat(std::vector{scalar(1), scalar(2)}), IndexError);

  check(stack(std::vector{scalar(1), scalar(2)}), {2}, {1, 2});
  check(stack(std::vector{tensor({1, 2}), tensor({3, 4})}, -1), {2, 2}, {1, 3, 2, 4});
  CHECK_THROWS_AS(stack(std::vector{scalar(1), tensor({2})}), ShapeError);

  const auto halves = split(count({2, 4}), 2, 1);
  REQUIRE(halves.size() == 2);
  check(halves[1], {2, 2}, {2, 3, 6, 7});
  CHECK_THROWS_AS(split(x, 3), ShapeError);
  CHECK_THROWS_AS(split(x, 0), ValueError);
  const std::int64_t at[] = {1, 3, 3};
  const auto parts = split_at(count({5}), at);
  REQUIRE(parts.size() == 4);
  check(parts[0], {1}, {0});
  check(parts[1], {2}, {1, 2});
  check(parts[2], {0}, {});
  check(parts[3], {2}, {3, 4});

  check(pad(tensor({1, 2}), {1}, {2}), {5}, {0, 1, 2, 0, 0});
  check(pad(tensor({1, 2}), {1}, {0}, kInf), {3}, {kInf, 1, 2});
  check(pad(ints({1}), {1}, {1}, 7), {3}, {7, 1, 7});
  check(pad(zeros({0}), {1}, {1}, 2), {2}, {2, 2});
  check(pad(tensor({0}, bool_), {1}, {1}, 1), {3}, {1, 0, 1});
  check(pad(tensor({1}, bool_), {1}, {1}), {3}, {0, 1, 0});
  CHECK(pad(x, {0, 0}, {0, 0}, 3).is_same(x));
  CHECK_THROWS_AS(pad(x, {1}, {1}), ShapeError);
  CHECK_THROWS_AS(pad(x, {-1, 0}, {0, 0}), ValueError);

  check_derivatives([](const Tensor& x) { return concat(std::vector{x, sin(x), count({2, 1})}, 1); }, sample({2, 2}));
  check_derivatives([](const Tensor& x) { return split(x, 2, 1)[1] * split(x, 2, 1)[0]; }, sample({2, 4}));
  check_derivatives([](const Tensor& x) { return pad(x, {1, 0}, {0, 2}, 5); }, sample({2, 2}));
}

TEST_CASE("concat of many operands asks only for the wanted gradients") {
  std::vector<Tensor> xs;
  for (int i = 0; i < 40; ++i) xs.push_back(full({i % 3}, i, float64));
  const Function f = [](const TensorList& x) { return TensorList{square(concat(x))}; };
  const Gradients g = gradients(f, xs, {35, 38});
  check(g.inputs[0], {2}, {70, 70});
  check(g.inputs[1], {2}, {76, 76});
}

TEST_CASE("diagonals and triangles") {
  const Tensor x = count({2, 3});
  check(diagonal(x), {2}, {0, 4});
  check(diagonal(x, 1), {2}, {1, 5});
  check(diagonal(x, -1), {1}, {3});
  check(diagonal(x, 9), {0}, {});
  check(diagonal(x, std::numeric_limits<std::int64_t>::min()), {0}, {});
  check(diagonal(count({2, 2, 2})), {2, 2}, {0, 6, 1, 7});
  check(diagonal(count({2, 2, 2}), 0, -1, -2), {2, 2}, {0, 3, 4, 7});
  CHECK_THROWS_AS(diagonal(tensor({1})), ShapeError);
  CHECK_THROWS_AS(diagonal(x, 0, 0, -2), ValueError);
  check(diag_embed(tensor({1, 2})), {2, 2}, {1, 0, 0, 2});
  check(diag_embed(count({2, 1}) + 1, -1), {2, 2, 2}, {0, 0, 1, 0, 0, 0, 2, 0});
  CHECK_THROWS_AS(diag_embed(scalar(1)), ShapeError);
  check(diag(tensor({1, 2}), 1), {3, 3}, {0, 1, 0, 0, 0, 2, 0, 0, 0});
  check(diag(x), {2}, {0, 4});
  check(diag(zeros({0})), {0, 0}, {});
  CHECK_THROWS_AS(diag(scalar(1)), ShapeError);
  check(trace(x), {}, {4});
  check(trace(count({2, 2, 2})), {2}, {6, 8});
  CHECK(trace(count({2, 2}, int64)).dtype() == int64);

  check(tril(count({3, 3}) + 1), {3, 3}, {1, 0, 0, 4, 5, 0, 7, 8, 9});
  check(triu(count({3, 3}) + 1), {3, 3}, {1, 2, 3, 0, 5, 6, 0, 0, 9});
  check(tril(x, 1), {2, 3}, {0, 1, 0, 3, 4, 5});
  check(triu(x, 2), {2, 3}, {0, 0, 2, 0, 0, 0});
  check(tril(count({2, 2, 2}) + 1, -1), {2, 2, 2}, {0, 0, 3, 0, 0, 0, 7, 0});
  check(tril(full({2, 2}, kNaN), -5), {2, 2}, {0, 0, 0, 0});
  CHECK(tril(x, 2).is_same(x));
  CHECK(triu(x, -1).is_same(x));
  check(triu(zeros({0, 2})), {0, 2}, {});
  CHECK_THROWS_AS(tril(tensor({1})), ShapeError);

  check_derivatives([](const Tensor& x) { return diagonal(x, 1, 2, 0); }, sample({3, 2, 2}));
  check_derivatives([](const Tensor& x) { return diag_embed(x, -1); }, sample({2, 2}));
  check_derivatives([](const Tensor& x) { return tril(x, 1) * triu(x); }, sample({3, 3}));
  check_derivatives([](const Tensor& x) { return trace(x) * x; }, sample({2, 2}));
}

TEST_CASE("gather and take") {
  const Tensor x = count({3, 4});
  const Tensor rows = ints({2, 0, -1}), cols = tensor({1, -1, 0}, int32);
  check(gather_nd(x, std::vector{rows}, {0}), {3, 4}, {8, 9, 10, 11, 0, 1, 2, 3, 8, 9, 10, 11});
  check(gather_nd(x, std::vector{rows, cols}, {0, 1}), {3}, {9, 3, 8});
  check(gather_nd(x, std::vector{cols, rows}, {1, 0}), {3}, {9, 3, 8});
  check(gather_nd(x, std::vector{reshape(rows, {3, 1}), ints({0, 1})}, {0, 1}), {3, 2}, {8, 9, 0, 1, 8, 9});
  check(gather_nd(x, std::vector{scalar(1, int64)}, {-1}), {3}, {1, 5, 9});
  check(gather_nd(transpose(x), std::vector{scalar(1, int64)}, {0}), {3}, {1, 5, 9});
  check(gather_nd(x, std::vector{zeros({0}, int64)}, {0}), {0, 4}, {});
  CHECK_THROWS_AS(gather_nd(x, std::vector{tensor({1})}, {0}), DTypeError);
  CHECK_THROWS_AS(gather_nd(x, std::vector{tensor({1}, bool_)}, {0}), DTypeError);
  CHECK_THROWS_AS(gather_nd(x, std::vector{rows}, {0, 1}), ValueError);
  CHECK_THROWS_AS(gather_nd(x, std::vector<Tensor>{}, {}), ValueError);
  CHECK_THROWS_AS(gather_nd(x, std::vector{rows, rows}, {0, 0}), ValueError);
  CHECK_THROWS_AS(gather_nd(x, std::vector{rows, ints({1, 2})}, {0, 1}), ShapeError);
  CHECK_THROWS_AS(gather_nd(x, std::vector{ints({3})}, {0}), IndexError);
  CHECK_THROWS_AS(gather_nd(x, std::vector{ints({-4})}, {0}), IndexError);
  CHECK_THROWS_AS(gather_nd(x, std::vector{rows}, {2}), IndexError);
  CHECK_THROWS_AS(gather_nd(zeros({0, 2}), std::vector{ints({0})}, {0}), IndexError);
  CHECK_THROWS_AS(take(count(kEight), zeros({1, 1}, int64)), ShapeError);

  check(take(x, ints({1, 1}), 1), {3, 2}, {1, 1, 5, 5, 9, 9});
  check(take(count({2, 2, 2}), reshape(ints({0, 1, 1, 0}), {2, 2}), 1), {2, 2, 2, 2},
        {0, 1, 2, 3, 2, 3, 0, 1, 4, 5, 6, 7, 6, 7, 4, 5});
  check(take(x, scalar(-1, int64), 1), {3}, {3, 7, 11});

  check(gather(x, 1, reshape(ints({0, 3, 2, 1}), {2, 2})), {2, 2}, {0, 3, 6, 5});
  check(gather(x, 0, reshape(ints({2, 0}), {1, 2})), {1, 2}, {8, 1});
  check(gather(count({3}), 0, ints({2, 2, 0, 1})), {4}, {2, 2, 0, 1});
  CHECK_THROWS_AS(gather(x, 0, ints({0})), ShapeError);
  CHECK_THROWS_AS(gather(x, 0, zeros({1, 5}, int64)), ShapeError);

  check_derivatives([=](const Tensor& x) { return gather_nd(x, std::vector{rows, cols}, {0, 2}); }, sample({3, 2, 2}));
  check_derivatives([=](const Tensor& x) { return take(x, ints({1, 0, 1}), 1); }, sample({2, 2}));
  check_derivatives([=](const Tensor& x) { return gather(x, 1, reshape(ints({1, 1, 0}), {3, 1})); }, sample({3, 2}));
}

TEST_CASE("scatter") {
  const Tensor x = count({3, 2});
  const Tensor twice = ints({0, 2, 0});
  const std::vector rows{twice};
  check(scatter_set(x, rows, {0}, count({3, 2}) + 10), {3, 2}, {14, 15, 2, 3, 12, 13});  // the last write stays
  check(scatter_add_nd(x, rows, {0}, count({3, 2}) + 10), {3, 2}, {24, 27, 2, 3, 16, 18});
  check(scatter_set(x, std::vector{ints({-1}), ints({0})}, {0, 1}, scalar(9, float64)), {3, 2}, {0, 1, 2, 3, 9, 5});
  check(scatter_set(x, std::vector{ints({0})}, {1}, tensor({7, 8, 9}, float64)), {3, 2}, {7, 1, 8, 3, 9, 5});
  check(scatter_add_nd(full({2}, 1), std::vector{zeros({0}, int64)}, {0}, zeros({0})), {2}, {1, 1});
  CHECK(scatter_set(ints({1}), std::vector{ints({0})}, {0}, tensor({2})).dtype() == float32);
  CHECK(x.to_vector() == count({3, 2}).to_vector());
  CHECK_THROWS_AS(scatter_set(x, rows, {0}, zeros({4, 2})), ShapeError);
  CHECK_THROWS_AS(scatter_set(x, rows, {0}, zeros({1, 3, 2})), ShapeError);
  CHECK_THROWS_AS(scatter_add_nd(x, std::vector{ints({3})}, {0}, zeros({1, 2})), IndexError);

  const Tensor index = reshape(ints({0, 1, 0, 0}), {2, 2});
  check(scatter_add(zeros({3, 2}), 0, index, count({2, 2}) + 1), {3, 2}, {4, 4, 0, 2, 0, 0});
  check(scatter_add(zeros({2, 3}), 1, index, count({3, 4}) + 1), {2, 3}, {1, 2, 0, 11, 0, 0});  // src may be larger
  CHECK_THROWS_AS(scatter_add(zeros({3, 2}), 0, index, zeros({1, 2})), ShapeError);
  check(index_add(x, 1, ints({1, 1}), full({3, 2}, 1, float64)), {3, 2}, {0, 3, 2, 5, 4, 7});
  CHECK_THROWS_AS(index_add(x, 1, ints({1, 1}), zeros({3, 1})), ShapeError);
  CHECK_THROWS_AS(index_add(x, 1, scalar(1, int64), zeros({3, 1})), ShapeError);

  const Tensor other = sample({3, 2}) * 2;
  check_derivatives([=](const Tensor& t) { return scatter_set(t, rows, {0}, other) * other; }, sample({3, 2}));
  check_derivatives([=](const Tensor& t) { return scatter_set(other, rows, {0}, t); }, sample({3, 2}));
  check_derivatives([=](const Tensor& t) { return scatter_set(t, rows, {0}, sin(t)); }, sample({3, 2}));
  check_derivatives([=](const Tensor& t) { return scatter_set(other, rows, {0}, t); }, sample({}));
  check_derivatives(
      [=](const Tensor& t) { return scatter_set(t, std::vector{scalar(1, int64)}, {0}, exp(scalar(1, float64))); },
      sample({3, 2}));
  check_derivatives([=](const Tensor& t) { return scatter_add_nd(t, rows, {0}, cos(t)); }, sample({3, 2}));
  check_derivatives([=](const Tensor& t) { return scatter_add_nd(other, rows, {0}, t); }, sample({2}));
  check_derivatives([=](const Tensor& t) { return scatter_add(t, 0, index, square(t)); }, sample({3, 2}));
  check_derivatives([=](const Tensor& t) { return index_add(t, 1, ints({1, 1}), t); }, sample({3, 2}));
}

TEST_CASE("nonzero") {
  const auto at = nonzero(tensor(std::vector<double>{0, 2, 0, -1, 0, kNaN}, {2, 3}));
  REQUIRE(at.size() == 2);
  check(at[0], {3}, {0, 1, 1});
  check(at[1], {3}, {1, 0, 2});
  CHECK(at[0].dtype() == int64);
  check(nonzero(tensor({0, 1, 1}, bool_))[0], {2}, {1, 2});
  check(nonzero(zeros({2, 0}))[1], {0}, {});
  CHECK(nonzero(count(kEight)).size() == 8);
  CHECK_THROWS_AS(nonzero(scalar(1)), ShapeError);
}

TEST_CASE("creation") {
  check(full({2, 2}, 3), {2, 2}, {3, 3, 3, 3});
  check(full({}, -1, int32), {}, {-1});
  check(full({0, 3}, 1), {0, 3}, {});
  CHECK_THROWS_AS(full({-1}, 0), ValueError);
  CHECK_THROWS_AS(full({std::int64_t{1} << 40, std::int64_t{1} << 40}, 0), ValueError);
  check(arange(0, 3), {3}, {0, 1, 2});
  check(arange(1, 2, 0.4), {3}, {1, 1.4, 1.8});
  check(arange(3, 0, -1, int32), {3}, {3, 2, 1});
  check(arange(0, 2.5, 1, int64), {3}, {0, 1, 2});
  check(arange(3, 0), {0}, {});
  CHECK_THROWS_AS(arange(0, 1, 0), ValueError);
  CHECK_THROWS_AS(arange(0, kInf), ValueError);
  CHECK_THROWS_AS(arange(0, kNaN), ValueError);
  CHECK_THROWS_AS(arange(0, 1, 1e-300), ValueError);
  CHECK_THROWS_AS(arange(0, 1, 0.5, int64), ValueError);
  CHECK_THROWS_AS(arange(0, 1, 1, bool_), DTypeError);
  check(linspace(0, 1, 5), {5}, {0, 0.25, 0.5, 0.75, 1});
  check(linspace(2, 3, 1), {1}, {2});
  check(linspace(2, 3, 0), {0}, {});
  for (int n = 2; n < 200; ++n) CHECK(linspace(0.1, 0.7, n, float64).to_vector().back() == 0.7);
  CHECK(std::isfinite(linspace(-1.7e308, 1.7e308, 3, float64).to_vector()[1]));
  CHECK_THROWS_AS(linspace(0, 1, -1), ValueError);
  CHECK_THROWS_AS(linspace(0, kInf, 2), ValueError);
  CHECK_THROWS_AS(linspace(0, 1, 2, int32), DTypeError);
  check(eye(2), {2, 2}, {1, 0, 0, 1});
  check(eye(2, 3, 1, int64), {2, 3}, {0, 1, 0, 0, 0, 1});
  check(eye(2, 2, 5, bool_), {2, 2}, {0, 0, 0, 0});
  check(eye(0), {0, 0}, {});
  CHECK_THROWS_AS(eye(-1), ValueError);
  CHECK_THROWS_AS(eye(1, -2), ValueError);

  const std::vector<double> u = uniform({1000}, 7, float64).to_vector();
  CHECK(u == uniform({1000}, 7, float64).to_vector());
  CHECK(u != uniform({1000}, 8, float64).to_vector());
  CHECK(std::all_of(u.begin(), u.end(), [](double x) { return x >= 0 && x < 1; }));
  const Tensor normal = standard_normal({100, 100}, 1);
  CHECK(std::abs(mean(normal).item()) < 0.05);
  CHECK(std::abs(mean(square(normal)).item() - 1) < 0.05);
  CHECK(uniform({}, 1).ndim() == 0);
  check(uniform({2, 0}, 1), {2, 0}, {});
  CHECK_THROWS_AS(uniform({-1}, 0), ValueError);
  CHECK_THROWS_AS(standard_normal({1}, 0, int32), DTypeError);
}

TEST_CASE("cast and stop_gradient") {
  const Tensor x = tensor({-1.5, 0, 2.7}, float64);
  CHECK(cast(x, float64).is_same(x));
  check(cast(x, int32), {3}, {-1, 0, 2});
  check(cast(x, bool_), {3}, {1, 0, 1});
  CHECK(cast(x, float32).dtype() == float32);
  const auto through = [](DType t) { return [t](const Tensor& x) { return cast(square(cast(x, t)), float64); }; };
  check(grad(through(float32))(x), {3}, {-3, 0, 5.4});
  CHECK(grad(through(float32))(x).dtype() == float64);
  check(grad(through(int64))(x), {3}, {0, 0, 0});
  check(jvp(detail::as_function(through(float32)), {x}, {ones_like(x)}).second[0], {3}, {-3, 0, 5.4});
  check(jvp(detail::as_function(through(int64)), {x}, {ones_like(x)}).second[0], {3}, {0, 0, 0});

  const auto f = [](const Tensor& x) { return x * stop_gradient(x) + stop_gradient(square(x)); };
  check(stop_gradient(x), {3}, {-1.5, 0, 2.7});
  check(grad(f)(x), {3}, {-1.5, 0, 2.7});
  check(jvp(detail::as_function(f), {x}, {ones_like(x)}).second[0], {3}, {-1.5, 0, 2.7});
  check(grad(grad(f))(x), {3}, {0, 0, 0});
  check(diag(jacfwd(grad(f))(x)), {3}, {0, 0, 0});
  check(diag(jacfwd(jacfwd(f))(index(x, 2)) * ones({1, 1})), {1}, {0});
}

TEST_CASE("where and clip") {
  const Tensor c = tensor({1, 0, 1}, bool_), x = tensor({1, 2, 3}, float64);
  check(where(c, x, scalar(9, float64)), {3}, {1, 9, 3});
  check(where(reshape(c, {3, 1}), x, -x), {3, 3}, {1, 2, 3, -1, -2, -3, 1, 2, 3});
  check(where(tensor({-2, 0, 5}), x, x * 10), {3}, {1, 20, 3});  // any dtype: not 0
  CHECK(where(c, tensor({1}, int32), tensor({2})).dtype() == float32);
  check(where(full({0, 1}, 1, bool_), x, x), {0, 3}, {});
  CHECK_THROWS_AS(where(c, x, tensor({1, 2})), ShapeError);
  check_derivatives([=](const Tensor& t) { return where(c, t, sin(reshape(t, {3, 1}))); }, sample({3}));
  check_derivatives([=](const Tensor& t) { return where(reshape(c, {3, 1}), x, t); }, sample({}));
  check_derivatives([=](const Tensor& t) { return where(c, t, x); }, sample({1}));
  // What is not chosen has derivative 0, whatever it is.
  const auto safe = [](const Tensor& t) { return where(greater(t, 0), t, scalar(0, float64)) * 2; };
  check(grad(safe)(tensor({kNaN, -kInf, 1}, float64)), {3}, {0, 0, 2});
  check(jvp(detail::as_function(safe), {x - 2}, {tensor({kInf, kNaN, 1}, float64)}).second[0], {3}, {0, 0, 2});

  const Tensor lo = scalar(0, float64), hi = scalar(1, float64), none;
  const Tensor v = tensor({-1, 0, 0.5, 1, 2, kNaN}, float64);
  check(clip(v, lo, hi), {6}, {0, 0, 0.5, 1, 1, kNaN});
  check(clip(v, none, hi), {6}, {-1, 0, 0.5, 1, 1, kNaN});
  check(clip(v, lo, none), {6}, {0, 0, 0.5, 1, 2, kNaN});
  CHECK(clip(v, none, none).is_same(v));
  check(clip(x, scalar(kNaN, float64), none), {3}, {kNaN, kNaN, kNaN});
  check(clip(ints({-5, 5}), scalar(-2, int64), scalar(2, int64)), {2}, {-2, 2});
  check(clip(x, hi, lo), {3}, {0, 0, 0});  // the upper bound wins, as in NumPy
  check(grad([=](const Tensor& t) { return clip(t, lo, hi); })(v), {6}, {0, 1, 1, 1, 0, 1});
  check(grad([=](const Tensor& t) { return clip(v, t, none); })(lo), {}, {1});
  check_derivatives([=](const Tensor& t) { return clip(t, scalar(-0.5, float64), square(t)); }, sample({2, 3}));
}
