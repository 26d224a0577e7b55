// Matrix products, einsum, reductions and dense linear algebra: values against plain loops, derivatives of all orders
// against central differences.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "evolute/autodiff.h"
#include "evolute/ops.h"

using namespace evolute;

namespace {

using Map = std::function<Tensor(const Tensor&)>;
constexpr double kInf = std::numeric_limits<double>::infinity();

Tensor random(const Shape& shape, std::uint64_t seed, DType dtype = float64) {
  return 2.0 * uniform(shape, seed, dtype) - 1.0;
}
Tensor matrix(std::initializer_list<double> values, std::int64_t rows, std::int64_t cols) {
  return tensor(std::span(values.begin(), values.size()), {rows, cols}, float64);
}
Tensor einsum(std::string_view equation, std::initializer_list<Tensor> operands) {
  return evolute::einsum(equation, std::span(operands.begin(), operands.size()));
}

// Largest difference of elements over the largest element; NaN and infinities must agree.
double distance(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  const auto x = a.to_vector(), y = b.to_vector();
  double size = 1, worst = 0;
  for (double v : y)
    if (std::isfinite(v)) size = std::max(size, std::abs(v));
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (x[i] == y[i] || (std::isnan(x[i]) && std::isnan(y[i]))) continue;
    const double d = std::abs(x[i] - y[i]) / size;
    worst = std::isnan(d) ? kInf : std::max(worst, d);
  }
  return worst;
}
void check_close(const Tensor& a, const Tensor& b, double tolerance = 1e-12) { CHECK(distance(a, b) < tolerance); }

// Checks reverse and forward derivatives of f at x against central differences, then those of its derivatives in both
// modes, up to `order`.
void check_derivatives(const Map& f, const Tensor& x, int order, double tolerance = 1e-7, std::uint64_t seed = 1) {
  if (order == 0) return;
  const Tensor w = random(f(x).shape(), 2 * seed), v = random(x.shape(), 2 * seed + 1);
  const Map value = [=](const Tensor& t) { return sum(f(t) * w); };
  const double h = 1e-3;
  const auto step = [&](double s) { return value(x + s * h * v).item(); };
  const double expected = (8 * (step(1) - step(-1)) - (step(2) - step(-2))) / (12 * h);

  const Map reverse = [=](const Tensor& t) { return grad(value)(t); };
  const Map forward = [=](const Tensor& t) {
    return jvp([=](const TensorList& l) { return TensorList{f(l[0])}; }, {t}, {v}).second[0];
  };
  INFO("order ", order, " from the top");
  CHECK(sum(reverse(x) * v).item() == doctest::Approx(expected).epsilon(tolerance));
  CHECK(sum(forward(x) * w).item() == doctest::Approx(expected).epsilon(tolerance));
  check_derivatives(reverse, x, order - 1, tolerance, seed + 10);
  check_derivatives(forward, x, order - 1, tolerance, seed + 20);
}

// a b for matrices, element by element.
Tensor plain_matmul(const Tensor& a, const Tensor& b) {
  const std::int64_t m = a.shape(0), k = a.shape(1), n = b.shape(1);
  const auto x = a.to_vector(), y = b.to_vector();
  std::vector<double> z(m * n, 0.0);
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t p = 0; p < k; ++p)
      for (std::int64_t j = 0; j < n; ++j) z[i * n + j] += x[i * k + p] * y[p * n + j];
  return tensor(z, {m, n}, a.dtype());
}

Tensor positive_definite(std::int64_t n, std::uint64_t seed) {
  const Tensor a = random({n, n}, seed);
  return matmul(a, a, false, true) + eye(n, n, 0, float64);
}

}  // namespace

// ---- products -------------------------------------------------------------------------------------------------------

