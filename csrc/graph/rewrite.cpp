#include "graph/rewrite.h"

namespace evolute {

std::shared_ptr<Graph> rewrite(const Graph& graph, const RewriteRule& rule) {
  Recording recording(true);
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
    for (std::size_t i = 0; i < node.out.size(); ++i) set(node.out[i], out[i]);
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

const Op& primitive(std::string_view name) {
  for (const Op* op : op_table())
    if (op->name == name) return *op;
  throw ValueError(cat("no primitive is named ", name));
}

std::shared_ptr<Graph> optimize(std::shared_ptr<Graph> graph) {
  constexpr int kRounds = 4;  // each round's gains come from the one before; few programs need more than two
  const auto tidy = [&] {
    for (int round = 0; round < kRounds; ++round) {
      const std::size_t before = graph->nodes.size();
      graph = simplify(*fold_constants(*graph));
      if (graph->nodes.size() == before) break;
    }
  };
  tidy();
  graph = collapse(*graph);
  tidy();
  return block_rows(share_factors(*graph));
}

}  // namespace evolute
