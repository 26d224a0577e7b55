// Accumulation: a matrix product that is added to something is added while it is computed, C += A B, so that it never
// exists by itself. The gradient of a weight that several sweeps reach is a sum of such products.
#include <algorithm>

#include "graph/products.h"
#include "graph/rewrite.h"

namespace evolute {

namespace {

std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }

class Accumulation {
 public:
  explicit Accumulation(Graph& graph) : graph_(graph), maker_(graph.values.size(), -1), readers_(graph.values.size()) {
    for (std::size_t k = 0; k < graph.nodes.size(); ++k) {
      for (ValueId id : graph.nodes[k].out) maker_[index(id)] = static_cast<int>(k);
      for (ValueId id : graph.nodes[k].in) readers_[index(id)].push_back(k);
    }
    escapes_.resize(graph.values.size());
    for (ValueId id : graph.outputs) escapes_[index(id)] = true;
    for (const auto& v : graph.variables)
      if (v.out >= 0) escapes_[index(v.out)] = true;
  }

  // Of the two terms the product that comes last is added to the other.
  void rewrite(Graph::Node& add) const {
    const int second = maker_[index(add.in[1])] >= maker_[index(add.in[0])];
    for (const int i : {second, 1 - second}) {
      const ValueId product = add.in[static_cast<std::size_t>(i)], other = add.in[static_cast<std::size_t>(1 - i)];
      if (!is_own_product(product) || !may_start_from(other, add)) continue;
      if (graph_.values[index(product)] != graph_.values[index(add.out[0])]) continue;  // it is broadcast
      const Graph::Node& m = graph_.nodes[static_cast<std::size_t>(maker_[index(product)])];
      add = {&matmul_add_op, m.attrs, {m.in[0], m.in[1], other}, add.out};
      return;
    }
  }

 private:
  // A product of matrices that nobody else reads.
  bool is_own_product(ValueId id) const {
    static const Op& matmul = primitive("matmul");
    const int m = maker_[index(id)];
    return m >= 0 && graph_.nodes[static_cast<std::size_t>(m)].op == &matmul && readers_[index(id)].size() == 1 &&
           !escapes_[index(id)] && is_floating(graph_.values[index(id)].dtype) &&
           graph_.values[index(id)].shape.size() == 2;
  }
  // Whether the other term is best at hand in memory: not if the loop that makes it, or one that reads the sum, could
  // have added the product on its way.
  bool may_start_from(ValueId id, const Graph::Node& add) const {
    if (graph_.values[index(id)] != graph_.values[index(add.out[0])]) return false;
    const int m = maker_[index(id)];
    const Op* op = m >= 0 ? graph_.nodes[static_cast<std::size_t>(m)].op : nullptr;
    static const Op& matmul = primitive("matmul");
    if (op == &matmul || op == &matmul_add_op) return true;
    const auto& readers = readers_[index(add.out[0])];
    return (!op || op->kernel_id < 0) && std::none_of(readers.begin(), readers.end(), [&](std::size_t k) {
             const Graph::Node& reader = graph_.nodes[k];
             const bool adds_product =
                 reader.op == add.op && (is_own_product(reader.in[0]) || is_own_product(reader.in[1]));
             return reader.op->kernel_id >= 0 && !adds_product;
           });
  }

  Graph& graph_;
  std::vector<int> maker_;  // of each value: its node
  std::vector<std::vector<std::size_t>> readers_;
  std::vector<bool> escapes_;
};

}  // namespace

std::shared_ptr<Graph> accumulate(const Graph& graph) {
  static const Op& add = primitive("add");
  auto result = std::make_shared<Graph>(graph);
  const Accumulation accumulation(*result);
  for (Graph::Node& node : result->nodes)
    if (node.op == &add) accumulation.rewrite(node);
  prune(*result);
  return result;
}

}  // namespace evolute