TEST_CASE("matmul agrees with plain loops for all sizes, strides and dtypes") {
  const std::int64_t sizes[][3] = {{1, 1, 1},       {3, 3, 3},  {16, 16, 16}, {17, 5, 33}, {1, 300, 200},
                                   {300, 1, 200},   {64, 1, 1}, {200, 7, 3},  {50, 40, 0}, {150, 1030, 9},
                                   {161, 130, 300}, {2, 2, 2},  {5, 4, 9},    {6, 2, 11},  {7, 64, 600}};
  for (const auto& [m, n, k] : sizes)
    for (DType t : {float32, float64, int32, int64}) {
      INFO("m n k ", cat(m, ' ', n, ' ', k, ' ', name_of(t)));
      const Tensor a = cast(floor(random({m, k}, 1) * 100), t), b = cast(floor(random({k, n}, 2) * 100), t);
      const Tensor expected = plain_matmul(a, b);
      CHECK(matmul(a, b).dtype() == t);
      check_close(matmul(a, b), expected);
      const Tensor at = transpose(a), bt = transpose(b);
      check_close(matmul(at, b, true), expected);
      check_close(matmul(a, bt, false, true), expected);
      check_close(matmul(transpose(concat(std::vector{at}, 0)), transpose(concat(std::vector{bt}, 0))), expected);
      const Tensor sa = slice(stack(std::vector{a, a}, 2), 2, 0, 1), sb = slice(stack(std::vector{b, b}, 2), 2, 0, 1);
      check_close(matmul(squeeze(sa, Axes{2}), squeeze(sb, Axes{2})), expected);
    }
}

TEST_CASE("matmul broadcasts batch axes and takes vectors") {
  const Tensor a = random({2, 1, 3, 4}, 1), b = random({5, 4, 6}, 2), out = matmul(a, b);
  REQUIRE(out.shape() == Shape{2, 5, 3, 6});
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 5; ++j) check_close(index(index(out, i), j), plain_matmul(index(index(a, i), 0), index(b, j)));
  const Tensor v = random({4}, 3), m = random({4, 6}, 4);
  CHECK(matmul(v, v).shape() == Shape{});
  check_close(matmul(v, v), sum(v * v));
  check_close(matmul(v, b), sum(reshape(v, {4, 1}) * b, Axes{1}));
  check_close(matmul(a, v), sum(a * v, Axes{-1}));
  check_close(matmul(a, m), sum(expand_dims(a, -1) * m, Axes{-2}));
  check_close(matmul(broadcast_to(random({3, 4}, 5), {7, 3, 4}), m),
              matmul(random({3, 4}, 5), broadcast_to(m, {7, 4, 6})));
  check_close(matmul(random({9, 1, 4}, 6), broadcast_to(m, {9, 4, 6})), expand_dims(matmul(random({9, 4}, 6), m), 1));
}

TEST_CASE("matmul, dot and outer: shapes and errors") {
  CHECK(dot(random({2, 3, 4}, 1), random({5, 4, 6}, 2)).shape() == Shape{2, 3, 5, 6});
  check_close(dot(random({2, 4}, 1), random({4}, 2)), matmul(random({2, 4}, 1), random({4}, 2)));
  check_close(dot(scalar(2, float64), random({4}, 2)), 2.0 * random({4}, 2));
  check_close(index(index(dot(random({2, 4}, 1), random({5, 4, 6}, 2)), 1), 3),
              matmul(index(random({2, 4}, 1), 1), index(random({5, 4, 6}, 2), 3)));
  CHECK(outer(random({2}, 1), random({3}, 2)).shape() == Shape{2, 3});
  CHECK_THROWS_WITH_AS(
      matmul(random({2, 3}, 1), random({2, 3}, 1)),
      "matmul: shapes (2, 3) and (2, 3) do not fit: the columns of the first (3) must be as many as the "
      "rows of the second (2)",
      ShapeError);
  CHECK_THROWS_AS(matmul(scalar(1), random({3}, 1)), ShapeError);
  CHECK_THROWS_AS(matmul(random({4, 2, 3}, 1), random({5, 3, 2}, 1)), ShapeError);
  CHECK_THROWS_AS(dot(random({2, 3}, 1), random({2}, 1)), ShapeError);
  CHECK(matmul(ones({2, 2}, bool_), ones({2, 2}, bool_)).dtype() == int64);
}

