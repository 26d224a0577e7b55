// Rematerialisation: a cheap elementwise value that is needed again after a reduction over everything is computed again
// there, where that takes less than to write it to memory. c = x − mean(x), read by var(x) and then by c / √var, need
// never exist as an array.
//
// Nodes are sorted into stages: the largest number of reductions, or of anything else that needs more than the same row
// of its operands, on the way to a node. What is elementwise in one stage runs in one loop, or in one phase of row
// blocks.
#include <algorithm>
#include <map>

#include "cpu/cost.h"
#include "graph/rewrite.h"
#include "ops/rows.h"

namespace evolute {

namespace {

std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }
double bytes_of(const Aval& a) {
  return static_cast<double>(a.shape.product()) * static_cast<double>(size_of(a.dtype));
}

constexpr int kForever = 1 << 30;      // stage after which results are read
constexpr double kMinBytes = 1 << 20;  // less stays in the cache between the loops

class Rematerialisation {
 public:
  explicit Rematerialisation(const Graph& graph)
      : graph_(graph), stage_(graph.values.size()), last_stage_(graph.values.size(), -1), maker_(graph.values.size()) {
    for (ValueId id : graph.outputs) last_stage_[index(id)] = kForever;
    for (const auto& v : graph.variables)
      if (v.out >= 0) last_stage_[index(v.out)] = kForever;
    for (const Graph::Node& node : graph.nodes) {
      const int stage = stage_of(node);
      for (ValueId id : node.in) last_stage_[index(id)] = std::max(last_stage_[index(id)], stage);
      for (ValueId id : node.out) stage_[index(id)] = stage + is_barrier(node), maker_[index(id)] = &node;
    }
  }

  std::shared_ptr<Graph> run() {
    result_ = std::make_shared<Graph>(graph_);
    result_->nodes.clear();
    for (const Graph::Node& node : graph_.nodes) {
      Graph::Node copy = node;
      const int stage = stage_of(node);
      for (ValueId& id : copy.in) id = value_in(id, stage);
      result_->nodes.push_back(std::move(copy));
    }
    prune(*result_);
    return result_;
  }

 private:
  // The stage in which a node runs.
  int stage_of(const Graph::Node& node) const {
    int stage = 0;
    for (ValueId id : node.in) stage = std::max(stage, stage_[index(id)]);
    return stage;
  }
  bool is_barrier(const Graph::Node& node) const {
    if (node.op->kernel_id >= 0 || node.op->view || node.in.empty()) return false;
    const Shape& shape = graph_.values[index(node.in[0])].shape;
    if (shape.size() == 0) return true;
    SmallVector<const Aval*, 4> operands;
    for (ValueId id : node.in) operands.push_back(&graph_.values[index(id)]);
    const Aval& out = graph_.values[index(node.out[0])];
    return row_rule(*node.op, node.attrs.get(), operands, out, shape[0]).role != RowRole::Rows;
  }

  // The value as a node of that stage is to read it.
  ValueId value_in(ValueId id, int stage) {
    const Graph::Node* node = maker_[index(id)];
    if (!node || !is_worthwhile(*node, stage)) return id;
    const auto [at, fresh] = again_.try_emplace({id, stage}, static_cast<ValueId>(result_->values.size()));
    if (!fresh) return at->second;
    const ValueId again = at->second;
    result_->values.push_back(graph_.values[index(id)]);
    Graph::Node copy = *node;
    copy.out = {again};
    for (ValueId& in : copy.in) in = value_in(in, stage);
    result_->nodes.push_back(std::move(copy));
    return again;
  }

  // At most one operand is read in place of the value, one that is in memory then anyway, and computing takes less than
  // writing.
  bool is_worthwhile(const Graph::Node& node, int stage) const {
    if (node.op->kernel_id < 0 || node.out.size() != 1 || stage <= stage_of(node)) return false;
    const Aval& aval = graph_.values[index(node.out[0])];
    if (bytes_of(aval) < kMinBytes || last_stage_[index(node.out[0])] == kForever) return false;
    constexpr double kTransfers = 2;  // a line that is written is read first
    const double written = static_cast<double>(size_of(aval.dtype)) * kTransfers * cpu::kNsPerByte;
    if (cpu::arithmetic_ns(node.op->kernel_id, graph_.values[index(node.in[0])].dtype) > written) return false;
    int large = 0;
    for (std::size_t i = 0; i < node.in.size(); ++i) {
      const ValueId id = node.in[i];
      if (std::find(node.in.begin(), node.in.begin() + static_cast<std::ptrdiff_t>(i), id) !=
          node.in.begin() + static_cast<std::ptrdiff_t>(i))
        continue;
      if (bytes_of(graph_.values[index(id)]) < kMinBytes) continue;
      ++large;
      const Graph::Node* maker = maker_[index(id)];
      const bool in_memory = !maker || maker->op->kernel_id < 0 || last_stage_[index(id)] >= stage;
      if (!in_memory && !is_worthwhile(*maker, stage)) return false;
    }
    return large <= 1;
  }

  const Graph& graph_;
  std::vector<int> stage_;       // of each value: from which on it is whole
  std::vector<int> last_stage_;  // of each value: in which it is read last
  std::vector<const Graph::Node*> maker_;
  std::shared_ptr<Graph> result_;
  std::map<std::pair<ValueId, int>, ValueId> again_;
};

}  // namespace

std::shared_ptr<Graph> rematerialise(const Graph& graph) { return Rematerialisation(graph).run(); }

}  // namespace evolute
