// Collapsing: values that flow through the same linear operations into the same sums are added first, and flow once.
//
// Sweeps in reverse mode that were traced one by one, and streams of second derivatives whose sum is all anybody wants,
// repeat long stretches of linear work: L(a) + L(b). It is enough to compute L(a + b). This is the sharing of common
// subexpressions, seen from the other end of the graph: there equal operations on equal operands give equal values;
// here equal uses make values equal as far as the results can tell. (For Taylor mode the idea is in Dangel et al.,
// "Collapsing Taylor Mode Automatic Differentiation", 2025.)
#include <algorithm>
#include <map>

#include "evolute/ops.h"
#include "graph/rewrite.h"

namespace evolute {

namespace {

std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }

// Sorts values by where they go.
//
// A use is a place where a value ends up: an input of a linear operation, told by the operation, its other operands and
// the classes of its results, but not by which node it is; or else an input of one particular node, or an output.
// Sums are looked through: what is added to s is used as s is. Values of one class have the same uses.
class Flow {
 public:
  using Uses = std::vector<int>;

  // What makes two linear nodes one, from the point of view of operand `slot`.
  struct Key {
    const Op* op;
    std::size_t slot;
    const Graph::Node* node;  // for the parameters
    std::vector<ValueId> others;
    std::vector<int> classes;  // of the results

    std::strong_ordering operator<=>(const Key& k) const {
      if (auto c = op <=> k.op; c != 0) return c;
      if (auto c = slot <=> k.slot; c != 0) return c;
      if (auto c = others <=> k.others; c != 0) return c;
      if (auto c = classes <=> k.classes; c != 0) return c;
      const Attrs *a = node->attrs.get(), *b = k.node->attrs.get();
      if (a == b || (a && b && a->equals(*b))) return std::strong_ordering::equal;
      const std::size_t x = a ? a->hash() : 0, y = b ? b->hash() : 0;
      return x != y ? x <=> y : std::compare_three_way{}(a, b);
    }
    bool operator==(const Key& k) const { return (*this <=> k) == 0; }
  };

  explicit Flow(const Graph& graph) : graph_(graph), uses_(graph.values.size()), class_(graph.values.size(), -1) {
    for (ValueId id : graph.outputs) uses_[index(id)].push_back(fresh());
    for (const auto& v : graph.variables)
      if (v.out >= 0) uses_[index(v.out)].push_back(fresh());
    for (auto node = graph.nodes.rbegin(); node != graph.nodes.rend(); ++node) {
      for (ValueId id : node->out) settle_class(id);
      for (std::size_t i = 0; i < node->in.size(); ++i) note_use(*node, i);
    }
  }

  // The key of a node for an operand in which it is linear; false if it is not, or its results go too many ways.
  bool key(const Graph::Node& node, std::size_t slot, Key& key) const {
    const ValueId h = node.in[slot];
    if (!(node.op->linear_in >> slot & 1u) || !is_floating(graph_.values[index(h)].dtype)) return false;
    key = {node.op, slot, &node, {}, {}};
    for (std::size_t i = 0; i < node.in.size(); ++i) {
      if (i != slot && node.in[i] == h) return false;
      if (i != slot) key.others.push_back(node.in[i]);
    }
    for (ValueId id : node.out) key.classes.push_back(class_[index(id)]);
    return true;
  }
  int class_of(ValueId id) const { return class_[index(id)]; }

  // Whether operand i of a node is just one of the terms of its result.
  bool is_term(const Graph::Node& node, std::size_t i) const {
    static const Op &add = primitive("add"), &sub = primitive("sub");
    return (node.op == &add || (node.op == &sub && i == 0)) && node.in[0] != node.in[1] &&
           graph_.values[index(node.in[i])] == graph_.values[index(node.out[0])];
  }

 private:
  static constexpr std::size_t kMaxUses = 16;

  int fresh() { return next_++; }

  // All uses of a value are known once the nodes after the one that computes it have been seen.
  void settle_class(ValueId id) {
    Uses& uses = uses_[index(id)];
    std::sort(uses.begin(), uses.end());
    class_[index(id)] = uses.size() > kMaxUses ? fresh() : classes_.try_emplace(uses, fresh()).first->second;
  }
  void note_use(const Graph::Node& node, std::size_t i) {
    Uses& uses = uses_[index(node.in[i])];
    Key k{};
    if (is_term(node, i)) {
      const Uses& through = uses_[index(node.out[0])];
      if (through.size() > kMaxUses)
        uses.push_back(fresh());
      else
        uses.insert(uses.end(), through.begin(), through.end());
    } else if (key(node, i, k)) {
      uses.push_back(linear_.try_emplace(std::move(k), fresh()).first->second);
    } else {
      uses.push_back(fresh());
    }
  }