TEST_CASE("matmul's derivatives with every pair of flags, batched and broadcast") {
  for (bool ta : {false, true})
    for (bool tb : {false, true}) {
      const Tensor b = random(tb ? Shape{2, 4} : Shape{4, 2}, 3);
      check_derivatives([=](const Tensor& x) { return sin(matmul(x, b, ta, tb)); },
                        random(ta ? Shape{4, 3} : Shape{3, 4}, 4), 2);
      const Tensor a = random(ta ? Shape{2, 4, 3} : Shape{2, 3, 4}, 5);
      const Map f = [=](const Tensor& x) { return matmul(a, tanh(x), ta, tb) * matmul(a, x, ta, tb); };
      check_derivatives(f, random(tb ? Shape{2, 4} : Shape{4, 2}, 6), 2);
      check_derivatives(f, random(tb ? Shape{2, 2, 4} : Shape{2, 4, 2}, 7), 2);
    }
  check_derivatives([](const Tensor& x) { return matmul(x, sin(x)); }, random({3, 3}, 8), 3);
  check_derivatives([](const Tensor& x) { return dot(x, outer(x, exp(x))); }, random({3}, 9), 3);
}

// ---- einsum ---------------------------------------------------------------------------------------------------------

TEST_CASE("einsum agrees with the functions it stands for") {
  const Tensor a = random({3, 4}, 1), b = random({4, 5}, 2), s = random({4, 4}, 3), v = random({4}, 4);
  const Tensor x = random({2, 3, 4}, 5), y = random({2, 4, 5}, 6);
  check_close(einsum("ij,jk->ik", {a, b}), matmul(a, b));
  check_close(einsum("ij,jk", {a, b}), matmul(a, b));
  check_close(einsum("ij,jk->ki", {a, b}), transpose(matmul(a, b)));
  check_close(einsum("ji,kj->ik", {transpose(a), transpose(b)}), matmul(a, b));
  check_close(einsum("ba", {a}), transpose(a));
  check_close(einsum("ii", {s}), trace(s));
  check_close(einsum("ii->i", {s}), diagonal(s));
  check_close(einsum("ij->", {a}), sum(a));
  check_close(einsum("ij->j", {a}), sum(a, Axes{0}));
  check_close(einsum(" i , i -> i ", {v, v}), v * v);
  check_close(einsum("i,j", {v, v}), outer(v, v));
  check_close(einsum("i,i", {v, v}), sum(v * v));
  check_close(einsum("bij,bjk->bik", {x, y}), matmul(x, y));
  check_close(einsum("bij,bkj->bik", {x, swapaxes(y, 1, 2)}), matmul(x, y));
  check_close(einsum("bij,bjk->ijk", {x, y}), sum(expand_dims(x, -1) * expand_dims(y, 1), Axes{0}));
  check_close(einsum("...ij,...jk", {x, b}), matmul(x, b));
  check_close(einsum("...ij,...jk->...ki", {x, y}), swapaxes(matmul(x, y), 1, 2));
  check_close(einsum("i...,j->...", {x, v}), sum(x, Axes{0}) * sum(v));
  check_close(einsum("ij,jk,kl,l->i", {a, s, s, v}), matmul(a, matmul(s, matmul(s, v))));
  check_close(einsum("ijj,j->i", {diag_embed(a), v}), matmul(a, v));
  check_close(einsum("iij->j", {stack(std::vector{a, a, a}, 0)}), sum(a, Axes{0}));
  check_close(einsum("ij,jk->ik", {random({3, 1}, 7), b}), random({3, 1}, 7) * sum(b, Axes{0}));
  check_close(einsum("...,...", {random({3, 1}, 8), random({1, 4}, 9)}), random({3, 1}, 8) * random({1, 4}, 9));
  check_close(einsum("", {scalar(3, float64)}), scalar(3, float64));
  CHECK(einsum("ij,jk", {ones({2, 3}, int32), ones({3, 2}, float32)}).dtype() == float32);
}

