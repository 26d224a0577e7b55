// Fusion: elementwise nodes of one shape that can run together become one loop; on devices whose loops can, with sums
// of what they compute, or with a matrix product that they read.
#include <algorithm>

#include "graph/plan.h"
#include "graph/products.h"
#include "graph/rewrite.h"
#include "math/elementwise.h"
#include "ops/attrs.h"

namespace evolute {

namespace {

constexpr std::size_t kMaxMicroOps = 64;
constexpr int kMaxExternal = FusedProgram::kMaxExternal;

bool fusable(const Graph::Node& node) {
  static const Op& where = primitive("where");
  return node.op->kernel_id >= 0 || node.op == &where;
}

bool is_sum(const Graph::Node& node) {
  static const Op& sum = primitive("sum");
  return node.op == &sum;
}
bool is_product(const Graph::Node& node) {
  static const Op& matmul = primitive("matmul");
  return node.op == &matmul || node.op == &matmul_add_op;
}
const Axes& axes_of(const Graph::Node& sum) { return attrs_as<ReduceAttrs>(sum.attrs.get()).axes; }
// Sums that differ in the last of `ndim` axes at most: a loop takes both as it goes.
bool go_together(const Axes& a, const Axes& b, int ndim) {
  const auto without_last = [&](Axes axes) {
    if (!axes.empty() && axes.back() == ndim - 1) axes.erase(axes.size() - 1);
    return axes;
  };
  return without_last(a) == without_last(b);
}

// Nodes that run as one loop. Being a group of one is no loss: it becomes a plain kernel.
struct Group {
  Shape shape;
  Device device;
  bool fused;
  std::vector<std::size_t> nodes;
  std::vector<std::size_t> sums;  // those of `nodes` that sum what others compute
};

class Grouping {
 public:
  explicit Grouping(const Graph& graph)
      : graph_(graph),
        group_of_node_(graph.nodes.size()),
        made_in_(graph.values.size(), -1),
        readers_(graph.values.size()) {
    for (std::size_t n = 0; n < graph.nodes.size(); ++n)
      for (ValueId id : graph.nodes[n].in) readers_[index(id)].push_back(n);
    escapes_.resize(graph.values.size());
    for (ValueId id : graph.outputs) escapes_[index(id)] = true;
    for (const auto& v : graph.variables)
      if (v.out >= 0) escapes_[index(v.out)] = true;
    for (std::size_t n = 0; n < graph.nodes.size(); ++n) assign(n);
  }

  const std::vector<Group>& groups() const { return groups_; }

  // The group of a matrix product of the shape of group g that is read there and nowhere else: the loop can have the
  // product on its way, and it is never in memory. -1: there is none.
  std::ptrdiff_t product_of(std::size_t g) const {
    const Group& group = groups_[g];
    std::ptrdiff_t latest = -1;
    if (!group.fused || !group.sums.empty() || !backend(group.device.type).products_in_loops()) return latest;
    for (std::size_t n : group.nodes)
      for (ValueId id : graph_.nodes[n].in) {
        const std::ptrdiff_t made = made_in_[index(id)];
        if (made <= latest) continue;
        const Graph::Node& maker = graph_.nodes[groups_[static_cast<std::size_t>(made)].nodes[0]];
        const Aval& a = graph_.values[index(id)];
        if (!is_product(maker) || a.shape != group.shape || !is_floating(a.dtype) || needed_outside(id, g)) continue;
        const bool adds = maker.op == &matmul_add_op;  // one operand and one operation more
        if (adds && (group.nodes.size() == kMaxMicroOps || operands_of(group.nodes, g) == kMaxExternal)) continue;
        latest = made;
      }
    return latest;
  }
  const Graph::Node& first(std::ptrdiff_t g) const {
    return graph_.nodes[groups_[static_cast<std::size_t>(g)].nodes[0]];
  }

