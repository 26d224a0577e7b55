// Rules of the user's and linear parts through the C++ interface.
#include <doctest/doctest.h>

#include <cmath>

#include "evolute/evolute.h"

using namespace evolute;

namespace {

Tensor sine(const Tensor& x) { return mul(sin(x), x); }

// Three times the derivative of x².
auto tripled() {
  return custom_vjp([](const Tensor& x) { return mul(x, x); },
                    [](const TensorList& x) { return std::pair{TensorList{mul(x[0], x[0])}, x}; },
                    [](const TensorList& residuals, const TensorList& g) {
                      return TensorList{mul(g[0], mul(residuals[0], scalar(6, float64)))};
                    });
}

}  // namespace

TEST_CASE("custom_vjp gives derivatives in both modes and to higher order") {
  const Tensor x = tensor({2.0}, float64);
  const auto f = [](const Tensor& x) { return tripled()(x)[0]; };
  CHECK(f(x).item() == 4);
  CHECK(grad(f)(x).item() == 12);
  CHECK(grad(grad(f))(x).item() == 6);
  CHECK(jvp([&](const TensorList& in) { return TensorList{f(in[0])}; }, {x}, {x}).second[0].item() == 24);
  CHECK(vmap(grad(f))(tensor({2.0, 3.0}, float64)).to_vector() == std::vector<double>{12, 18});
}

TEST_CASE("custom_jvp is transposed for reverse mode") {
  const Tensor x = tensor({2.0}, float64);
  const auto f = [](const Tensor& x) {
    return custom_jvp([](const Tensor& x) { return mul(x, x); },
                      [](const TensorList& x, const TensorList& t) {
                        return TensorList{mul(t[0], mul(x[0], scalar(6, float64)))};
                      })(x)[0];
  };
  CHECK(grad(f)(x).item() == 12);
  CHECK(grad(grad(f))(x).item() == 6);
}

TEST_CASE("rules give as many derivatives as they must") {
  const auto f =
      custom_vjp([](const Tensor& x) { return x; }, [](const TensorList& x) { return std::pair{x, TensorList{}}; },
                 [](const TensorList&, const TensorList& g) { return TensorList{g[0], g[0]}; });
  CHECK_THROWS_WITH_AS(grad([&](const Tensor& x) { return f(x)[0]; })(tensor({1.0}, float64)),
                       doctest::Contains("gave 2 gradients for 1 inputs"), ValueError);
}

TEST_CASE("linearize and linear_transpose") {
  const Tensor x = tensor({0.5, 1.5}, float64), t = tensor({1.0, -2.0}, float64);
  const Function f = [](const TensorList& in) { return TensorList{sine(in[0])}; };
  const Linearized l = linearize(f, {x});
  const auto want = jvp(f, {x}, {t});
  CHECK(l.outputs[0].to_vector() == want.first[0].to_vector());
  for (int i = 0; i < 2; ++i) {
    const Tensor got = l.derivative({t})[0];
    for (int k = 0; k < 2; ++k)
      CHECK(got.to_vector()[k] == doctest::Approx(want.second[0].to_vector()[k]).epsilon(1e-14));
  }
  const Tensor pulled = linear_transpose(l.derivative, {x})({t})[0];
  CHECK(pulled.to_vector()[1] == doctest::Approx(want.second[0].to_vector()[1]).epsilon(1e-14));
  CHECK_THROWS_AS(linear_transpose(f, {x}), ValueError);
}
