// Transforms over C++ functions: reverse and forward mode, nesting, variables, long chains, threads.
#include <doctest/doctest.h>

#include <cmath>
#include <stdexcept>
#include <thread>

#include "core/buffer.h"
#include "core/level.h"
#include "evolute/evolute.h"

using namespace evolute;

namespace {

using Map = std::function<Tensor(const Tensor&)>;

Map reverse(Map f) {
  return [f](const Tensor& x) {
    return gradients([&](const TensorList& in) { return TensorList{f(in[0])}; }, {x}, {0}).inputs[0];
  };
}
Map forward(Map f) {
  return [f](const Tensor& x) {
    return jvp([&](const TensorList& in) { return TensorList{f(in[0])}; }, {x}, {ones_like(x)}).second[0];
  };
}
Map nest(Map f, std::string_view modes) {
  for (auto m = modes.rbegin(); m != modes.rend(); ++m) f = *m == 'r' ? reverse(f) : forward(f);
  return f;
}

Tensor num(double v) { return scalar(v, float64); }

template <class E, class F>
std::string message(F&& f) {
  try {
    f();
  } catch (const E& e) {
    return e.what();
  }
  return "nothing thrown";
}

}  // namespace

TEST_CASE("gradients, Jacobians and Hessians of lambdas") {
  const Tensor x = tensor({1, 2, 3}, float64);
  CHECK(grad([](const Tensor& x) { return sum(pow(x, 3.0)); })(x).to_vector() == std::vector<double>{3, 12, 27});
  const auto f = [](const Tensor& x, const Tensor& y) { return sum(x * x * y); };
  CHECK(grad(f, 1)(x, x).to_vector() == std::vector<double>{1, 4, 9});
  CHECK(jacfwd([](const Tensor& x) { return x * x; })(x).to_vector() == std::vector<double>{2, 0, 0, 0, 4, 0, 0, 0, 6});
  CHECK(jacrev([](const Tensor& x) { return x * x; })(x).to_vector() == std::vector<double>{2, 0, 0, 0, 4, 0, 0, 0, 6});
  CHECK(hessian([](const Tensor& x) { return sum(x * x * x); })(x).to_vector() ==
        std::vector<double>{6, 0, 0, 0, 12, 0, 0, 0, 18});
  CHECK(jacrev([](const Tensor& x) { return slice(x, 0, 0, 0); })(x).shape() == Shape{0, 3});
  CHECK(jacfwd([](const Tensor& x) { return x * x; })(zeros({0, 2}, float64)).shape() == Shape{0, 2, 0, 2});
}

TEST_CASE("orders 1 to 5 in mixed modes") {
  // (x sin x)⁽ⁿ⁾ = x sin(x + nπ/2) + n sin(x + (n−1)π/2)
  const Map f = [](const Tensor& x) { return x * sin(x); };
  const double x = 0.7, half_pi = std::acos(0.0);
  for (const char* modes : {"r", "f", "rr", "rf", "fr", "ff", "rrr", "rfr", "fff", "rrrr", "frfr", "rrrrr", "ffrrf"}) {
    const auto n = static_cast<double>(std::string_view(modes).size());
    const double want = x * std::sin(x + n * half_pi) + n * std::sin(x + (n - 1) * half_pi);
    INFO(modes);
    CHECK(nest(f, modes)(num(x)).item() == doctest::Approx(want).epsilon(1e-13));
  }
}

TEST_CASE("perturbations of different levels are kept apart") {
  for (const auto& outer : {reverse, forward})
    for (const auto& inner : {reverse, forward}) {
      const Map f = outer([&](const Tensor& x) { return x * inner([&](const Tensor& y) { return x + y; })(num(1)); });
      CHECK(f(num(3)).item() == 1);
      const Map g =
          outer([&](const Tensor& x) { return x * x * inner([&](const Tensor& y) { return x * y * y; })(x); });
      CHECK(g(num(3)).item() == 8 * 27);
    }
}

TEST_CASE("pullbacks may be called again, later, and inside other transforms") {
  auto [outputs, pullback] =
      vjp([](const TensorList& in) { return TensorList{in[0] * in[1], in[0]}; }, {num(2), num(3)});
  CHECK(outputs[0].item() == 6);
  for (int i = 0; i < 2; ++i) {
    CHECK(pullback({num(1), num(0)})[0].item() == 3);
    CHECK(pullback({num(1), num(10)})[0].item() == 13);
    CHECK(pullback({Tensor(num(0)), num(0)})[1].item() == 0);
  }
  const Map square = [&](const Tensor& v) { return v * pullback({v, num(0)})[0]; };
  CHECK(reverse(square)(num(5)).item() == 30);
  CHECK(forward(square)(num(5)).item() == 30);
  CHECK_THROWS_AS(pullback({num(1)}), ValueError);
  CHECK_THROWS_AS(pullback({tensor({1, 2}), num(1)}), ShapeError);
}

TEST_CASE("what takes no part has gradient zero") {
  const auto unused = make_ref<Variable>(tensor({1, 2}, float64), "unused");
  const Gradients g = gradients([](const TensorList& in) { return TensorList{in[0] * 2.0}; },
                                {num(1), tensor({1, 2, 3})}, {1, 0}, {unused});
  CHECK(g.inputs[0].to_vector() == std::vector<double>{0, 0, 0});
  CHECK(g.inputs[1].item() == 2);
  CHECK(g.variables[0].to_vector() == std::vector<double>{0, 0});
  const auto [value, derivative] =
      jvp([](const TensorList& in) { return TensorList{in[1]}; }, {num(1), num(2)}, {num(1), Tensor()});
  CHECK(value[0].item() == 2);
  CHECK(derivative[0].item() == 0);
}

