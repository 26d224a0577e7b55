#include "graph/graph.h"

#include <ostream>

#include "core/level.h"

namespace evolute {

void prune(Graph& graph) {
  std::vector<bool> needed(graph.values.size());
  for (ValueId id : graph.outputs) needed[id] = true;
  for (const auto& v : graph.variables)
    if (v.out >= 0) needed[v.out] = true;
  std::vector<bool> pinned = needed;  // results outlive every node
  std::vector<Graph::Node> kept;
  for (auto node = graph.nodes.rbegin(); node != graph.nodes.rend(); ++node) {
    bool used = false;
    for (ValueId id : node->out) used = used || needed[id];
    if (!used) continue;
    node->last_uses.clear();
    for (ValueId id : node->in) {
      if (!needed[id]) node->last_uses.push_back(id);
      needed[id] = true;
    }
    for (ValueId id : node->out)
      if (!needed[id] && !pinned[id]) node->last_uses.push_back(id);
    kept.push_back(std::move(*node));
  }
  graph.nodes.assign(std::make_move_iterator(kept.rbegin()), std::make_move_iterator(kept.rend()));
  std::erase_if(graph.constants, [&](const auto& c) { return !needed[c.id]; });
  std::erase_if(graph.variables, [&](const auto& v) { return v.out < 0 && !needed[v.in]; });
}

bool variables_match(const Graph& graph) {
  for (const auto& v : graph.variables)
    if (v.variable->raw().aval() != v.aval) return false;
  return true;
}

std::vector<Tensor> read_variables(const Graph& graph) {
  std::vector<Tensor> values;
  for (const auto& v : graph.variables) values.push_back(settle(v.variable->raw()));
  return values;
}

void write_variables(const Graph& graph, std::vector<Tensor>& results) {
  std::size_t next = graph.outputs.size();
  for (const auto& v : graph.variables)
    if (v.out >= 0) v.variable->exchange_raw(std::move(results[next++]));
  results.resize(graph.outputs.size());
}

std::vector<Tensor> execute(const Graph& graph, std::span<const Tensor> inputs) {
  std::vector<Tensor> results = run(graph, inputs, read_variables(graph));
  write_variables(graph, results);
  return results;
}

std::vector<Tensor> run(const Graph& graph, std::span<const Tensor> inputs, std::span<const Tensor> variables) {
  std::vector<Tensor> value(graph.values.size());
  for (std::size_t i = 0; i < graph.inputs.size(); ++i) value[graph.inputs[i]] = inputs[i];
  for (const auto& c : graph.constants) value[c.id] = c.value;
  for (std::size_t i = 0; i < graph.variables.size(); ++i) value[graph.variables[i].in] = variables[i];

  Tensors in, out;
  for (const Graph::Node& node : graph.nodes) {
    in.clear();
    for (ValueId id : node.in) in.push_back(value[id]);
    out.clear();
    out.resize(node.out.size());
    evaluate(*node.op, node.attrs.get(), in, out);
    for (std::size_t i = 0; i < node.out.size(); ++i) value[node.out[i]] = std::move(out[i]);
    for (ValueId id : node.last_uses) value[id] = {};
  }

  std::vector<Tensor> results;
  for (ValueId id : graph.outputs) results.push_back(value[id]);
  for (const auto& v : graph.variables)
    if (v.out >= 0) results.push_back(value[v.out]);
  return results;
}

std::ostream& operator<<(std::ostream& s, const Graph& graph) {
  auto define = [&](ValueId id) { s << '%' << id << ": " << graph.values[id]; };
  s << "inputs:";
  for (ValueId id : graph.inputs) s << ' ', define(id);
  s << '\n';
  for (const auto& v : graph.variables) define(v.in), s << " = variable '" << v.variable->name() << "'\n";
  for (const auto& c : graph.constants) define(c.id), s << " = constant\n";
  for (const auto& node : graph.nodes) {
    for (ValueId id : node.out) define(id), s << ' ';
    s << "= " << node.op->name;
    if (node.attrs) node.attrs->print(s << '['), s << ']';
    for (ValueId id : node.in) s << " %" << id;
    s << '\n';
  }
  s << "outputs:";
  for (ValueId id : graph.outputs) s << " %" << id;
  for (const auto& v : graph.variables)
    if (v.out >= 0) s << "\nvariable '" << v.variable->name() << "' <- %" << v.out;
  return s << '\n';
}

}  // namespace evolute
