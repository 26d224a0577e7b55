// Passes: functions from graph to graph.
//
// A pass replays the graph through a recorder that shares equal operations. For each node a rule may offer other
// results, written in terms of the public operations on the new graph's values; what nobody then needs is pruned.
#pragma once

#include <functional>

#include "graph/recorder.h"

namespace evolute {

class Rewriter {
 public:
  explicit Rewriter(Recorder& recorder) : recorder_(recorder) {}

  // The node of the new graph that computes `t`, if it is one of `op`; else null.
  const Graph::Node* made_by(const Tensor& t, const Op& op) const {
    const Graph::Node* n = recorder_.producer(t);
    return n && n->op == &op ? n : nullptr;
  }
  const Graph::Node* producer(const Tensor& t) const { return recorder_.producer(t); }
  // By value: what a rule emits may move the recorder's own. For the same reason a node is not to be used after that.
  Tensor operand(const Graph::Node& n, std::size_t i) const { return recorder_.symbol(n.in[i]); }

 private:
  Recorder& recorder_;
};

// Sets `out` and returns true, or returns false to have the node replayed as it is.
using RewriteRule =
    std::function<bool(const Rewriter& r, const Graph::Node& node, std::span<const Tensor> in, std::span<Tensor> out)>;

std::shared_ptr<Graph> rewrite(const Graph& graph, const RewriteRule& rule);

inline bool is_uniform_of(const Tensor& t, double wanted) {
  double v;
  return is_uniform(t, v) && v == wanted;
}

// How many nodes and results read each value.
std::vector<int> uses_of_values(const Graph& graph);

// The passes, each in the file of its name under passes/. All of them drop what nobody needs, and share equal work.
std::shared_ptr<Graph> trim_loops(const Graph& graph);
std::shared_ptr<Graph> diagonals(const Graph& graph);
std::shared_ptr<Graph> fold_constants(const Graph& graph);
std::shared_ptr<Graph> simplify(const Graph& graph);
std::shared_ptr<Graph> cancel(const Graph& graph);
std::shared_ptr<Graph> contract(const Graph& graph);
std::shared_ptr<Graph> collapse(const Graph& graph);
std::shared_ptr<Graph> join(const Graph& graph);
std::shared_ptr<Graph> share_factors(const Graph& graph);
std::shared_ptr<Graph> rematerialise(const Graph& graph);
std::shared_ptr<Graph> block_rows(const Graph& graph);
std::shared_ptr<Graph> accumulate(const Graph& graph);

struct Pass {
  std::string_view name;
  std::shared_ptr<Graph> (*run)(const Graph& graph);
  std::string_view summary;
};
std::span<const Pass> passes();

// What a pass did to a graph.
struct PassEffect {
  const Pass* pass;
  std::size_t before, after;  // nodes
};

// Runs one by name, and appends what it did to `effects`, unless null. Throws ValueError for an unknown name.
std::shared_ptr<Graph> run_pass(std::string_view name, const Graph& graph, std::vector<PassEffect>* effects);

// All of them in order, the algebraic ones until nothing changes. `effects`: where to note what each did.
std::shared_ptr<Graph> optimize(std::shared_ptr<Graph> graph, std::vector<PassEffect>* effects = nullptr);

}  // namespace evolute
