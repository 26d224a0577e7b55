// Taylor mode and the Laplacian from C++, and what their levels keep symbolic.
#include <doctest/doctest.h>

#include <cmath>

#include "autodiff/jet.h"
#include "evolute/evolute.h"

using namespace evolute;

namespace {

Tensor num(double x) { return scalar(x, float64); }

}  // namespace

TEST_CASE("jet gives the derivatives along a curve") {
  // x(t) = 2 + t + t²/2, so (x²)' = 2 x x' and so on.
  const auto [values, derivatives] =
      jet([](const TensorList& x) { return TensorList{x[0] * x[0]}; }, {num(2)}, {{num(1), num(1), Tensor()}});
  CHECK(values[0].item() == 4);
  CHECK(derivatives[0][0].item() == 4);
  CHECK(derivatives[0][1].item() == 6);
  CHECK(derivatives[0][2].item() == 6);
}

TEST_CASE("derivative is that of an elementwise function") {
  const auto sixth = derivative([](const Tensor& x) { return sin(x) * 2; }, 6);
  const auto got = sixth(tensor({0.5, 1.0}, float64)).to_vector();
  CHECK(got[0] == doctest::Approx(-2 * std::sin(0.5)).epsilon(1e-14));
  CHECK(got[1] == doctest::Approx(-2 * std::sin(1.0)).epsilon(1e-14));
  CHECK(grad(derivative([](const Tensor& x) { return exp(x * x); }, 2))(num(0)).item() == 0);
}

TEST_CASE("zero coefficients stay symbolic") {
  const auto level = make_ref<Jet>(4);
  LevelScope scope(*level);
  const Tensor line = level->trace(num(3), num(1));
  const Tensor square = evolute::square(line);
  const auto c = level->series(square);
  REQUIRE(c.size() == 4);
  CHECK(c[0].item() == 6);
  CHECK(c[1].item() == 1);
  CHECK(!c[2].defined());
  CHECK(!c[3].defined());
  CHECK(level->series(num(1)).empty());
}

TEST_CASE("laplacian sums second derivatives") {
  const auto f = [](const Tensor& x) { return sum(x * x * x); };
  CHECK(laplacian(f)(tensor({1.0, 2.0}, float64)).item() == 18);
  const LaplacianResult r = laplacian_at([&](const TensorList& x) { return TensorList{f(x[0])}; },
                                         tensor({1.0, 2.0}, float64), reshape(tensor({0.0, 2.0}, float64), {1, 2}));
  CHECK(r.values[0].item() == 9);
  CHECK(r.slopes[0].to_vector() == std::vector<double>{24});
  CHECK(r.laplacians[0].item() == 48);
}

TEST_CASE("bad input to Taylor mode") {
  const Function f = [](const TensorList& x) { return x; };
  CHECK_THROWS_AS(jet(f, {num(1)}, {}), ValueError);
  CHECK_THROWS_AS(jet(f, {num(1)}, {{}}), ValueError);
  CHECK_THROWS_AS(jet(f, {num(1)}, {{tensor({1.0, 2.0}, float64)}}), ShapeError);
  CHECK_THROWS_AS(derivative([](const Tensor& x) { return x; }, 0)(num(1)), ValueError);
  CHECK_THROWS_AS(laplacian_at(f, tensor({1.0, 2.0}, float64), tensor({1.0}, float64)), ShapeError);
}
