// Elementwise kernels that give a function with its derivatives, and the tapes that use them.
#include <doctest/doctest.h>

#include <random>

#include "autodiff/tape.h"
#include "evolute/evolute.h"
#include "ops/elementwise.h"

using namespace evolute;

namespace {

Tensor samples(const ElementwiseFunction& f, const Shape& shape, DType t, unsigned seed) {
  std::mt19937 gen(seed);
  std::uniform_real_distribution<double> in_domain(f.op->doc.lo, f.op->doc.hi);
  std::vector<double> v;
  for (std::int64_t i = 0; i < shape.product(); ++i) v.push_back(in_domain(gen));
  return tensor(v, shape, t);
}

void check_close(const Tensor& a, const Tensor& b, double tolerance) {
  REQUIRE(a.shape() == b.shape());
  const auto x = a.to_vector(), y = b.to_vector();
  for (std::size_t i = 0; i < x.size(); ++i) CHECK(x[i] == doctest::Approx(y[i]).epsilon(tolerance));
}

struct Rule {
  const ElementwiseFunction* f;
  JetForm jet;
  std::vector<int> by;  // operands to differentiate by
};
// Jets of first order, and below each of them its own of second order.
std::vector<Rule> rules() {
  std::vector<Rule> all;
  for (const ElementwiseFunction& f : elementwise_functions())
    for (std::size_t set = 1; set < 4; ++set)
      if (const JetForm jet = f.op->jet[set]; jet.op) {
        Rule r{&f, jet, {}};
        for (int i = 0; i < 2; ++i)
          if (set >> i & 1) r.by.push_back(i);
        all.push_back(r);
      }
  return all;
}

}  // namespace

TEST_CASE("functions with costly derivatives have jets, of two orders") {
  const auto all = rules();
  CHECK(all.size() > 20);
  for (const Rule& r : all) {
    CAPTURE(r.f->name);
    std::size_t next = 0;
    for (const JetForm& second : r.jet.op->jet) next += second.op != nullptr;
    CHECK(next == 1);
  }
}

TEST_CASE("a jet is the function and its derivatives") {
  for (const DType t : {float32, float64})
    for (const Rule& r : rules()) {
      CAPTURE(r.jet.op->name);
      const double tolerance = t == float32 ? 1e-5 : 1e-13;
      TensorList x;
      for (int i = 0; i < r.f->arity; ++i) x.push_back(samples(*r.f, {37}, t, static_cast<unsigned>(i)));
      std::vector<Tensor> out(static_cast<std::size_t>(r.jet.results));
      apply(*r.jet.op, nullptr, x, out);
      const Tensor y = r.f->arity == 1 ? apply(*r.f->op, nullptr, x[0]) : apply(*r.f->op, nullptr, x[0], x[1]);
      CHECK(out[0].to_vector() == y.to_vector());  // the same bits
      for (std::size_t k = 0; k < r.by.size(); ++k) {
        TensorList tangents(x.size());
        tangents[static_cast<std::size_t>(r.by[k])] = ones_like(y);
        // Forward mode goes through other kernels.
        const auto f = [&](const TensorList& in) {
          return TensorList{in.size() == 1 ? apply(*r.f->op, nullptr, in[0]) : apply(*r.f->op, nullptr, in[0], in[1])};
        };
        check_close(out[k + 1], jvp(f, x, tangents).second[0], tolerance);
      }
    }
}

TEST_CASE("reverse over reverse agrees with forward over forward, operands of one shape and single numbers") {
  for (const Rule& r : rules())
    for (const bool number : {false, true}) {
      if (number && (r.f->arity == 1 || r.by.size() == 2)) continue;
      CAPTURE(r.jet.op->name);
      CAPTURE(number);
      TensorList x;
      for (int i = 0; i < r.f->arity; ++i)
        x.push_back(samples(*r.f, number && i != r.by[0] ? Shape{} : Shape{5}, float64, static_cast<unsigned>(i)));
      const auto f = [&](const TensorList& in) {
        return TensorList{in.size() == 1 ? apply(*r.f->op, nullptr, in[0]) : apply(*r.f->op, nullptr, in[0], in[1])};
      };
      for (const int i : r.by)
        for (const int j : r.by) {
          const auto first = [&](const TensorList& in) { return TensorList{gradients(f, in, {i}).inputs[0]}; };
          const Tensor reverse = gradients(first, x, {j}).inputs[0];
          const auto unit = [&](int k) {
            TensorList tangents(x.size());
            tangents[static_cast<std::size_t>(k)] = ones_like(x[static_cast<std::size_t>(k)]);
            return tangents;
          };
          const auto moved = [&](const TensorList& in) { return jvp(f, in, unit(i)).second; };
          check_close(reverse, jvp(moved, x, unit(j)).second[0], 1e-12);
        }
    }
}

TEST_CASE("operands that are broadcast keep to the rules that sum") {
  const Tensor x = tensor({0.5, 1.5, 2.5}, float64), y = reshape(tensor({1.5, 2}, float64), {2, 1});
  const auto g = gradients([](const TensorList& in) { return TensorList{pow(in[0], in[1])}; }, {x, y}, {0, 1});
  CHECK(g.inputs[0].shape() == x.shape());
  CHECK(g.inputs[1].shape() == y.shape());
  check_close(g.inputs[0], sum(y * pow(x, y - 1), Axes{0}), 1e-13);
  check_close(g.inputs[1], reshape(sum(pow(x, y) * log(x), Axes{1}), {2, 1}), 1e-13);
}
