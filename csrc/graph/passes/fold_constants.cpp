// Constant folding: what depends on constants alone is computed while compiling, unless the result is large.
#include <algorithm>

#include "graph/rewrite.h"

namespace evolute {

namespace {

// Elements a folded result may have: more would make the graph hold memory that a run computes quickly.
constexpr std::int64_t kMaxFolded = 1 << 16;

bool fold(const Rewriter&, const Graph::Node& node, std::span<const Tensor> in, std::span<Tensor> out) {
  if (node.op->runs_graph) return false;
  double unused;
  bool uniform = !in.empty();
  for (const Tensor& t : in) {
    if (t.value()->level()) return false;
    uniform = uniform && is_uniform(t, unused);
  }
  SmallVector<Aval, 1> avals;
  node.op->infer(*node.op, node.attrs.get(), in, avals);
  // Views cost nothing, and what is computed from uniform values alone stays one element.
  const bool free = node.op->view != nullptr || (uniform && node.op->kernel_id >= 0);
  for (const Aval& a : avals)
    if (!free && a.shape.product() > kMaxFolded) return false;
  evaluate(*node.op, node.attrs.get(), in, out);
  return true;
}

}  // namespace

std::shared_ptr<Graph> fold_constants(const Graph& graph) { return rewrite(graph, fold); }

}  // namespace evolute
