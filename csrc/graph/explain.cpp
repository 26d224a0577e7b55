#include "graph/explain.h"

#include <algorithm>
#include <array>
#include <iomanip>
#include <ostream>
#include <sstream>

#include "graph/blocks.h"
#include "graph/products.h"
#include "graph/rewrite.h"
#include "ops/attrs.h"

namespace evolute {

namespace {

std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }
double elements(const Aval& a) { return static_cast<double>(a.shape.product()); }
double bytes_of(const Aval& a) { return elements(a) * static_cast<double>(size_of(a.dtype)); }

// 1234567 → "1.23 M", in powers of 1000 for counts and of 1024 for bytes.
std::string scaled(double x, double unit, std::array<const char*, 5> names) {
  std::size_t i = 0;
  for (; x >= unit && i + 1 < names.size(); ++i) x /= unit;
  std::ostringstream s;
  s << std::setprecision(i == 0 ? 4 : 3) << x << ' ' << names[i];
  return s.str();
}
std::string bytes(double x) { return scaled(x, 1024, {"B", "KiB", "MiB", "GiB", "TiB"}); }
std::string flops(double x) { return x == 0 ? "" : scaled(x, 1000, {"flop", "kflop", "Mflop", "Gflop", "Tflop"}); }

const RowBlocks* row_blocks(const Graph::Node& node) {
  return node.op == &row_blocks_op ? attrs_as<RowBlocksAttrs>(node.attrs.get()).blocks.get() : nullptr;
}

// "loop of 3: mul add tanh ×2" or the name of the one operation.
std::string title(const Step& step) {
  std::ostringstream s;
  if (step.kind != Step::Kind::Fused) {
    s << step.nodes[0]->op->name;
    if (step.nodes[0]->attrs) step.nodes[0]->attrs->print(s << '['), s << ']';
    return s.str();
  }
  s << "loop of " << step.nodes.size() << ':';
  std::vector<std::pair<std::string_view, int>> counts;
  for (const Graph::Node* n : step.nodes) {
    const auto at = std::find_if(counts.begin(), counts.end(), [&](auto& c) { return c.first == n->op->name; });
    at == counts.end() ? void(counts.emplace_back(n->op->name, 1)) : void(++at->second);
  }
  for (const auto& [name, count] : counts) {
    s << ' ' << name;
    if (count > 1) s << " ×" << count;
  }
  return s.str();
}

void print_ids(std::ostream& s, const std::vector<ValueId>& ids) {
  for (ValueId id : ids) s << " %" << id;
}

void print_steps(std::ostream& s, const Plan& plan, const std::string& indent) {
  int number = 0;
  for (const Step& step : plan.steps()) {
    if (step.kind == Step::Kind::View) continue;
    const Cost cost = cost_of(plan, step);
    s << indent << std::setw(3) << ++number << "  ";
    std::ostringstream line;
    line << title(step) << "  (";
    print_ids(line, step.in);
    line << " →";
    print_ids(line, step.out);
    line << " )";
    s << line.str() << "  " << bytes(cost.bytes);
    if (cost.flops > 0) s << ", " << flops(cost.flops);
    s << '\n';
    if (const RowBlocks* b = step.kind == Step::Kind::Kernel ? row_blocks(*step.nodes[0]) : nullptr) {
      const Plan& inner = b->plan ? *b->plan : *b->last;
      s << indent << "     each block of " << b->rows << " rows, " << bytes(static_cast<double>(inner.arena_bytes()))
        << " of intermediates:\n";
      print_steps(s, inner, indent + "     ");
    }
  }
}

// ---- drawing --------------------------------------------------------------------------------------------------------

std::string escaped(const std::string& text) {
  std::string s;
  for (char c : text) {
    if (c == '"' || c == '\\') s += '\\';
    s += c;
  }
  return s;
}
std::string text_of(const Aval& a) {
  std::ostringstream s;
  s << a;
  return s.str();
}

// Draws the steps of a plan; names carry `prefix`, so that inner plans have nodes of their own.
class Drawing {
 public:
  Drawing(std::ostream& s, const Plan& plan, std::string prefix)
      : s_(s), plan_(plan), prefix_(std::move(prefix)), made_by_(plan.graph().values.size()) {}

  void draw() {
    const Graph& g = plan_.graph();
    std::size_t i = 0;
    for (ValueId id : g.inputs) source(id, cat("input ", i++));
    for (const auto& v : g.variables) source(v.in, v.variable->name());
    for (const auto& c : g.constants) source(c.id, "constant");
    int loops = 0;
    for (const Step& step : plan_.steps()) {
      const bool loop = step.kind == Step::Kind::Fused;
      if (loop)
        s_ << "subgraph cluster_" << prefix_ << "loop" << loops++
           << " { style=\"rounded,filled\"; fillcolor=\"#eef4fb\"; color=\"#9db8d9\";\n";
      for (const Graph::Node* node : step.nodes) operation(*node);
      if (loop) s_ << "}\n";
    }
    for (const Step& step : plan_.steps())
      for (const Graph::Node* node : step.nodes)
        for (ValueId id : node->in) edge(made_by_[index(id)], name_of(*node), id);
    i = 0;
    for (ValueId id : g.outputs) sink(id, cat("output ", i++));
    for (const auto& v : g.variables)
      if (v.out >= 0) sink(v.out, v.variable->name());
  }

