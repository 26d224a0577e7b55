// Graph mode from C++: recording, replay, variables, failures, threads.
#include <doctest/doctest.h>
#include <cmath>

#include <cmath>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "core/level.h"
#include "evolute/evolute.h"
#include "graph/recorder.h"

using namespace evolute;

namespace {

Tensor num(double v) { return scalar(v, float64); }

std::shared_ptr<Graph> record(const Function& f, const std::vector<Aval>& signature) {
  Recording recording;
  TensorList in;
  for (const Aval& a : signature) in.push_back(recording.input(a));
  return recording.finish(f(in));
}

}  // namespace

TEST_CASE("a function is recorded once per signature") {
  int calls = 0;
  const CompiledFunction f([&](const TensorList& in) {
    ++calls;
    return TensorList{sin(in[0]) * in[1], in[0]};
  });
  for (int i = 0; i < 3; ++i) {
    const TensorList out = f({num(i), num(2)});
    CHECK(out[0].item() == std::sin(i) * 2);
    CHECK(out[1].item() == i);
  }
  CHECK(calls == 1);
  f({tensor({1, 2}, float64), num(2)});
  CHECK(calls == 2);
  f({scalar(1), num(2)});
  CHECK(calls == 3);
  CHECK(f.recorded() == 3);
}

TEST_CASE("jit of a gradient, gradient of a jit") {
  int calls = 0;
  const auto cube = [&](const Tensor& x) {
    ++calls;
    return x * x * x;
  };
  const auto compiled = jit(grad(cube));
  for (double x : {2.0, 3.0}) CHECK(compiled(num(x)).item() == 3 * x * x);
  CHECK(calls == 1);
  const auto differentiated = grad(jit(cube));
  for (double x : {2.0, 3.0}) CHECK(differentiated(num(x)).item() == 3 * x * x);
  const auto second = jit(grad(grad(jit(cube))));
  CHECK(second(num(5)).item() == 30);
}

TEST_CASE("variables are inputs; what is written to them is written back after the run") {
  const auto w = make_ref<Variable>(num(2), "w");
  const auto total = make_ref<Variable>(num(0), "total");
  int calls = 0;
  const CompiledFunction step([&](const TensorList& in) {
    ++calls;
    total->set(total->get() + in[0] * w->get());
    const Tensor seen = total->get();
    total->set(seen + 100.0);
    return TensorList{seen};
  });
  CHECK(step({num(3)})[0].item() == 6);
  CHECK(total->get().item() == 106);
  w->set(num(10));
  CHECK(step({num(3)})[0].item() == 136);
  CHECK(total->get().item() == 236);
  CHECK(calls == 1);
}

TEST_CASE("a variable that is written and never read") {
  const auto w = make_ref<Variable>(num(2), "w");
  const CompiledFunction f([&](const TensorList& in) {
    w->set(in[0] * 2.0);
    return TensorList{};
  });
  for (double x : {3.0, 4.0}) {
    CHECK(f({num(x)}).empty());
    CHECK(w->get().item() == 2 * x);
  }
}

TEST_CASE("training: a step with a gradient and an update inside") {
  const auto w = make_ref<Variable>(tensor({0, 0}, float64), "w");
  const Tensor target = tensor({1, -2}, float64);
  const CompiledFunction step([&](const TensorList&) {
    const Gradients g =
        gradients([&](const TensorList&) { return TensorList{sum(square(w->get() - target))}; }, {}, {}, {w});
    w->set(w->get() - g.variables[0] * 0.25);
    return g.outputs;
  });
  double loss = 1;
  for (int i = 0; i < 60; ++i) loss = step({})[0].item();
  CHECK(loss < 1e-20);
  CHECK(w->get().to_vector()[1] == doctest::Approx(-2));
}

TEST_CASE("a recording that fails changes nothing") {
  const auto w = make_ref<Variable>(num(2), "w");
  bool fail = true;
  const CompiledFunction f([&](const TensorList& in) {
    w->set(w->get() * in[0]);
    if (fail) throw std::domain_error("mine");
    return TensorList{w->get()};
  });
  for (int i = 0; i < 2; ++i) CHECK_THROWS_AS(f({num(3)}), std::domain_error);
  CHECK(w->get().item() == 2);
  CHECK(f.recorded() == 0);
  CHECK(at_top_level());
  CHECK(thread_state.bindings == nullptr);
  fail = false;
  CHECK(f({num(3)})[0].item() == 6);
  CHECK(w->get().item() == 6);

  const CompiledFunction shapes([&](const TensorList& in) {
    w->set(num(0));
    return TensorList{in[0] + in[1]};
  });
  CHECK_THROWS_AS(shapes({tensor({1, 2}), tensor({1, 2, 3})}), ShapeError);
  CHECK(w->get().item() == 6);
}