TEST_CASE("operands that do not fit") {
  const auto f = [](const TensorList& in) { return in; };
  CHECK(message<DTypeError>([&] { gradients(f, {scalar(1, int64)}, {0}); }).find("Int64()") != std::string::npos);
  CHECK(message<DTypeError>([&] { vjp(f, {scalar(1, bool_)}); }).find("vjp") != std::string::npos);
  CHECK(message<ValueError>([&] { gradients(f, {num(1)}, {1}); }).find("position 1") != std::string::npos);
  CHECK(message<ValueError>([&] { jvp(f, {num(1)}, {}); }).find("0 tangents for 1") != std::string::npos);
  CHECK(message<ShapeError>([&] { jvp(f, {num(1)}, {tensor({1, 2}, float64)}); }).find("(2,)") != std::string::npos);
  CHECK(message<DTypeError>([&] { jvp(f, {num(1)}, {scalar(1)}); }).find("Float32") != std::string::npos);
  CHECK(message<ShapeError>([&] { gradients(f, {num(1)}, {0}, {}, {tensor({1, 2}, float64)}); }).find("(2,)") !=
        std::string::npos);
  CHECK(message<ValueError>([&] { gradients(f, {Tensor()}, {0}); }).find("undefined") != std::string::npos);
  CHECK(thread_state.depth == 0);
}

TEST_CASE("variables: shadowed while a gradient runs, written values stay") {
  const auto w = make_ref<Variable>(num(3), "w");
  const auto count = make_ref<Variable>(num(0), "count");
  const auto f = [&](const TensorList& in) {
    count->set(count->get() + in[0]);
    return TensorList{in[0] * w->get() * w->get() * count->get()};
  };
  // x w² (c + x): by x: w² (c + 2 x), by w: 2 w x (c + x)
  const Gradients g = gradients(f, {num(5)}, {0}, {w, w});
  CHECK(g.inputs[0].item() == 9 * 10);
  CHECK(g.variables[0].item() == 6 * 25);
  CHECK(g.variables[1].item() == 6 * 25);
  CHECK(w->get().item() == 3);
  CHECK(count->get().item() == 5);
  CHECK(!count->raw().value()->level());  // concrete again

  const auto written = gradients(
      [&](const TensorList& in) {
        w->set(w->get() * in[0]);
        return TensorList{w->get()};
      },
      {num(5)}, {0}, {w});
  CHECK(written.inputs[0].item() == 3);
  CHECK(written.variables[0].item() == 5);
  CHECK(w->get().item() == 15);
  jvp(
      [&](const TensorList& in) {
        w->set(in[0] * in[0]);
        return in;
      },
      {num(2)}, {num(1)});
  CHECK(w->raw().item() == 4);
  CHECK(!w->raw().value()->level());
}

TEST_CASE("a function that throws leaves levels and variables as they were") {
  const auto w = make_ref<Variable>(num(3), "w");
  for (int inner = 0; inner < 2; ++inner) {
    const auto f = [&](const TensorList& in) -> TensorList {
      w->set(in[0]);
      if (inner) return {reverse([&](const Tensor&) -> Tensor { throw std::domain_error("mine"); })(in[0])};
      throw std::domain_error("mine");
    };
    CHECK_THROWS_AS(gradients(f, {num(1)}, {0}, {w}), std::domain_error);
    CHECK_THROWS_AS(vjp(f, {num(1)}), std::domain_error);
    CHECK_THROWS_AS(jvp(f, {num(1)}, {num(1)}), std::domain_error);
    CHECK(thread_state.depth == 0);
    CHECK(thread_state.bindings == nullptr);
    CHECK(w->get().item() == 3);
  }
}

TEST_CASE("values that outlive their transform count as the values beneath") {
  Tensor kept;
  reverse([&](const Tensor& x) { return kept = x * 2.0; })(num(5));
  CHECK(kept.item() == 10);
  CHECK((kept + 1.0).item() == 11);
  CHECK(reverse([&](const Tensor& x) { return x * kept; })(num(1)).item() == 10);
  const auto w = make_ref<Variable>(num(0), "w");
  w->set(kept);
  CHECK(!w->raw().value()->level());
}

TEST_CASE("a million nodes: differentiated and freed without recursion") {
  const auto live = [] { return allocator_stats().live_bytes; };
  const auto before = live();
  {
    const int n = 1'000'000;
    const Map chain = [](const Tensor& x) {
      Tensor y = x;
      for (int i = 0; i < n; ++i) y = neg(y);
      return y;
    };
    CHECK(reverse(chain)(num(1)).item() == 1);
    CHECK(forward(chain)(num(1)).item() == 1);
    vjp([&](const TensorList& in) { return TensorList{chain(in[0])}; }, {num(1)});  // dropped unused
    Tensor kept;
    CHECK_THROWS(reverse([&](const Tensor& x) -> Tensor {
      kept = chain(x);
      throw std::domain_error("stop");
    })(num(1)));
    CHECK(kept.item() == 1);
    CHECK(live() - before < 10'000);
  }
  CHECK(live() - before < 10'000);
}

TEST_CASE("threads that differentiate by the same variable") {
  const auto w = make_ref<Variable>(num(3), "w");
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const double x = 100.0 * t + i;
        const Gradients g = gradients(
            [&](const TensorList& in) {
              Tensor y = in[0] * w->get();
              for (int k = 0; k < 5; ++k) y = y + w->get() * w->get();
              return TensorList{y};
            },
            {num(x)}, {0}, {w});
        if (g.inputs[0].item() != 3 || g.variables[0].item() != x + 30) ++wrong;
      }
    });
  for (auto& t : threads) t.join();
  CHECK(wrong == 0);
  CHECK(w->get().item() == 3);
}
