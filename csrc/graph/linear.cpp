// Linear parts of functions: forward mode above a recorder.
//
// Tangents are symbols of a recorder that lies beneath the jet level as one level among others. So operations on
// tangents are recorded, and all others run, or go to the level that they belong to: what is known is computed once.
#include "evolute/linear.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "autodiff/jet.h"
#include "autodiff/transforms.h"
#include "evolute/ops.h"
#include "graph/control/control.h"
#include "ops/attrs.h"

namespace evolute {

namespace {

TensorList listed(std::span<const Tensor> tensors) { return {tensors.begin(), tensors.end()}; }

// Runs a body by its plan where nothing else goes on, and through the levels else.
TensorList run_body(const Body& body, std::span<const Tensor> inputs) {
  const bool concrete = std::ranges::none_of(inputs, [](const Tensor& t) { return t.value()->level(); });
  return listed(concrete && at_top_level() ? body.run(inputs) : replay(body.graph(), inputs));
}

void require_inputs(const TensorList& got, std::span<const Aval> expected, const char* what, const char* role) {
  if (got.size() != expected.size())
    throw ValueError(cat(what, ": got ", got.size(), " ", role, "s, but needs ", expected.size()));
  for (std::size_t i = 0; i < got.size(); ++i) require_like(got[i], expected[i], what, cat("a ", role).c_str());
}

// A kernel of a derivative, g · f′(r), with known r: its factor is computed now, and what remains is a product.
bool is_scaled(const Graph::Node& node, const std::vector<std::size_t>& known) {
  return node.op->kernel_id >= 0 && node.in.size() == 2 && node.op->linear_in == 1 && node.op->name.ends_with(".d1") &&
         !known[static_cast<std::size_t>(node.in[0])] && known[static_cast<std::size_t>(node.in[1])];
}

void compute_factors(Graph& graph, TensorList& constants) {
  static const Op& product = primitive("mul");
  std::vector<std::size_t> known(graph.values.size());  // place among the constants, counted from 1
  const std::size_t first = graph.inputs.size() - constants.size();
  for (std::size_t i = 0; i < constants.size(); ++i) known[static_cast<std::size_t>(graph.inputs[first + i])] = i + 1;
  std::map<std::pair<const Op*, ValueId>, ValueId> factors;
  for (Graph::Node& node : graph.nodes) {
    if (!is_scaled(node, known)) continue;
    ValueId& factor = factors.try_emplace({node.op, node.in[1]}, -1).first->second;
    if (factor < 0) {
      const Tensor& r = constants[known[static_cast<std::size_t>(node.in[1])] - 1];
      constants.push_back(apply(*node.op, node.attrs, ones_like(r), r));
      factor = static_cast<ValueId>(graph.values.size());
      graph.values.push_back(constants.back().aval());
      graph.inputs.push_back(factor);
    }
    node = {&product, nullptr, {node.in[0], factor}, node.out};
  }
}

}  // namespace

Linearized linearize(const Function& f, const TensorList& inputs) {
  for (const Tensor& x : inputs) require_differentiable(x, "linearize");
  Linearized result;
  std::shared_ptr<Graph> graph;
  TensorList constants;
  std::vector<Aval> like;
  {
    const auto recorder = make_ref<Recorder>(Recorder::Of::OpenedBody);
    LevelScope recording(*recorder);
    const auto jet = make_ref<Jet>(1, true);
    TensorList outputs, moved;
    {
      LevelScope scope(*jet);
      TensorList traced;
      for (const Tensor& x : inputs) {
        like.push_back(x.aval());
        traced.push_back(jet->trace(settle(x), recorder->input(x.aval())));
      }
      outputs = f(traced);
    }
    for (const Tensor& y : outputs) {
      const Tensor t = jet->tangent(y);
      result.outputs.push_back(settle(jet->lower(y)));
      moved.push_back(t.defined() ? t : zeros_like(result.outputs.back()));
    }
    graph = recorder->finish(moved, {});
    for (const Recorder::Capture& c : recorder->captures()) {
      graph->inputs.push_back(c.id);
      constants.push_back(c.value);
    }
  }
  compute_factors(*graph, constants);
  const auto body = make_ref<Body>(std::move(graph));
  result.derivative = [body, constants, like](const TensorList& tangents) {
    require_inputs(tangents, like, "linearize", "tangent");
    std::vector<Tensor> in = tangents;
    for (const Tensor& c : constants) in.push_back(settle(c));
    return run_body(*body, in);
  };
  return result;
}

ClosedFunction close_over(const Function& f, const TensorList& like) {
  Recorded recorded = record_body(avals_of(like), [&](std::span<const Tensor> in) { return f(listed(in)); });
  Recorded* const bodies[] = {&recorded};
  const Closure closure = close_bodies(bodies, "a function that is differentiated implicitly", {false});
  const auto body = make_ref<Body>(std::move(recorded.graph));
  return {[body](const TensorList& in) { return run_body(*body, in); }, listed(closure.consts)};
}

namespace {

[[noreturn]] void throw_not_linear(const char* why) {
  throw ValueError(cat("linear_transpose: the function is not linear: ", why));
}

// Whether the body gives the same, up to rounding, for zero and for other values of its first inputs. Constants that
// are traced leave it open.
std::optional<bool> independent_of_first(const Body& body, const TensorList& zero, std::span<const Tensor> constants) {
  static const Op& random = primitive("uniform");
  std::vector<Tensor> in;
  for (std::size_t i = 0; i < body.graph().inputs.size() - constants.size(); ++i) {
    in.emplace_back();
    evaluate(random,
             make_attrs(RandomAttrs{body.input(i).shape, i + 1, body.input(i).dtype, body.input(i).device}).get(), {},
             {&in[i], 1});
  }
  for (const Tensor& c : constants) {
    in.push_back(settle(c));
    if (in.back().value()->level()) return {};
  }
  const std::vector<Tensor> elsewhere = body.interpret(in);
  std::ranges::copy(zero, in.begin());
  const std::vector<Tensor> at_zero = body.interpret(in);
  for (std::size_t i = 0; i < at_zero.size(); ++i) {
    const std::vector<double> a = at_zero[i].to_vector(), b = elsewhere[i].to_vector();
    double largest = 0, apart = 0;
    for (std::size_t k = 0; k < a.size(); ++k) {
      largest = std::max(largest, std::abs(a[k]));
      apart = std::max(apart, std::abs(a[k] - b[k]));
    }
    if (!(apart <= (at_zero[i].dtype() == DType::Float64 ? 1e-9 : 1e-3) * largest)) return false;
  }
  return true;
}

}  // namespace

Function linear_transpose(const Function& f, const TensorList& like) {
  for (const Tensor& x : like) require_differentiable(x, "linear_transpose");
  TensorList zero;
  for (const Tensor& x : like) zero.push_back(zeros_like(x));
  const TensorList at_zero = f(zero);
  for (const Tensor& y : at_zero) {
    if (!is_floating(y.dtype())) throw_not_linear("an output is of no floating dtype");
    const Tensor& value = settle(y);
    if (!value.value()->level() && !thread_state.recorder && any(not_equal(value, 0)).item() != 0)
      throw_not_linear("it is not zero at zero");
  }
  const std::vector<Aval> inputs = avals_of(like), outputs = avals_of(at_zero);
  std::vector<Aval> all = inputs;
  all.insert(all.end(), outputs.begin(), outputs.end());
  const std::size_t n = inputs.size();
  Recorded recorded = record_body(all, [&](std::span<const Tensor> in) {
    const VjpResult at = vjp(f, listed(in.first(n)));
    return at.pullback(listed(in.subspan(n)));
  });
  // The derivative must not depend on the inputs. Control flow need not read what it takes, and a factor may be zero.
  const std::span<const ValueId> first(recorded.graph->inputs.data(), n);
  bool reads = false, takes = false;
  for (const Graph::Node& node : recorded.graph->nodes) {
    if (std::ranges::find_first_of(node.in, first) == node.in.end()) continue;
    (node.op->runs_graph || node.op->view ? takes : reads) = true;
  }
  Recorded* const bodies[] = {&recorded};
  const Closure closure = close_bodies(bodies, "linear_transpose", {false});
  const auto body = make_ref<Body>(std::move(recorded.graph));
  if ((reads || takes) && !independent_of_first(*body, zero, closure.consts).value_or(!reads))
    throw_not_linear("its derivative depends on where it is taken");
  return [body, zero, outputs, consts = listed(closure.consts)](const TensorList& cotangents) {
    require_inputs(cotangents, outputs, "linear_transpose", "cotangent");
    return run_body(*body, concatenated({zero, cotangents, consts}));
  };
}

}  // namespace evolute