TEST_CASE("a value asked for while recording") {
  const auto w = make_ref<Variable>(num(2), "w");
  CHECK_THROWS_AS(jit([](const Tensor& x) { return x * x.item(); })(num(1)), UnknownValueError);
  CHECK_THROWS_AS(jit([&](const Tensor& x) { return x * w->get().item(); })(num(1)), UnknownValueError);
  CHECK_THROWS_AS(
      jit([](const Tensor& x) { return x * grad([](const Tensor& y) { return y * y.item(); })(x); })(num(1)),
      UnknownValueError);
  CHECK(at_top_level());
  // Values that the recorded function makes itself out of nothing are known.
  CHECK(jit([](const Tensor& x) { return x * num(3).item(); })(num(2)).item() == 6);
}

TEST_CASE("values that outlive their recording") {
  Tensor kept;
  const CompiledFunction f([&](const TensorList& in) {
    kept = in[0] * 2.0;
    return TensorList{kept};
  });
  f({num(1)});
  CHECK_THROWS_AS(kept.item(), TraceError);
  CHECK_THROWS_AS(kept + 1.0, TraceError);
  const auto w = make_ref<Variable>(num(2), "w");
  CHECK_THROWS_AS(w->set(kept), TraceError);
  CHECK(w->get().item() == 2);
}

TEST_CASE("a tensor of a transform outside cannot get into a recording") {
  // A compiled function inside a transform runs as it is, so this takes a recording made by hand.
  const auto f = grad([](const Tensor& x) {
    const auto graph = record([&](const TensorList& in) { return TensorList{in[0] * x}; }, {x.aval()});
    return x;
  });
  CHECK_THROWS_AS(f(num(1)), TraceError);
  CHECK(thread_state.depth == 0);
  CHECK(at_top_level());
}

TEST_CASE("the recorded graph") {
  const auto w = make_ref<Variable>(tensor({1, 2}), "w");
  const auto unused = make_ref<Variable>(tensor({1, 2}), "unused");
  const auto graph = record(
      [&](const TensorList& in) {
        unused->get();
        const Tensor dropped = exp(in[0]);
        return TensorList{sin(in[0]) * w->get()};
      },
      {{{2}, float32, {}}});
  CHECK(graph->nodes.size() == 2);
  CHECK(graph->inputs.size() == 1);
  REQUIRE(graph->variables.size() == 1);
  CHECK(graph->variables[0].variable.get() == w.get());
  std::ostringstream text;
  text << *graph;
  for (const char* part : {"Float32(2,)", "sin", "mul", "variable 'w'", "outputs:"})
    CHECK(text.str().find(part) != std::string::npos);
  CHECK(text.str().find("exp") == std::string::npos);
  CHECK(variables_match(*graph));
}

TEST_CASE("constants are held by the graph, inputs and constants may be outputs") {
  Tensor constant = tensor({5, 6});
  const CompiledFunction f([&](const TensorList& in) { return TensorList{in[0], constant, in[0] + constant, in[0]}; });
  f({tensor({1, 2})});
  constant = tensor({0, 0});
  const TensorList out = f({tensor({3, 4})});
  CHECK(out[0].to_vector() == std::vector<double>{3, 4});
  CHECK(out[1].to_vector() == std::vector<double>{5, 6});
  CHECK(out[2].to_vector() == std::vector<double>{8, 10});
  CHECK(out[3].to_vector() == std::vector<double>{3, 4});
}

TEST_CASE("results do not share memory with later runs") {
  const CompiledFunction f([](const TensorList& in) {
    const Tensor y = exp(in[0]);
    return TensorList{y, reshape(y, {2, 2}), transpose(reshape(y + 1.0, {2, 2}))};
  });
  const TensorList first = f({tensor({0, 0, 0, 0}, float64)});
  f({tensor({1, 1, 1, 1}, float64)});
  CHECK(first[0].to_vector() == std::vector<double>{1, 1, 1, 1});
  CHECK(first[1].to_vector() == std::vector<double>{1, 1, 1, 1});
  CHECK(first[2].to_vector() == std::vector<double>{2, 2, 2, 2});
}

TEST_CASE("threads that share a compiled function, and record at the same time") {
  const auto w = make_ref<Variable>(num(3), "w");
  const CompiledFunction f([&](const TensorList& in) {
    const Gradients g =
        gradients([&](const TensorList& x) { return TensorList{sum(sin(x[0]) * w->get())}; }, in, {0}, {w});
    return TensorList{g.inputs[0], g.variables[0]};
  });
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) {
        const std::int64_t n = 1 + (t + i) % 7;
        const double x = 0.1 * t + 0.01 * i;
        const TensorList out = f({full({n}, x, float64)});
        if (std::abs(out[0].to_vector().back() - 3 * std::cos(x)) > 1e-12) ++wrong;
        if (std::abs(out[1].item() - static_cast<double>(n) * std::sin(x)) > 1e-12) ++wrong;
      }
    });
  for (auto& t : threads) t.join();
  CHECK(wrong == 0);
  CHECK(f.recorded() == 7);
}

TEST_CASE("a long recorded chain") {
  const CompiledFunction f([](const TensorList& in) {
    Tensor y = in[0];
    for (int i = 0; i < 100'000; ++i) y = abs(y);
    return TensorList{y};
  });
  for (int i = 0; i < 2; ++i) CHECK(f({tensor({-1, 2})})[0].to_vector() == std::vector<double>{1, 2});
}
