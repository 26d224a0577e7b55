#include "graph/rewrite.h"

#include <algorithm>

#include "ops/shape_ops.h"

namespace evolute {

std::shared_ptr<Graph> rewrite(const Graph& graph, const RewriteRule& rule) {
  Recording recording;
  Recorder& recorder = recording.recorder();
  const Rewriter rewriter(recorder);
  std::vector<Tensor> value(graph.values.size());
  auto set = [&](ValueId id, Tensor t) { value[static_cast<std::size_t>(id)] = std::move(t); };
  auto get = [&](ValueId id) -> const Tensor& { return value[static_cast<std::size_t>(id)]; };

  for (ValueId id : graph.inputs) set(id, recorder.input(graph.values[static_cast<std::size_t>(id)]));
  // Variables are further inputs here, and get their place back below.
  for (const auto& v : graph.variables) set(v.in, recorder.input(v.aval));
  for (const auto& c : graph.constants) set(c.id, c.value);

  Tensors in, out;
  for (const Graph::Node& node : graph.nodes) {
    in.clear();
    for (ValueId id : node.in) in.push_back(get(id));
    out.clear();
    out.resize(node.out.size());
    if (!rule(rewriter, node, in, out)) apply(*node.op, node.attrs, in, out);
    for (std::size_t i = 0; i < node.out.size(); ++i) {
      // A constant operand that stands for a result may belong to no device; what nobody reads may be undefined.
      const Device device = graph.values[static_cast<std::size_t>(node.out[i])].device;
      set(node.out[i], device.type == DeviceType::CPU || !out[i].defined() ? out[i] : placed(out[i], device));
    }
  }

  std::vector<Tensor> results;
  for (ValueId id : graph.outputs) results.push_back(get(id));
  for (const auto& v : graph.variables)
    if (v.out >= 0) results.push_back(get(v.out));
  std::shared_ptr<Graph> fresh = recording.finish(results);

  std::size_t next_in = graph.inputs.size(), next_out = graph.outputs.size();
  for (const auto& v : graph.variables)
    fresh->variables.push_back(
        {v.variable, v.aval, fresh->inputs[next_in++], v.out < 0 ? -1 : fresh->outputs[next_out++]});
  fresh->inputs.resize(graph.inputs.size());
  fresh->outputs.resize(graph.outputs.size());
  prune(*fresh);
  return fresh;
}

std::vector<int> uses_of_values(const Graph& graph) {
  std::vector<int> uses(graph.values.size());
  const auto use = [&](ValueId id) { ++uses[static_cast<std::size_t>(id)]; };
  for (const Graph::Node& node : graph.nodes)
    for (ValueId id : node.in) use(id);
  for (ValueId id : graph.outputs) use(id);
  for (const auto& v : graph.variables)
    if (v.out >= 0) use(v.out);
  return uses;
}

namespace {

constexpr Pass kPasses[] = {
    {"trim_loops", trim_loops, "loops give what is read, and take what that needs"},
    {"diagonals", diagonals, "matrices that are zero outside of a few diagonals are computed on these alone"},
    {"fold_constants", fold_constants, "what depends on constants alone is computed while compiling"},
    {"simplify", simplify, "algebraic identities, chains of views, transposes into flags of products"},
    {"cancel", cancel, "reductions of what repeats itself, and factors that pass through reductions"},
    {"contract", contract, "sums of broadcast products become matrix products"},
    {"collapse", collapse, "values that flow the same linear way into one sum are added first"},
    {"join", join, "windows that are added up side by side in zeros are joined"},
    {"share_factors", share_factors, "a function and its derivatives at the same operands are computed together"},
    {"rematerialise", rematerialise, "what is cheaper to compute again than to keep in memory"},
    {"block_rows", block_rows, "what treats rows alike runs block of rows by block of rows"},
    {"accumulate", accumulate, "matrix products are added up in place"}};

}  // namespace

std::span<const Pass> passes() { return kPasses; }

std::shared_ptr<Graph> run_pass(std::string_view name, const Graph& graph, std::vector<PassEffect>* effects) {
  for (const Pass& pass : kPasses) {
    if (pass.name != name) continue;
    std::shared_ptr<Graph> result = pass.run(graph);
    if (effects) effects->push_back({&pass, graph.nodes.size(), result->nodes.size()});
    return result;
  }
  std::string names;
  for (const Pass& pass : kPasses) names += cat(names.empty() ? "" : ", ", pass.name);
  throw ValueError(cat("no pass is named ", name, "; there are ", names));
}

std::shared_ptr<Graph> optimize(std::shared_ptr<Graph> graph, std::vector<PassEffect>* effects) {
  const auto run = [&](std::string_view name) { graph = run_pass(name, *graph, effects); };
  const auto tidy = [&] {
    constexpr int kRounds = 4;  // each round's gains come from the one before; few programs need more than two
    for (int round = 0; round < kRounds; ++round) {
      const std::size_t before = graph->nodes.size();
      run("fold_constants");
      run("simplify");
      run("cancel");
      if (graph->nodes.size() == before) break;
    }
  };
  const auto any = [&](const auto& wanted) {
    return std::any_of(graph->nodes.begin(), graph->nodes.end(), [&](const auto& node) { return wanted(*node.op); });
  };
  if (any([](const Op& op) { return op.runs_graph; })) run("trim_loops");
  run("diagonals");
  tidy();
  run("contract");
  run("collapse");
  static const Op& unslice = primitive("unslice");
  if (any([](const Op& op) { return &op == &unslice; })) run("join");
  tidy();
  run("share_factors");
  tidy();
  run("rematerialise");
  run("block_rows");
  run("accumulate");
  return graph;
}

}  // namespace evolute