 private:
  std::string name_of(const Graph::Node& node) const { return cat(prefix_, "v", node.out[0]); }
  void source(ValueId id, const std::string& label) {
    made_by_[index(id)] = cat(prefix_, "v", id);
    s_ << made_by_[index(id)] << " [label=\"" << escaped(label)
       << "\", shape=ellipse, style=filled, fillcolor=\"#f3f3f3\"];\n";
  }
  void sink(ValueId id, const std::string& label) {
    const std::string name = cat(prefix_, "out", sinks_++);
    s_ << name << " [label=\"" << escaped(label) << "\", shape=ellipse, style=filled, fillcolor=\"#e4f3e2\"];\n";
    edge(made_by_[index(id)], name, id);
  }
  void edge(const std::string& from, const std::string& to, ValueId id) {
    s_ << from << " -> " << to << " [label=\"" << escaped(text_of(plan_.graph().values[index(id)])) << "\"];\n";
  }
  void operation(const Graph::Node& node) {
    const std::string name = name_of(node);
    for (ValueId id : node.out) made_by_[index(id)] = name;
    std::ostringstream label;
    label << node.op->name;
    const RowBlocks* b = row_blocks(node);
    if (b) label << "\\n" << b->rows << " of " << b->n << " rows at a time";
    const bool heavy = b || (!node.op->view && node.op->kernel_id < 0);
    s_ << name << " [label=\"" << label.str() << "\", shape=box, style=filled, fillcolor=\""
       << (heavy           ? "#fbe5cf"
           : node.op->view ? "#ffffff"
                           : "#dbe9f7")
       << "\"];\n";
    if (!b) return;
    const std::string inner = cat(name, "_");
    s_ << "subgraph cluster_" << inner << " { label=\"in each block of " << b->rows << " rows\"; color=\"#d9a05b\";\n";
    Drawing(s_, b->plan ? *b->plan : *b->last, inner).draw();
    s_ << "}\n";
  }

  std::ostream& s_;
  const Plan& plan_;
  const std::string prefix_;
  std::vector<std::string> made_by_;
  int sinks_ = 0;
};

}  // namespace

Cost cost_of(const Graph& graph, const Graph::Node& node) {
  static const Op& matmul = primitive("matmul");
  Cost cost;
  if (node.op->view) return cost;
  double most = 0;
  for (const auto* ids : {&node.in, &node.out})
    for (ValueId id : *ids) {
      const Aval& a = graph.values[index(id)];
      cost.bytes += bytes_of(a);
      most = std::max(most, elements(a));
    }
  if (const RowBlocks* b = row_blocks(node)) {
    const auto whole = static_cast<double>(b->n / b->rows);
    for (const auto& [plan, times] : {std::pair(b->plan, whole), std::pair(b->last, 1.0)})
      if (plan)
        for (const Step& step : plan->steps()) cost.flops += times * cost_of(*plan, step).flops;
  } else if (node.op == &matmul || node.op == &matmul_add_op) {
    const Shape& a = graph.values[index(node.in[0])].shape;
    const bool transposed = attrs_as<MatmulAttrs>(node.attrs.get()).transpose_a;
    cost.flops =
        2 * elements(graph.values[index(node.out[0])]) * static_cast<double>(a[a.size() - (transposed ? 2 : 1)]);
  } else {
    cost.flops = most;
  }
  return cost;
}

Cost cost_of(const Plan& plan, const Step& step) {
  Cost cost;
  for (const Graph::Node* node : step.nodes) cost.flops += cost_of(plan.graph(), *node).flops;
  for (const auto* ids : {&step.in, &step.out})
    for (ValueId id : *ids) cost.bytes += bytes_of(plan.graph().values[index(id)]);
  return cost;
}

void explain(std::ostream& s, const Plan& plan) {
  const Graph& graph = plan.graph();
  s << "passes (operations before → after):\n";
  for (const PassEffect& e : plan.effects())
    if (e.before != e.after)
      s << "  " << std::left << std::setw(15) << e.pass->name << std::right << std::setw(5) << e.before << " → "
        << std::left << std::setw(5) << e.after << std::right << e.pass->summary << '\n';
  s << "graph:\n" << graph;
  s << "steps (bytes read and written, work):\n";
  print_steps(s, plan, "  ");
  double external = 0, results = 0;
  for (ValueId id : graph.inputs) external += bytes_of(graph.values[index(id)]);
  for (const auto& v : graph.variables) external += bytes_of(v.aval);
  for (ValueId id : graph.outputs) results += bytes_of(graph.values[index(id)]);
  for (const auto& v : graph.variables)
    if (v.out >= 0) results += bytes_of(v.aval);
  double blocks = 0;  // each thread has its own
  for (const Step& step : plan.steps())
    if (const RowBlocks* b = step.kind == Step::Kind::Kernel ? row_blocks(*step.nodes[0]) : nullptr)
      blocks = std::max(blocks, static_cast<double>((b->plan ? b->plan : b->last)->arena_bytes()));
  const auto arena = static_cast<double>(plan.arena_bytes());
  s << "memory: " << bytes(external) << " of operands, " << bytes(results) << " of results, " << bytes(arena)
    << " of intermediates";
  if (blocks > 0) s << ", " << bytes(blocks) << " more for each thread in row blocks";
  s << "; peak without operands " << bytes(results + arena + blocks) << '\n';
}

void write_dot(std::ostream& s, const Plan& plan) {
  s << "digraph {\nnewrank=true; splines=line;\nnode [fontname=\"Helvetica\", fontsize=10]; edge "
       "[fontname=\"Helvetica\", fontsize=8, "
       "color=\"#707070\"];\n";
  Drawing(s, plan, "").draw();
  s << "}\n";
}

}  // namespace evolute