TEST_CASE("einsum's errors") {
  const Tensor a = random({3, 4}, 1);
  CHECK_THROWS_WITH_AS(einsum("ij,jk", {a}), "einsum: in \"ij,jk\": there are 2 terms for 1 operands", ValueError);
  CHECK_THROWS_WITH_AS(einsum("ijk", {a}), "einsum: in \"ijk\": term 0 names 3 axes, but operand 0 has shape (3, 4)",
                       ValueError);
  CHECK_THROWS_WITH_AS(einsum("ij->ik", {a}), "einsum: in \"ij->ik\": the output index 'k' is in no operand",
                       ValueError);
  CHECK_THROWS_WITH_AS(einsum("ij->ii", {a}), "einsum: in \"ij->ii\": the output has index 'i' twice", ValueError);
  CHECK_THROWS_AS(einsum("ij,jk", {a, a}), ShapeError);
  CHECK_THROWS_WITH_AS(
      einsum("ii", {a}),
      "einsum: in \"ii\": index 'i' has lengths 3 and 4 in one operand, of shape (3, 4); a diagonal needs "
      "equal lengths",
      ShapeError);
  CHECK_THROWS_AS(einsum("i.j", {a}), ValueError);
  CHECK_THROWS_AS(einsum("i1", {a}), ValueError);
  CHECK_THROWS_AS(einsum("...i->i", {a}), ValueError);
  CHECK_THROWS_AS(einsum("ij->i->j", {a}), ValueError);
}

TEST_CASE("einsum's derivatives") {
  const Tensor b = random({4, 3}, 1);
  check_derivatives([=](const Tensor& x) { return einsum("ij,jk,kl->il", {x, b, sin(x)}); }, random({3, 4}, 2), 3);
  check_derivatives([=](const Tensor& x) { return einsum("bii,bjj,b...->...", {x, exp(x), x}); }, random({2, 3, 3}, 3),
                    2);
}

// ---- reductions -----------------------------------------------------------------------------------------------------

TEST_CASE("reductions: shapes, dtypes and empty operands") {
  const Tensor x = random({2, 3, 4}, 1);
  CHECK(sum(x, Axes{0, -1}).shape() == Shape{3});
  CHECK(sum(x, Axes{0, -1}, true).shape() == Shape{1, 3, 1});
  CHECK(max(x, {}, true).shape() == Shape{1, 1, 1});
  CHECK(sum(ones({3}, bool_)).dtype() == int64);
  CHECK(sum(ones({3}, int32)).dtype() == int64);
  CHECK(prod(ones({3}, bool_)).dtype() == int64);
  CHECK(mean(ones({3}, int32)).dtype() == float32);
  CHECK(mean(tensor({1, 2, 6}, int64)).item() == 3);
  CHECK(sum(zeros({0, 2})).item() == 0);
  CHECK(prod(zeros({0, 2})).item() == 1);
  CHECK(any(tensor({0, 2})).item() == 1);
  CHECK(all(tensor({0, 2})).item() == 0);
  CHECK(argmax(tensor({1, 3, 3, 0})).item() == 1);
  CHECK(argmin(x, 1).shape() == Shape{2, 4});
  CHECK(argmin(x, 1, true).shape() == Shape{2, 1, 4});
  CHECK(argmin(x, {}, true).shape() == Shape{1, 1, 1});
  check_close(cumsum(tensor({1, 2, 3}), 0), tensor({1, 3, 6}));
  check_close(cumsum(tensor({1, 2, 3}), 0, true), tensor({6, 5, 3}));
  CHECK_THROWS_AS(max(zeros({2, 0}), Axes{1}), ShapeError);
  CHECK_THROWS_AS(argmin(zeros({2, 0}), 1), ShapeError);
  CHECK_THROWS_AS(argmax(zeros({0})), ShapeError);
  CHECK_THROWS_AS(sum(x, Axes{3}), IndexError);
  CHECK_THROWS_AS(sum(x, Axes{1, -2}), ValueError);
}

