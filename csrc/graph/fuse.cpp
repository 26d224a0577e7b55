// Fusion: elementwise nodes of one shape that can run together become one loop; on devices whose loops can, with sums
// of what they compute.
#include <algorithm>

#include "graph/plan.h"
#include "graph/rewrite.h"
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
    std::vector<ValueId> external;
    int outputs = 0;
    for (std::size_t n : nodes) {
      for (ValueId id : graph_.nodes[n].in) {
        const bool inside = made_in_[index(id)] == static_cast<std::ptrdiff_t>(g);
        if (!inside && std::find(external.begin(), external.end(), id) == external.end()) external.push_back(id);
      }
      for (ValueId id : graph_.nodes[n].out) outputs += needed_outside(id, g);
    }
    assigned_ = before;
    return static_cast<int>(external.size()) + outputs <= kMaxExternal;
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
      if (!contains(made, id) && !contains(step.in, id)) step.in.push_back(id);

  program.n_inputs = static_cast<int>(step.in.size());
  program.n_outputs = static_cast<int>(step.out.size());
  auto dtype = [&](ValueId id) { return graph.values[static_cast<std::size_t>(id)].dtype; };
  std::vector<std::int16_t> slot(graph.values.size(), -1);
  auto new_slot = [&](ValueId id) {
    program.slot_dtype.push_back(dtype(id));
    return static_cast<std::int16_t>(program.slot_dtype.size() - 1);
  };
  for (ValueId id : step.in) slot[static_cast<std::size_t>(id)] = new_slot(id);
  for (ValueId id : step.out) slot[static_cast<std::size_t>(id)] = new_slot(id);
  for (std::size_t n : group.sums) step.out.push_back(graph.nodes[n].out[0]);

  std::vector<int> uses(graph.values.size());
  for (std::size_t n : group.nodes)
    for (ValueId id : graph.nodes[n].in) ++uses[static_cast<std::size_t>(id)];
  std::vector<std::int16_t> free;
  const auto first_temporary = static_cast<std::int16_t>(program.slot_dtype.size());
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
  for (std::size_t g = 0; g < grouping.groups().size(); ++g) {
    const Group& group = grouping.groups()[g];
    if (group.nodes.size() > 1) {
      steps.push_back(make_loop(graph, grouping, g));
      continue;
    }
    const Graph::Node& node = graph.nodes[group.nodes[0]];
    steps.push_back({node.op->view ? Step::Kind::View : Step::Kind::Kernel, {&node}, {}, {}, node.in, node.out});
  }
  return steps;
}

}  // namespace evolute
