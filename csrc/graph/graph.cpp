#include "graph/graph.h"

#include <ostream>

#include "core/level.h"

namespace evolute {

void prune(Graph& graph) {
  std::vector<bool> needed(graph.values.size());
  for (ValueId id : graph.outputs) needed[id] = true;
  for (const auto& v : graph.variables)
    if (v.out >= 0) needed[v.out] = true;
  std::vector<Graph::Node> kept;
  for (auto node = graph.nodes.rbegin(); node != graph.nodes.rend(); ++node) {
    bool used = false;
    for (ValueId id : node->out) used = used || needed[id];
    if (!used) continue;
    for (ValueId id : node->in) needed[id] = true;
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