TEST_CASE("derivatives of reductions") {
  const Tensor x = random({2, 3, 5}, 1);
  const Map fs[] = {[](const Tensor& t) { return sum(sin(t), Axes{0, 2}); },
                    [](const Tensor& t) { return mean(exp(t), Axes{1}, true); },
                    [](const Tensor& t) { return prod(t, Axes{0, 2}); },
                    [](const Tensor& t) { return prod(t); },
                    [](const Tensor& t) { return max(sin(t), Axes{1}) * min(t, Axes{1}); },
                    [](const Tensor& t) { return exp(cumsum(t * t, 1)) * cumsum(t, -1, true); },
                    [](const Tensor& t) { return norm(t, 2, Axes{2}); },
                    [](const Tensor& t) { return norm(t, 1, Axes{0}) * norm(t, 3, Axes{0}); },
                    [](const Tensor& t) { return norm(t, -1.5) * norm(t, kInf) * norm(t, -kInf); },
                    [](const Tensor& t) { return logsumexp(3.0 * t, Axes{0, 1}); },
                    [](const Tensor& t) { return softmax(t, 1); },
                    [](const Tensor& t) { return log_softmax(t * t); }};
  for (const Map& f : fs) check_derivatives(f, x, 2, 1e-6);
  check_derivatives([](const Tensor& t) { return prod(t, Axes{1}); }, random({2, 7}, 2), 4, 1e-6);
}

TEST_CASE("prod's derivatives are right with zeros") {
  const Tensor one = tensor({2, 0, 3, 4, 5}, float64), two = tensor({2, 0, 3, 0, 5}, float64);
  const Map f = [](const Tensor& t) { return prod(t); };
  check_close(grad(f)(one), tensor({0, 120, 0, 0, 0}, float64));
  check_close(grad(f)(two), zeros({5}, float64));
  const Tensor h = hessian(f)(two);
  CHECK(index(index(h, 1), 3).item() == 30);
  CHECK(sum(abs(h)).item() == 60);
  check_derivatives(f, two, 3);
  check_close(grad(f)(tensor({7}, float64)), tensor({1}, float64));
}

TEST_CASE("ties of max and min share the derivative") {
  const Tensor x = tensor({1, 3, 3, 0, 0, 0}, float64);
  check_close(grad([](const Tensor& t) { return max(t); })(x), tensor({0, 0.5, 0.5, 0, 0, 0}, float64));
  const double third = 1.0 / 3;
  check_close(grad([](const Tensor& t) { return min(t); })(x), tensor({0, 0, 0, third, third, third}, float64));
}

TEST_CASE("norm has derivative 0 at the zero vector, at every order") {
  const Tensor x = zeros({3}, float64), zero = zeros({3}, float64);
  for (double ord : {1.0, 1.5, 2.0, 3.0, 0.5, kInf, -kInf}) {
    CAPTURE(ord);
    const Map f = [=](const Tensor& t) { return norm(t, ord); };
    CHECK(f(x).item() == 0);
    check_close(grad(f)(x), zero);
    check_close(hessian(f)(x), zeros({3, 3}, float64));
    for (double v : hessian(f)(tensor({0, 2, 0}, float64)).to_vector()) CHECK(std::isfinite(v));
  }
  CHECK(norm(tensor({3, 0, 4}), 0).item() == 2);
  CHECK(norm(tensor({3, 0, 4}), -1).item() == 0);
  CHECK(norm(tensor({3, 4}, int64)).item() == 5);
}