  // Whether something outside group g reads the value.
  bool needed_outside(ValueId id, std::size_t g) const {
    if (escapes_[index(id)]) return true;
    for (std::size_t n : readers_[index(id)])
      if (group_of_node_[n] != g || n >= assigned_) return true;
    return false;
  }

 private:
  static std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }

  // Whether a value that group g makes need not leave it if the node joins: this node is the only one to read it later.
  bool spares_a_value(std::size_t g, const Graph::Node& node) const {
    return std::any_of(node.in.begin(), node.in.end(), [&](ValueId id) {
      if (made_in_[index(id)] != static_cast<std::ptrdiff_t>(g) || escapes_[index(id)]) return false;
      return std::all_of(readers_[index(id)].begin(), readers_[index(id)].end(), [&](std::size_t k) {
        return &graph_.nodes[k] == &node || (k < assigned_ && group_of_node_[k] == g);
      });
    });
  }

  // A node may join any group that runs no earlier than what it reads. The latest such group keeps lifetimes short, but
  // the one that makes what only this node still needs has no need to write that down.
  void assign(std::size_t n) {
    const Graph::Node& node = graph_.nodes[n];
    const Aval& made = graph_.values[index(node.out[0])];
    const auto joins = [&](std::size_t g) {
      return groups_[g].fused && groups_[g].shape == made.shape && groups_[g].device == made.device;
    };
    std::size_t target = groups_.size();
    if (is_sum(node) && sums_with_its_operand(n)) {
      target = static_cast<std::size_t>(made_in_[index(node.in[0])]);
      groups_[target].sums.push_back(n);
    } else if (fusable(node)) {
      std::size_t earliest = 0;
      for (ValueId id : node.in)
        if (made_in_[index(id)] >= 0) {
          const auto g = static_cast<std::size_t>(made_in_[index(id)]);
          earliest = std::max(earliest, joins(g) && !is_summed(id, g) ? g : g + 1);
        }
      if (earliest < groups_.size() && joins(earliest) && spares_a_value(earliest, node) && fits(earliest, n))
        target = earliest;
      for (std::size_t g = groups_.size(); target == groups_.size() && g-- > earliest;)
        if (joins(g) && fits(g, n)) target = g;
    }
    if (target == groups_.size()) groups_.push_back({made.shape, made.device, fusable(node), {}, {}});
    groups_[target].nodes.push_back(n);
    group_of_node_[n] = target;
    assigned_ = n + 1;
    for (ValueId id : node.out) made_in_[index(id)] = static_cast<std::ptrdiff_t>(target);
  }

  // Whether a value of group g is one of its sums, which are there when all of the loop has run.
  bool is_summed(ValueId id, std::size_t g) const {
    const auto& sums = groups_[g].sums;
    return std::any_of(sums.begin(), sums.end(), [&](std::size_t n) { return graph_.nodes[n].out[0] == id; });
  }

  // Whether the loop that computes what this node sums can sum it too.
  bool sums_with_its_operand(std::size_t n) {
    const Graph::Node& node = graph_.nodes[n];
    const Aval &from = graph_.values[index(node.in[0])], &to = graph_.values[index(node.out[0])];
    if (made_in_[index(node.in[0])] < 0) return false;
    const auto g = static_cast<std::size_t>(made_in_[index(node.in[0])]);
    const Group& group = groups_[g];
    if (!group.fused || is_summed(node.in[0], g) || !backend(from.device.type).sums_in_loops()) return false;
    if (product_of(g) >= 0) return false;  // which saves more
    if (!is_floating(from.dtype) || from.dtype != to.dtype) return false;
    if (from.shape.product() == 0 || from.shape.product() == to.shape.product()) return false;
    if (!group.sums.empty()) {
      const Graph::Node& first = graph_.nodes[group.sums[0]];
      if (group.sums.size() == FusedProgram::kMaxSums ||
          !go_together(axes_of(first), axes_of(node), from.shape.size()) ||
          graph_.values[index(first.out[0])].dtype != to.dtype)
        return false;
    }
    return fits(g, n);
  }

