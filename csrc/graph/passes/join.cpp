// Joining: in a sum, windows that lie side by side in zeros are joined before they are put there, and where they fill
// the whole they are a concatenation. Cotangents of x[0], x[1], … of one x are such a sum: as it is written it passes
// over all of x for each of them.
#include <algorithm>

#include "evolute/ops.h"
#include "graph/rewrite.h"
#include "ops/attrs.h"

namespace evolute {

namespace {

const Op& op_add() {
  static const Op& op = primitive("add");
  return op;
}
const Op& op_unslice() {
  static const Op& op = primitive("unslice");
  return op;
}

// Zeros with x from `start` on.
struct Window {
  Tensor x;
  Dims start;

  std::int64_t end(int axis) const { return start[axis] + x.shape(axis); }
};

// Whether two windows begin and end alike along all other axes.
bool aligned(const Window& a, const Window& b, int axis) {
  for (int i = 0; i < a.x.ndim(); ++i)
    if (i != axis && (a.start[i] != b.start[i] || a.x.shape(i) != b.x.shape(i))) return false;
  return true;
}

// Joins what touches along one axis. The windows come out sorted.
void join_along(int axis, std::vector<Window>& windows) {
  const auto before = [axis](const Window& a, const Window& b) {
    for (int i = 0; i < a.x.ndim(); ++i) {
      if (i == axis) continue;
      if (a.start[i] != b.start[i]) return a.start[i] < b.start[i];
      if (a.x.shape(i) != b.x.shape(i)) return a.x.shape(i) < b.x.shape(i);
    }
    return a.start[axis] < b.start[axis];
  };
  std::stable_sort(windows.begin(), windows.end(), before);
  std::vector<Window> joined;
  for (std::size_t i = 0; i < windows.size();) {
    Tensors parts{windows[i].x};
    std::size_t next = i + 1;
    for (; next < windows.size(); ++next) {
      if (!aligned(windows[i], windows[next], axis) || windows[next - 1].end(axis) != windows[next].start[axis]) break;
      parts.push_back(windows[next].x);
    }
    joined.push_back({concat(parts, axis), windows[i].start});
    i = next;
  }
  windows = std::move(joined);
}

class Joining {
 public:
  explicit Joining(const Graph& graph)
      : graph_(graph), uses_(uses_of_values(graph)), maker_(graph.values.size()), inner_(graph.values.size()) {
    for (const Graph::Node& node : graph.nodes) {
      for (ValueId id : node.out) maker_[index(id)] = &node;
      if (node.op != &op_add()) continue;
      for (ValueId id : node.in) inner_[index(id)] = is_sum(id) && aval(id) == aval(node.out[0]);
    }
  }

  // At the last addition of a sum.
  bool join(const Rewriter& r, const Graph::Node& node, std::span<const Tensor> in, std::span<Tensor> out) const {
    if (node.op != &op_add() || inner_[index(node.out[0])]) return false;
    std::vector<Window> windows;
    Tensors rest;
    collect(r, node, in, windows, rest);
    const std::size_t count = windows.size();
    if (count < 2) return false;
    const Shape& shape = aval(node.out[0]).shape;
    for (int axis = shape.size() - 1; axis >= 0; --axis) join_along(axis, windows);
    if (windows.size() == count) return false;
    Tensor total;
    const auto plus = [&](const Tensor& t) { total = total.defined() ? add(total, t) : t; };
    for (const Tensor& t : rest) plus(t);
    for (const Window& w : windows) {
      Dims after = shape;
      for (int i = 0; i < shape.size(); ++i) after[i] -= w.end(i);
      plus(pad(w.x, w.start, after));
    }
    out[0] = total;
    return true;
  }

 private:
  static std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }
  const Aval& aval(ValueId id) const { return graph_.values[index(id)]; }
  // A sum that only the addition reads which it is a term of.
  bool is_sum(ValueId id) const {
    return maker_[index(id)] && maker_[index(id)]->op == &op_add() && uses_[index(id)] == 1;
  }

  // The terms of a sum, in the new graph.
  void collect(const Rewriter& r, const Graph::Node& node, std::span<const Tensor> in, std::vector<Window>& windows,
               Tensors& rest) const {
    struct Term {
      ValueId id;
      Tensor t;
    };
    std::vector<Term> todo;
    for (std::size_t i = node.in.size(); i-- > 0;) todo.push_back({node.in[i], in[i]});
    while (!todo.empty()) {
      const Term term = std::move(todo.back());
      todo.pop_back();
      if (const Graph::Node* n = inner_[index(term.id)] ? r.made_by(term.t, op_add()) : nullptr) {
        const std::vector<ValueId>& ids = maker_[index(term.id)]->in;
        for (std::size_t i = ids.size(); i-- > 0;) todo.push_back({ids[i], r.operand(*n, i)});
        continue;
      }
      const Graph::Node* n = term.t.shape() == aval(node.out[0]).shape ? r.made_by(term.t, op_unslice()) : nullptr;
      const SliceAttrs* w = n ? &attrs_as<SliceAttrs>(n->attrs.get()) : nullptr;
      if (w && std::all_of(w->step.begin(), w->step.end(), [](std::int64_t s) { return s == 1; }))
        windows.push_back({r.operand(*n, 0), w->start});
      else
        rest.push_back(term.t);
    }
  }

  const Graph& graph_;
  const std::vector<int> uses_;
  std::vector<const Graph::Node*> maker_;  // of each value; null for none
  std::vector<bool> inner_;                // of each value: it is a term of a sum, and a sum itself
};

}  // namespace

std::shared_ptr<Graph> join(const Graph& graph) {
  const Joining joining(graph);
  return rewrite(graph, [&](const Rewriter& r, const Graph::Node& node, std::span<const Tensor> in,
                            std::span<Tensor> out) { return joining.join(r, node, in, out); });
}

}  // namespace evolute
