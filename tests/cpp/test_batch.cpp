// vmap over C++ functions: axes, nesting with derivatives, control flow, Jacobians, errors.
#include <doctest/doctest.h>

#include <cmath>

#include "core/level.h"
#include "evolute/evolute.h"
#include "ops/elementwise.h"

using namespace evolute;

namespace {

Tensor range(const Shape& shape) { return reshape(arange(0, static_cast<double>(shape.product()), 1, float64), shape); }
void check_equal(const Tensor& got, const Shape& shape, const std::vector<double>& want) {
  CHECK(got.shape() == shape);
  const std::vector<double> values = got.to_vector();
  REQUIRE(values.size() == want.size());
  for (std::size_t i = 0; i < want.size(); ++i) CHECK(values[i] == doctest::Approx(want[i]).epsilon(1e-12));
}
template <class E, class F>
std::string message(F&& f) {
  try {
    f();
  } catch (const E& e) {
    return e.what();
  }
  return "nothing was thrown";
}
bool has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("every operation has a batching rule") {
  for (const Op* op : op_table()) {
    CAPTURE(op->name);
    CHECK(bool(op->batch));
  }
}

TEST_CASE("functions with their derivatives map all of their results") {
  std::size_t checked = 0;
  for (const ElementwiseFunction& f : elementwise_functions())
    for (const JetForm& jet : f.op->jet) {
      if (!jet.op) continue;
      CAPTURE(jet.op->name);
      const Function call = [&](const TensorList& in) {
        TensorList out(static_cast<std::size_t>(jet.results));
        apply(*jet.op, nullptr, in, out);
        return out;
      };
      const double middle = (f.op->doc.lo + f.op->doc.hi) / 2;
      TensorList x{range({2, 3}) * 0.01 + middle};
      BatchAxes axes{0};
      if (f.arity == 2) {
        x.push_back(tensor({middle, middle + 0.1, middle + 0.2}, float64));
        axes.push_back(std::nullopt);
      }
      const TensorList all = detail::vmap_at(call, x, axes, {});
      for (int example : {0, 1}) {
        TensorList one = x;
        one[0] = index(x[0], example);
        const TensorList want = call(one);
        for (std::size_t k = 0; k < want.size(); ++k) check_equal(index(all[k], example), {3}, want[k].to_vector());
      }
      ++checked;
    }
  CHECK(checked > 20);
}

TEST_CASE("vmap maps axis 0 of everything unless told otherwise") {
  const auto f = [](const Tensor& x, const Tensor& y) { return sum(x * y); };
  check_equal(vmap(f)(range({2, 3}), range({2, 3})), {2}, {5, 50});
  check_equal(vmap(f, {0, std::nullopt})(range({2, 3}), range({3})), {2}, {5, 14});
  check_equal(vmap(f, {-1, 0})(range({3, 2}), range({2, 3})), {2}, {10, 40});
  check_equal(vmap([](const Tensor& x) { return x * 2; }, {1}, {1})(range({2, 2})), {2, 2}, {0, 2, 4, 6});
}

TEST_CASE("several results, and results that are the same for all examples") {
  const auto f = [](const Tensor& x) { return TensorList{x, scalar(7, float64), scalar(8, float64)}; };
  const TensorList out = vmap(f, {}, {0, 0, std::nullopt})(range({2}));
  check_equal(out[0], {2}, {0, 1});
  check_equal(out[1], {2}, {7, 7});
  check_equal(out[2], {}, {8});
  const Function g = [](const TensorList& in) { return TensorList{in[0] + in[1]}; };
  check_equal(vmap(g)(range({2}), range({2}))[0], {2}, {0, 2});
}

TEST_CASE("nesting with itself and with derivatives") {
  const auto f = [](const Tensor& x, const Tensor& y) { return sum(x * x * y); };
  const auto pairs = vmap(vmap(f, {std::nullopt, 0}), {0, std::nullopt});
  check_equal(pairs(range({2, 2}), range({3, 2})), {2, 3}, {1, 3, 5, 9, 35, 61});
  check_equal(vmap(grad(f), {0, std::nullopt})(range({2, 2}), range({2})), {2, 2}, {0, 2, 0, 6});
  const auto mapped = vmap([](const Tensor& x) { return x * x * x; });
  check_equal(grad(mapped)(range({3})), {3}, {0, 3, 12});
  check_equal(grad([&](const Tensor& x) { return sum(grad(mapped)(x)); })(range({3})), {3}, {0, 6, 12});
}

TEST_CASE("branches and loops that differ from example to example") {
  const auto branch = [](const Tensor& x) {
    return cond(
        greater(x, 1), [](const TensorList& in) { return TensorList{log(in[0])}; },
        [](const TensorList& in) { return TensorList{in[0] * 3}; }, {x})[0];
  };
  check_equal(vmap(branch)(tensor({0, 1, 2}, float64)), {3}, {0, 3, std::log(2)});
  check_equal(vmap(grad(branch))(tensor({0, 1, 2}, float64)), {3}, {3, 3, 0.5});
  const auto loop = [](const Tensor& x) {
    return while_loop([](const TensorList& s) { return less(s[0], 10); },
                      [&](const TensorList& s) { return TensorList{s[0] * x}; }, {x})[0];
  };
  check_equal(vmap(loop)(tensor({2, 3, 20}, float64)), {3}, {16, 27, 20});
  check_equal(vmap(grad(loop))(tensor({2, 3, 20}, float64)), {3}, {32, 27, 1});
  check_equal(grad(vmap(loop))(tensor({2, 3, 20}, float64)), {3}, {32, 27, 1});
}

TEST_CASE("Jacobians and Hessians") {
  const auto f = [](const Tensor& x, const Tensor& y) { return x * sum(y * y); };
  const Tensor x = tensor({1, 2}, float64), y = tensor({3, 4}, float64);
  for (int position : {0, 1}) {
    const std::vector<double> want =
        position == 0 ? std::vector<double>{25, 0, 0, 25} : std::vector<double>{6, 8, 12, 16};
    check_equal(jacfwd(f, position)(x, y), {2, 2}, want);
    check_equal(jacrev(f, position)(x, y), {2, 2}, want);
  }
  const Function all = [&](const TensorList& in) { return TensorList{f(in[0], in[1]), sum(in[0])}; };
  const Jacobian j = jacobian(all, {x, y}, {1, 0});
  check_equal(j[0][0], {2, 2}, {6, 8, 12, 16});
  check_equal(j[0][1], {2, 2}, {25, 0, 0, 25});
  check_equal(j[1][0], {2}, {0, 0});
  check_equal(j[1][1], {2}, {1, 1});
  const auto energy = [](const Tensor& x, const Tensor& y) { return sum(x) * sum(y * y * y); };
  check_equal(hessian(energy, 1)(x, y), {2, 2}, {54, 0, 0, 72});
  check_equal(hvp(energy, 1)(tensor({1, -1}, float64), x, y), {2}, {54, -72});
}

TEST_CASE("errors say what to do, and leave no level behind") {
  const auto same = [](const Tensor& x) { return x; };
  const auto add2 = [](const Tensor& x, const Tensor& y) { return x + y; };
  CHECK(has(message<ShapeError>([&] { vmap(add2)(range({2}), range({3})); }), "input 1, of shape (3,), has 3"));
  CHECK(has(message<ValueError>([&] { vmap(same, {std::nullopt})(range({2})); }), "no input is mapped"));
  CHECK(has(message<ValueError>([&] { vmap(same, {1})(range({2})); }), "axis 1 for input 0"));
  CHECK(has(message<ValueError>([&] { vmap(add2, {0})(range({2}), range({2})); }), "1 in_axes for 2 inputs"));
  CHECK(has(message<ValueError>([&] { vmap(same, {}, {std::nullopt})(range({2})); }), "out_axes is None for output 0"));
  CHECK(has(message<ValueError>([&] { vmap(same, {}, {0, 0})(range({2})); }), "2 out_axes for 1 outputs"));
  CHECK(has(message<TraceError>([&] { vmap([](const Tensor& x) { return x * x.item(); })(range({2})); }), "vmap"));
  auto v = make_ref<Variable>(scalar(1, float64), "v");
  const auto write = [&](const Tensor& x) {
    v->set(x);
    return x;
  };
  CHECK(has(message<TraceError>([&] { vmap(write)(range({2})); }), "'v' cannot be set inside vmap"));
  CHECK(v->get().item() == 1);
  Tensor kept;
  vmap([&](const Tensor& x) { return kept = x; })(range({2}));
  CHECK(has(message<TraceError>([&] { kept + 1; }), "outlived"));
  CHECK(thread_state.depth == 0);
}
