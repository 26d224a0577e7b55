// Loops give what somebody reads, and take what that needs: the stack of carries that reverse mode asks for in case it
// needs them, results that were left alone, and all that only these depend on.
#include <algorithm>

#include "graph/control/control.h"
#include "graph/rewrite.h"

namespace evolute {

namespace {

std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }

template <class T>
std::vector<T> kept(const std::vector<T>& all, const Mask& which) {
  std::vector<T> result;
  for (std::size_t i = 0; i < which.size(); ++i)
    if (which[i]) result.push_back(all[i]);
  return result;
}
bool all_of(const Mask& m) { return std::find(m.begin(), m.end(), false) == m.end(); }
std::size_t count(const Mask& m, std::size_t first, std::size_t n) {
  const auto begin = m.begin() + static_cast<std::ptrdiff_t>(first);
  return static_cast<std::size_t>(std::count(begin, begin + static_cast<std::ptrdiff_t>(n), true));
}

// Which inputs the marked outputs are computed from.
Mask inputs_of(const Graph& graph, const Mask& outputs) {
  Mask needed(graph.values.size());
  for (std::size_t i = 0; i < outputs.size(); ++i)
    if (outputs[i]) needed[index(graph.outputs[i])] = true;
  for (auto node = graph.nodes.rbegin(); node != graph.nodes.rend(); ++node)
    if (std::any_of(node->out.begin(), node->out.end(), [&](ValueId id) { return needed[index(id)]; }))
      for (ValueId id : node->in) needed[index(id)] = true;
  Mask result;
  for (ValueId id : graph.inputs) result.push_back(needed[index(id)]);
  return result;
}

void trim(Graph::Node& node, const Mask& read) {
  const auto& s = *static_cast<const ScanAttrs*>(node.attrs.get());
  const Graph& graph = s.body->graph();
  const std::size_t nc = s.carries, ny = s.ys();
  const auto is_read = [&](std::size_t i) { return read[index(node.out[i])]; };
  Mask outputs, inputs;  // of the body
  bool stored = false;
  for (std::size_t i = 0; i < nc + ny; ++i) outputs.push_back(is_read(i));
  for (std::size_t i = 0; s.every && i < nc; ++i)
    if (is_read(nc + ny + i)) outputs[i] = stored = true;
  for (bool more = true; more;) {
    more = false;
    inputs = inputs_of(graph, outputs);
    for (std::size_t i = 0; i < nc; ++i) {
      more = more || (inputs[i] && !outputs[i]);
      inputs[i] = outputs[i] = inputs[i] || outputs[i];
    }
  }
  if (all_of(outputs) && all_of(inputs) && stored == (s.every != 0)) return;
  const auto attrs = s.derived<ScanAttrs>(key_of(stored ? "trim stored" : "trim", {outputs, inputs}), [&] {
    Graph body = graph;
    body.outputs = kept(graph.outputs, outputs);
    body.inputs = kept(graph.inputs, inputs);
    prune(body);
    return make_ref<ScanAttrs>(make_ref<Body>(std::make_shared<Graph>(std::move(body))), count(outputs, 0, nc),
                               count(inputs, nc, s.xs), s.length, stored ? s.every : 0);
  });
  for (std::size_t i = 0; s.every && i < nc; ++i) outputs.push_back(stored && outputs[i]);
  node.attrs = attrs;
  node.in = kept(node.in, inputs);
  node.out = kept(node.out, outputs);
}

}  // namespace

std::shared_ptr<Graph> trim_loops(const Graph& graph) {
  auto result = std::make_shared<Graph>(graph);
  Mask read(graph.values.size());
  for (ValueId id : graph.outputs) read[index(id)] = true;
  for (const auto& v : graph.variables)
    if (v.out >= 0) read[index(v.out)] = true;
  for (auto node = result->nodes.rbegin(); node != result->nodes.rend(); ++node) {
    if (std::none_of(node->out.begin(), node->out.end(), [&](ValueId id) { return read[index(id)]; })) continue;
    if (node->op == &scan_op) trim(*node, read);
    for (ValueId id : node->in) read[index(id)] = true;
  }
  prune(*result);
  return result;
}

}  // namespace evolute