TEST_CASE("logsumexp and softmax of infinities and large numbers") {
  const Map f = [](const Tensor& t) { return logsumexp(t, Axes{-1}); };
  CHECK(f(tensor({1000, 1000}, float64)).item() == doctest::Approx(1000 + std::log(2.0)));
  CHECK(f(tensor({-1e4, -1e4}, float64)).item() == doctest::Approx(-1e4 + std::log(2.0)));
  CHECK(f(tensor({-kInf, -kInf}, float64)).item() == -kInf);
  CHECK(f(tensor({-kInf, kInf}, float64)).item() == kInf);
  CHECK(f(tensor({-kInf, 2}, float64)).item() == 2);
  CHECK(std::isnan(f(tensor({std::nan(""), 2}, float64)).item()));
  CHECK(logsumexp(zeros({2, 0}), Axes{1}).shape() == Shape{2});
  check_close(grad(f)(tensor({-kInf, -kInf}, float64)), zeros({2}, float64));
  check_close(grad(f)(tensor({-kInf, 2}, float64)), tensor({0, 1}, float64));
  check_close(hessian(f)(tensor({-kInf, 2}, float64)), zeros({2, 2}, float64));
  check_close(softmax(tensor({-kInf, 1000}, float64)), tensor({0, 1}, float64));
  check_close(log_softmax(tensor({-kInf, 1000}, float64)), tensor({-kInf, 0}, float64));
}

// ---- linear algebra -------------------------------------------------------------------------------------------------

TEST_CASE("factorisations solve what they should, in all sizes") {
  for (std::int64_t n : {1, 2, 3, 7, 32, 33, 70, 150}) {
    CAPTURE(n);
    const Tensor a = random({n, n}, n), s = positive_definite(n, n), id = eye(n, n, 0, float64);
    const Tensor b = random({n, 5}, n + 1), wide = random({n, 131}, n + 2), v = random({n}, n + 3);
    const Tensor l = cholesky(s);
    check_close(matmul(l, l, false, true), s);
    check_close(l, tril(l));
    check_close(matmul(a, solve(a, b)), b, 1e-9);
    check_close(matmul(a, solve(a, wide)), wide, 1e-9);
    check_close(matmul(a, solve(a, v)), v, 1e-9);
    check_close(matmul(transpose(a), solve(transpose(a), b)), b, 1e-9);
    check_close(matmul(a, inv(a)), id, 1e-9);
    const auto [sign, log] = slogdet(a);
    const Tensor d = det(a);
    CHECK((sign * exp(log) - d).item() / d.item() == doctest::Approx(0).epsilon(1e-10));
    check_close(grad([](const Tensor& t) { return det(t); })(a) / d, transpose(inv(a)), 1e-8);
    for (bool transposed : {false, true})
      for (bool unit : {false, true}) {
        const Tensor lower = unit ? tril(a, -1) * (1.0 / n) + id : l;
        const Tensor full = lower + triu(random({n, n}, 9), 1) + (unit ? a * id : zeros_like(a));
        for (const Tensor& y : {b, wide, v}) {
          const Tensor x = solve_triangular(full, y, true, transposed, unit);
          check_close(matmul(transposed ? transpose(lower) : lower, x), y, 1e-9);
          const Tensor u = solve_triangular(transpose(full), y, false, transposed, unit);
          check_close(matmul(transposed ? lower : transpose(lower), u), y, 1e-9);
        }
      }
  }
}

TEST_CASE("linear algebra in float32, batched and broadcast") {
  const Tensor a = random({3, 1, 4, 4}, 1, float32) + 2.0 * eye(4), b = random({2, 4, 2}, 2, float32);
  const Tensor x = solve(a, b);
  CHECK(x.dtype() == float32);
  REQUIRE(x.shape() == Shape{3, 2, 4, 2});
  check_close(matmul(a, x), broadcast_to(b, {3, 2, 4, 2}), 1e-5);
  check_close(matmul(tril(a), solve_triangular(a, b)), broadcast_to(b, {3, 2, 4, 2}), 1e-5);
  CHECK(det(a).shape() == Shape{3, 1});
  const Tensor s = matmul(a, a, false, true), l = cholesky(s);
  check_close(matmul(l, l, false, true), s, 1e-5);
  check_close(index(index(l, 2), 0), cholesky(index(index(s, 2), 0)), 1e-6);
  CHECK(inv(cast(eye(2), int64)).dtype() == float32);
  CHECK(det(zeros({0, 0})).item() == 1);
  CHECK(slogdet(zeros({0, 0})).second.item() == 0);
  CHECK(solve(zeros({0, 0}), zeros({0, 3})).shape() == Shape{0, 3});
}

