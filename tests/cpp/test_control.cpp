// Control flow from C++: eager and recorded, derivatives, variables, memory, threads.
#include <doctest/doctest.h>

#include <cmath>
#include <thread>

#include "evolute/evolute.h"
#include "graph/control/control.h"

using namespace evolute;

namespace {

Tensor num(double v) { return scalar(v, float64); }

// Square root by Newton's iteration.
Tensor root(const Tensor& x) {
  return while_loop([&](const TensorList& s) { return greater(abs(s[0] * s[0] - x), x * 1e-13); },
                    [&](const TensorList& s) { return TensorList{(s[0] + x / s[0]) * 0.5}; }, {x})[0];
}

Tensor rolled(const Tensor& x, std::int64_t checkpoint = 0) {
  const auto step = [&](const Tensor& i, const TensorList& s) { return TensorList{sin(s[0]) * x + cast(i, float64)}; };
  return fori_loop(0, 5, step, {x}, checkpoint)[0];
}
Tensor unrolled(const Tensor& x) {
  Tensor c = x;
  for (int i = 0; i < 5; ++i) c = sin(c) * x + i;
  return c;
}

}  // namespace

TEST_CASE("loops of known length: eager, recorded and stored sparsely") {
  const auto third = [](auto f) { return grad(grad(grad(f))); };
  const auto sparse = [](const Tensor& x) { return rolled(x, 2); };
  const auto dense = [](const Tensor& x) { return rolled(x); };
  const double want = unrolled(num(0.7)).item(), slope = third(unrolled)(num(0.7)).item();
  CHECK(dense(num(0.7)).item() == want);
  CHECK(jit(dense)(num(0.7)).item() == doctest::Approx(want).epsilon(1e-14));
  CHECK(third(sparse)(num(0.7)).item() == doctest::Approx(slope).epsilon(1e-12));
  CHECK(jit(third(sparse))(num(0.7)).item() == doctest::Approx(slope).epsilon(1e-12));
  CHECK(jit(third(dense))(num(0.7)).item() == doctest::Approx(slope).epsilon(1e-12));
}

TEST_CASE("a loop whose length depends on values") {
  const auto compiled = jit(grad(grad(root)));
  for (double x : {2.0, 3.0, 1e4}) {
    CHECK(jit(root)(num(x)).item() == doctest::Approx(std::sqrt(x)));
    CHECK(compiled(num(x)).item() == doctest::Approx(-0.25 * std::pow(x, -1.5)).epsilon(1e-7));
  }
}

TEST_CASE("a branch, and the variables that it writes") {
  auto v = make_ref<Variable>(num(1), "v");
  const auto f = jit([&](const Tensor& x) {
    return cond(
        greater(x, 0.0),
        [&](const TensorList& in) {
          v->set(v->get() + in[0]);
          return TensorList{in[0] * 2};
        },
        [&](const TensorList& in) { return TensorList{in[0] * v->get()}; }, {x})[0];
  });
  CHECK(f(num(3)).item() == 6);
  CHECK(v->get().item() == 4);
  CHECK(f(num(-2)).item() == -8);
  CHECK(v->get().item() == 4);
}

TEST_CASE("checkpoint keeps a body as one operation") {
  const auto f = [](const Tensor& x) {
    return checkpoint([&](const TensorList& in) { return TensorList{sin(in[0]) * exp(x)}; }, {x * x})[0];
  };
  const auto plain = [](const Tensor& x) { return sin(x * x) * exp(x); };
  CHECK(grad(grad(f))(num(0.4)).item() == doctest::Approx(grad(grad(plain))(num(0.4)).item()));
  Recording recording;
  const Tensor y = grad(f)(recording.input({{}, float64}));
  int calls = 0;
  const std::shared_ptr<Graph> graph = recording.finish(TensorList{y});
  for (const auto& node : graph->nodes) calls += node.op == &checkpoint_op;
  CHECK(calls == 1);  // what the function gave is not needed, and its derivative computes what it needs
}

TEST_CASE("errors of control flow") {
  const Function same = [](const TensorList& in) { return in; };
  const Tensor two = tensor({1, 2}, float64);
  CHECK_THROWS_AS(cond(greater(two, 0.0), same, same, {two}), ShapeError);
  CHECK_THROWS_AS(cond(num(1), same, same, {two}), DTypeError);
  const Function narrow = [](const TensorList& in) { return TensorList{sum(in[0])}; };
  CHECK_THROWS_AS(while_loop([](const TensorList&) { return scalar(1, bool_); }, narrow, {two}), ShapeError);
  CHECK_THROWS_AS(scan([](const TensorList& c, const TensorList&) { return ScanResult{c, {}}; }, {two}, {}),
                  ValueError);
  CHECK_THROWS_AS(jit([&](const Tensor& x) { return cond(greater(sum(x), 0.0), same, narrow, {x})[0]; })(two),
                  ShapeError);
}

TEST_CASE("what is made of bodies does not keep them alive") {
  // A cycle of references would show as growth of live memory: the captured tensor is a constant of the body.
  const auto live = [] { return allocator_stats().live_bytes; };
  const auto run = [] {
    const Tensor big = full({1000, 100}, 0.5, float64) * ones({1000, 100}, float64);
    const auto f = [&](const Tensor& x) { return sum(rolled(x * big, 2) * root(sum(x * big))); };
    const auto g = [&](const Tensor& x) { return sum(grad(f)(x)); };
    jit(grad(g))(num(0.3));
  };
  run();
  const auto before = live();
  for (int i = 0; i < 3; ++i) run();
  CHECK(live() <= before);
}

TEST_CASE("threads share the plans of bodies") {
  const CompiledFunction f([](const TensorList& in) { return TensorList{grad(root)(in[0]), rolled(in[0])}; });
  const double want = rolled(num(2)).item();
  f({num(2)});
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) {
        const TensorList out = f({num(2)});
        right += std::abs(out[0].item() - 0.5 / std::sqrt(2.0)) < 1e-9 && std::abs(out[1].item() - want) < 1e-12;
      }
    });
  for (auto& t : threads) t.join();
  CHECK(right == 80);
}