  bool fits(std::size_t g, std::size_t extra) {
    const Group& group = groups_[g];
    if (group.nodes.size() + 1 > kMaxMicroOps) return false;
    std::vector<std::size_t> nodes = group.nodes;
    nodes.push_back(extra);
    const std::size_t before = assigned_;
    group_of_node_[extra] = g;
    assigned_ = extra + 1;
    const int operands = operands_of(nodes, g);
    assigned_ = before;
    return operands <= kMaxExternal;
  }
  // What nodes of group g read and write, but for what passes between them.
  int operands_of(const std::vector<std::size_t>& nodes, std::size_t g) const {
    std::vector<ValueId> external;
    int outputs = 0;
    for (std::size_t n : nodes) {
      for (ValueId id : graph_.nodes[n].in) {
        const bool inside = made_in_[index(id)] == static_cast<std::ptrdiff_t>(g);
        if (!inside && std::find(external.begin(), external.end(), id) == external.end()) external.push_back(id);
      }
      for (ValueId id : graph_.nodes[n].out) outputs += needed_outside(id, g);
    }
    return static_cast<int>(external.size()) + outputs;
  }

  const Graph& graph_;
  std::vector<Group> groups_;
  std::vector<std::size_t> group_of_node_;  // of nodes below assigned_
  std::size_t assigned_ = 0;
  std::vector<std::ptrdiff_t> made_in_;            // group that computes each value; -1 for none
  std::vector<std::vector<std::size_t>> readers_;  // nodes that read each value
  std::vector<bool> escapes_;
};

// The loop of a group: slots of inputs and outputs, then temporaries that are reused once nobody reads them.
Step make_loop(const Graph& graph, const Grouping& grouping, std::size_t g) {
  const Group& group = grouping.groups()[g];
  Step step{Step::Kind::Fused, {}, {}, {}, {}, {}};
  const std::ptrdiff_t from = grouping.product_of(g);
  const Graph::Node* product = from >= 0 ? &grouping.first(from) : nullptr;
  const bool adds = product && product->op == &matmul_add_op;
  if (product) step.nodes.push_back(product);
  for (std::size_t n : group.nodes) step.nodes.push_back(&graph.nodes[n]);
  FusedProgram& program = step.program;
  program.shape = group.shape;
  std::vector<ValueId> made;
  const auto sums = [&](std::size_t n) {
    return std::find(group.sums.begin(), group.sums.end(), n) != group.sums.end();
  };
  for (std::size_t n : group.nodes)
    for (ValueId id : graph.nodes[n].out) {
      made.push_back(id);
      if (!sums(n) && grouping.needed_outside(id, g)) step.out.push_back(id);
    }
  auto contains = [](const std::vector<ValueId>& v, ValueId id) {
    return std::find(v.begin(), v.end(), id) != v.end();
  };
  for (std::size_t n : group.nodes)
    for (ValueId id : graph.nodes[n].in)
      if (!contains(made, id) && !contains(step.in, id) && !(product && id == product->out[0])) step.in.push_back(id);
  if (adds && !contains(step.in, product->in[2])) step.in.push_back(product->in[2]);

  program.n_inputs = static_cast<int>(step.in.size()) + (product != nullptr);
  program.n_outputs = static_cast<int>(step.out.size());
  auto dtype = [&](ValueId id) { return graph.values[static_cast<std::size_t>(id)].dtype; };
  std::vector<std::int16_t> slot(graph.values.size(), -1);
  auto new_slot = [&](ValueId id) {
    program.slot_dtype.push_back(dtype(id));
    return static_cast<std::int16_t>(program.slot_dtype.size() - 1);
  };
  for (ValueId id : step.in) slot[static_cast<std::size_t>(id)] = new_slot(id);
  const std::int16_t multiplied = product ? new_slot(product->out[0]) : std::int16_t{-1};
  for (ValueId id : step.out) slot[static_cast<std::size_t>(id)] = new_slot(id);
  for (std::size_t n : group.sums) step.out.push_back(graph.nodes[n].out[0]);

  std::vector<int> uses(graph.values.size());
  for (std::size_t n : group.nodes)
    for (ValueId id : graph.nodes[n].in) ++uses[static_cast<std::size_t>(id)];
  std::vector<std::int16_t> free;
  const auto first_temporary = static_cast<std::int16_t>(program.slot_dtype.size());
  if (product) {
    const auto& attrs = attrs_as<MatmulAttrs>(product->attrs.get());
    program.product = {attrs.transpose_a, attrs.transpose_b};
    step.in.insert(step.in.end(), {product->in[0], product->in[1]});
    std::int16_t& value = slot[static_cast<std::size_t>(product->out[0])];
    value = adds ? new_slot(product->out[0]) : multiplied;
    if (adds)
      program.ops.push_back(
          {kAdd, dtype(product->out[0]), 2, 1, {slot[static_cast<std::size_t>(product->in[2])], multiplied, value}});
  }
  for (std::size_t n : group.nodes) {
    const Graph::Node& node = graph.nodes[n];
    if (sums(n)) {  // its operand stays in its slot to the end
      program.sums.push_back({slot[static_cast<std::size_t>(node.in[0])], axes_of(node)});
      continue;
    }
    FusedProgram::MicroOp op{node.op->kernel_id,
                             dtype(node.in.back()),
                             static_cast<std::uint8_t>(node.in.size()),
                             static_cast<std::uint8_t>(node.out.size()),
                             {}};
    if (op.kernel < 0) op.kernel = FusedProgram::kSelect;
    std::size_t at = 0;
    for (ValueId id : node.in) op.slots[at++] = slot[static_cast<std::size_t>(id)];
    for (ValueId id : node.out) {
      std::int16_t& s = slot[static_cast<std::size_t>(id)];
      if (s < 0) {
        // Blocks are large enough for any dtype, but a slot has one.
        const auto same =
            std::find_if(free.begin(), free.end(), [&](std::int16_t f) { return program.slot_dtype[f] == dtype(id); });
        if (same != free.end())
          s = *same, free.erase(same);
        else
          s = new_slot(id);
      }
      op.slots[at++] = s;
    }
    for (ValueId id : node.in)
      if (const std::int16_t s = slot[static_cast<std::size_t>(id)];
          --uses[static_cast<std::size_t>(id)] == 0 && s >= first_temporary)
        free.push_back(s);
    for (ValueId id : node.out)  // results that nobody reads
      if (const std::int16_t s = slot[static_cast<std::size_t>(id)];
          uses[static_cast<std::size_t>(id)] == 0 && s >= first_temporary)
        free.push_back(s);
    program.ops.push_back(op);
  }
  step.loop = backend(group.device.type).prepare(program);
  return step;
}

}  // namespace

std::vector<Step> fuse(const Graph& graph) {
  const Grouping grouping(graph);
  std::vector<Step> steps;
  std::vector<bool> taken(grouping.groups().size());
  for (std::size_t g = 0; g < taken.size(); ++g)
    if (const std::ptrdiff_t product = grouping.product_of(g); product >= 0)
      taken[static_cast<std::size_t>(product)] = true;
  for (std::size_t g = 0; g < taken.size(); ++g) {
    const Group& group = grouping.groups()[g];
    if (taken[g]) continue;
    if (group.nodes.size() > 1 || grouping.product_of(g) >= 0) {
      steps.push_back(make_loop(graph, grouping, g));
      continue;
    }
    const Graph::Node& node = graph.nodes[group.nodes[0]];
    steps.push_back({node.op->view ? Step::Kind::View : Step::Kind::Kernel, {&node}, {}, {}, node.in, node.out});
  }
  return steps;
}

}  // namespace evolute