TEST_CASE("determinants neither overflow nor underflow on the way") {
  const std::int64_t n = 200;
  for (double scale : {1e-30, 1e30}) {
    const auto [sign, log] = slogdet(scale * eye(n, n, 0, float64));
    CHECK(sign.item() == 1);
    CHECK(log.item() == doctest::Approx(n * std::log(scale)));
  }
  const Tensor mixed = diag(concat(std::vector{full({100}, 1e30, float64), full({100}, 1e-30, float64)}));
  CHECK(det(mixed).item() == doctest::Approx(1));
  const auto [sign, log] = slogdet(matrix({0, 1, 1, 0}, 2, 2));
  CHECK(sign.item() == -1);
  CHECK(log.item() == doctest::Approx(0));
  CHECK(slogdet(matrix({1, 2, 2, 4}, 2, 2)).first.item() == 0);
  CHECK(slogdet(matrix({1, 2, 2, 4}, 2, 2)).second.item() == -kInf);
}

TEST_CASE("det's derivative is the cofactor matrix, at singular matrices too") {
  const Map d = grad([](const Tensor& a) { return det(a); });
  check_close(d(matrix({1, 2, 2, 4}, 2, 2)), matrix({4, -2, -2, 1}, 2, 2));
  check_close(d(matrix({0, 0, 0, 0}, 2, 2)), matrix({0, 0, 0, 0}, 2, 2));
  check_close(d(matrix({0, 1, 0, 0}, 2, 2)), matrix({0, 0, -1, 0}, 2, 2));
  check_close(d(matrix({7}, 1, 1)), matrix({1}, 1, 1));
  check_close(d(matrix({0}, 1, 1)), matrix({1}, 1, 1));
  check_close(d(matrix({1, 2, 3, 4, 5, 6, 7, 8, 9}, 3, 3)), matrix({-3, 6, -3, 6, -12, 6, -3, 6, -3}, 3, 3));
  check_close(d(matrix({1, 2, 3, 2, 4, 6, 3, 6, 9}, 3, 3)), zeros({3, 3}, float64));

  // Rank n − 1: cof(A) = adj(A)ᵀ from minors.
  for (std::int64_t n : {2, 3, 5, 8}) {
    const Tensor a = matmul(random({n, n - 1}, n), random({n - 1, n}, n + 1)), c = d(a);
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t j = 0; j < n; ++j) {
        const auto dropped = [&](const Tensor& t, int axis, std::int64_t k) {
          const Tensor parts[] = {slice(t, axis, 0, k), slice(t, axis, k + 1, n)};
          return concat(parts, axis);
        };
        const double minor = det(dropped(dropped(a, 0, i), 1, j)).item();
        CHECK(index(index(c, i), j).item() == doctest::Approx((i + j) % 2 ? -minor : minor).epsilon(1e-9));
      }
  }
}

TEST_CASE("second derivatives of det are right at singular matrices up to 3 x 3") {
  const Map f = [](const Tensor& a) { return det(a); };
  check_derivatives(f, matrix({1, 2, 2, 4}, 2, 2), 4);
  check_derivatives(f, matrix({1, 2, 3, 4, 5, 6, 7, 8, 9}, 3, 3), 4);
  check_derivatives(f, zeros({3, 3}, float64), 4);
}