  const Graph& graph_;
  std::vector<Uses> uses_;
  std::vector<int> class_;
  std::map<Uses, int> classes_;
  std::map<Key, int> linear_;
  int next_ = 0;
};

// Nodes that become one: the last of them works on the sum of all their operands, the others give zero.
struct Merger {
  std::size_t slot;
  std::vector<std::size_t> nodes;
  Tensor sum{};  // of the operands so far
};

// Of each node, the merger it belongs to, or -1.
std::vector<int> find_mergers(const Graph& graph, std::vector<Merger>& mergers) {
  const Flow flow(graph);
  std::map<Flow::Key, Merger> groups;
  Flow::Key key{};
  for (std::size_t n = 0; n < graph.nodes.size(); ++n)
    for (std::size_t i = 0; i < graph.nodes[n].in.size(); ++i)
      if (flow.key(graph.nodes[n], i, key)) {
        Merger& m = groups.try_emplace(key, Merger{i, {}, {}}).first->second;
        const ValueId h = graph.nodes[n].in[i];
        if (!m.nodes.empty()) {
          const ValueId first = graph.nodes[m.nodes[0]].in[i];
          if (graph.values[index(h)] != graph.values[index(first)]) continue;
          // An addition costs about as much as an operation that only moves data: such a one merges where what it works
          // on is merged already.
          static const Op& matmul = primitive("matmul");
          const bool computes = graph.nodes[n].op->kernel_id >= 0 || graph.nodes[n].op == &matmul;
          if (!computes && flow.class_of(h) != flow.class_of(first)) continue;
        }
        m.nodes.push_back(n);
      }
  std::vector<Merger> all;
  for (auto& [k, m] : groups)
    if (m.nodes.size() > 1) all.push_back(std::move(m));
  std::stable_sort(all.begin(), all.end(),
                   [](const Merger& a, const Merger& b) { return a.nodes.size() > b.nodes.size(); });
  std::vector<int> merger_of(graph.nodes.size(), -1);
  for (Merger& m : all) {  // a node that is linear in two operands merges along one of them
    std::erase_if(m.nodes, [&](std::size_t n) { return merger_of[n] >= 0; });
    if (m.nodes.size() < 2) continue;
    for (std::size_t n : m.nodes) merger_of[n] = static_cast<int>(mergers.size());
    mergers.push_back(std::move(m));
  }
  return merger_of;
}

// Replays nodes with undefined tensors standing for zero.
class Collapse {
 public:
  explicit Collapse(const Graph& graph) : graph_(graph), merger_of_(find_mergers(graph, mergers_)) {}

  bool operator()(const Graph::Node& node, std::span<const Tensor> in, std::span<Tensor> out) {
    const int m = merger_of_[next_];
    const std::size_t at = next_++;
    if (m < 0) return in_place(node, in, out);
    Merger& merger = mergers_[static_cast<std::size_t>(m)];
    merger.sum = add_cotangents(merger.sum, in[merger.slot]);
    if (at != merger.nodes.back() || !merger.sum.defined()) return true;
    Tensors operands(in.begin(), in.end());
    operands[merger.slot] = std::move(merger.sum);
    return in_place(node, operands, out) || (apply(*node.op, node.attrs, operands, out), true);
  }

 private:
  bool in_place(const Graph::Node& node, std::span<const Tensor> in, std::span<Tensor> out) const {
    if (std::all_of(in.begin(), in.end(), [](const Tensor& t) { return t.defined(); })) return false;
    static const Op &op_add = primitive("add"), &op_sub = primitive("sub");
    for (std::size_t i = 0; i < in.size(); ++i)
      if (!in[i].defined() && (node.op->linear_in >> i & 1u)) return true;
    if ((node.op == &op_add || node.op == &op_sub) && !in[0].defined() && !in[1].defined()) return true;
    if (node.op == &op_add || (node.op == &op_sub && in[0].defined())) {
      const Tensor& rest = in[0].defined() ? in[0] : in[1];
      out[0] = broadcast_to(rest, graph_.values[index(node.out[0])].shape);
      return true;
    }
    Tensors operands(in.begin(), in.end());
    for (std::size_t i = 0; i < in.size(); ++i)
      if (!in[i].defined()) {
        const Aval& a = graph_.values[index(node.in[i])];
        operands[i] = zeros(a.shape, a.dtype, a.device);
      }
    apply(*node.op, node.attrs, operands, out);
    return true;
  }

  const Graph& graph_;
  std::vector<Merger> mergers_;
  std::vector<int> merger_of_;
  std::size_t next_ = 0;  // of the graph's nodes, which are visited in order
};

}  // namespace

std::shared_ptr<Graph> collapse(const Graph& graph) {
  Collapse rule(graph);
  return rewrite(graph, [&rule](const Rewriter&, const Graph::Node& node, std::span<const Tensor> in,
                                std::span<Tensor> out) { return rule(node, in, out); });
}

}  // namespace evolute