TEST_CASE("derivatives of linear algebra, to third order") {
  const Tensor a = random({3, 3}, 1) + 2.0 * eye(3, 3, 0, float64), b = random({3, 2}, 2);
  check_derivatives([=](const Tensor& x) { return solve(x, b); }, a, 3, 1e-6);
  check_derivatives([=](const Tensor& x) { return solve(a, sin(x)); }, b, 3, 1e-6);
  check_derivatives([=](const Tensor& x) { return solve(x, matmul(x, x)); }, a, 2, 1e-6);
  check_derivatives([](const Tensor& x) { return inv(x); }, a, 3, 1e-6);
  check_derivatives([](const Tensor& x) { return det(x); }, random({4, 4}, 3), 3, 1e-6);
  check_derivatives([](const Tensor& x) { return slogdet(x).second; }, a, 3, 1e-6);
  check_derivatives([](const Tensor& x) { return cholesky(x + transpose(x)); }, positive_definite(3, 4), 3, 1e-6);
  for (bool lower : {false, true})
    for (bool transposed : {false, true})
      for (bool unit : {false, true}) {
        const auto f = [=](const Tensor& x) { return solve_triangular(x, b, lower, transposed, unit); };
        check_derivatives(f, a, 2, 1e-6);
        check_derivatives([=](const Tensor& y) { return f(y * y); }, a, 2, 1e-6);
      }
}

TEST_CASE("derivatives of linear algebra, batched and broadcast") {
  const Tensor one = random({3, 3}, 1) + 2.0 * eye(3, 3, 0, float64),
               many = stack(std::vector{one, one * 2.0, -one}, 0);
  const Tensor b = random({3, 2}, 2), bs = random({3, 3, 2}, 3);
  check_derivatives([=](const Tensor& x) { return solve(x, b); }, many, 2, 1e-6);
  check_derivatives([=](const Tensor& x) { return solve(x, bs); }, one, 2, 1e-6);
  check_derivatives([=](const Tensor& x) { return solve(many, x); }, b, 2, 1e-6);
  check_derivatives([=](const Tensor& x) { return solve_triangular(x, bs); }, one, 2, 1e-6);
  check_derivatives([=](const Tensor& x) { return solve_triangular(many, x, false); }, b, 2, 1e-6);
  check_derivatives([=](const Tensor& x) { return solve(x, random({3}, 5)); }, many, 2, 1e-6);
  check_derivatives([=](const Tensor& x) { return det(x) * slogdet(x).second; }, many, 2, 1e-6);
  check_derivatives([=](const Tensor& x) { return det(x); }, random({2, 5, 5}, 6), 2, 1e-6);
  check_derivatives([=](const Tensor& x) { return inv(x); }, many, 2, 1e-6);
  const Tensor s = stack(std::vector{positive_definite(3, 7), positive_definite(3, 8)}, 0);
  check_derivatives([](const Tensor& x) { return cholesky(x + swapaxes(x, 1, 2)); }, s, 2, 1e-6);
}

TEST_CASE("cholesky's gradient is symmetric, and NaN marks what is not positive definite") {
  const Tensor g = grad([](const Tensor& x) { return sum(sin(cholesky(x))); })(positive_definite(4, 1));
  check_close(g, transpose(g));
  const Tensor bad = cholesky(matrix({1, 2, 2, 1}, 2, 2));
  CHECK(std::isnan(bad.to_vector()[0]));
  CHECK(std::isnan(bad.to_vector()[3]));
}

TEST_CASE("linear algebra's errors name the function and the shapes") {
  CHECK_THROWS_WITH_AS(det(random({2, 3}, 1)), "det: needs square matrices of shape (…, n, n), got (2, 3)", ShapeError);
  CHECK_THROWS_WITH_AS(inv(random({2, 3}, 1)), "inv: needs square matrices of shape (…, n, n), got (2, 3)", ShapeError);
  CHECK_THROWS_AS(cholesky(random({3}, 1)), ShapeError);
  CHECK_THROWS_AS(slogdet(scalar(1)), ShapeError);
  CHECK_THROWS_AS(solve(random({2, 2}, 1), random({3, 1}, 1)), ShapeError);
  CHECK_THROWS_AS(solve(random({2, 2}, 1), random({3}, 1)), ShapeError);
  CHECK_THROWS_AS(solve_triangular(random({4, 2, 2}, 1), random({3, 2, 1}, 1)), ShapeError);
  const Tensor x = solve(matrix({1, 2, 2, 4}, 2, 2), tensor({1, 1}, float64));
  CHECK(!std::isfinite(x.to_vector()[0]));
}
