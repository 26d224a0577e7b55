// Row blocks: what treats the rows of a batch alike runs block of rows by block of rows (graph/blocks.h).
//
// Nodes are sorted into phases. A node that acts by rows joins the first phase in which all it needs is at hand: rows
// from the phase itself or from earlier ones; whole arrays and sums only from before it. Each phase then becomes one
// node, unless there is too little in it to gain.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "evolute/ops.h"
#include "graph/blocks.h"
#include "graph/products.h"
#include "graph/rewrite.h"
#include "ops/attrs.h"
#include "ops/rows.h"

namespace evolute {

namespace {

std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }
double bytes_of(const Aval& a) {
  return static_cast<double>(a.shape.product()) * static_cast<double>(size_of(a.dtype));
}

// What the intermediates of a block may take: most of a core's second-level cache.
double cache_bytes() {
#ifdef _SC_LEVEL2_CACHE_SIZE
  static const long size = sysconf(_SC_LEVEL2_CACHE_SIZE);
  if (size > 0) return static_cast<double>(size) * 3 / 4;
#endif
  return 768 * 1024;
}

constexpr int kNever = 1 << 30;
constexpr std::int64_t kMinRows = 256;
constexpr double kMinBytes = 1 << 20;  // of intermediates: less than that stays in the cache anyway

// The length of the leading axis of most of what is computed.
std::int64_t common_rows(const Graph& graph) {
  std::vector<std::pair<std::int64_t, double>> candidates;
  for (const Graph::Node& node : graph.nodes) {
    const Aval& a = graph.values[index(node.out[0])];
    if (node.op->view || a.shape.size() == 0 || a.shape[0] < kMinRows) continue;
    auto at = std::find_if(candidates.begin(), candidates.end(), [&](auto& c) { return c.first == a.shape[0]; });
    if (at == candidates.end()) at = candidates.insert(at, {a.shape[0], 0});
    at->second += bytes_of(a);
  }
  const auto best = std::max_element(candidates.begin(), candidates.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  return best != candidates.end() && best->second >= kMinBytes ? best->first : 0;
}

class Blocking {
 public:
  Blocking(const Graph& graph, std::int64_t n)
      : graph_(graph),
        n_(n),
        rules_(graph.nodes.size()),
        phase_(graph.nodes.size(), -1),
        ready_(graph.values.size()),
        rows_in_phase_(graph.values.size(), -1),
        summed_in_phase_(graph.values.size(), -1),
        maker_(graph.values.size(), -1) {
    assign_phases();
    delay();
    drop_poor_phases();
    find_results();
  }

  bool idle() const {
    return std::all_of(phase_.begin(), phase_.end(), [](int p) { return p < 0; });
  }

  std::shared_ptr<Graph> build() const {
    auto result = std::make_shared<Graph>(graph_);
    result->nodes.clear();
    const int last = *std::max_element(time_.begin(), time_.end());
    for (int t = 0; t <= last; ++t) {
      emit(*result, t, false);
      if (std::find(phase_.begin(), phase_.end(), t) == phase_.end()) continue;
      result->nodes.push_back(blocks_of(t, *result));
      emit(*result, t, true);
    }
    prune(*result);
    return result;
  }

 private:
  void assign_phases() {
    static const Op& add = primitive("add");
    time_.resize(graph_.nodes.size());
    SmallVector<const Aval*, 4> operands;
    for (std::size_t k = 0; k < graph_.nodes.size(); ++k) {
      const Graph::Node& node = graph_.nodes[k];
      operands.clear();
      for (ValueId id : node.in) operands.push_back(&graph_.values[index(id)]);
      rules_[k] = row_rule(*node.op, node.attrs.get(), operands, graph_.values[index(node.out[0])], n_);
      // Two sums over the same rows are added block by block, so that one is left to be carried along.
      const int t0 = node.op == &add ? summed_in_phase_[index(node.in[0])] : -1;
      if (t0 >= 0 && summed_in_phase_[index(node.in[1])] == t0) {
        rules_[k] = {RowRole::Sum, 0};
        place(k, t0);
        continue;
      }
      int t = 0;
      for (std::size_t i = 0; i < node.in.size(); ++i) {
        const std::size_t id = index(node.in[i]);
        const bool within = rules_[k].takes_rows(i) && rows_in_phase_[id] >= 0;
        t = std::max(t, within ? rows_in_phase_[id] : ready_[id]);
      }
      place(k, t);
    }
  }
  // What is elementwise in one array of rows and read only in later phases belongs there: it need not be kept until
  // then.
  void delay() {
    std::vector<int> first_reader(graph_.values.size(), kNever);  // -1 where a reader is outside of all phases
    for (ValueId id : graph_.outputs) first_reader[index(id)] = -1;
    for (const auto& v : graph_.variables)
      if (v.out >= 0) first_reader[index(v.out)] = -1;
    for (std::size_t k = graph_.nodes.size(); k-- > 0;) {
      const Graph::Node& node = graph_.nodes[k];
      const int first = first_reader[index(node.out[0])];
      std::vector<ValueId> rows;
      for (std::size_t i = 0; i < node.in.size(); ++i)
        if (rules_[k].takes_rows(i) && std::find(rows.begin(), rows.end(), node.in[i]) == rows.end())
          rows.push_back(node.in[i]);
      if (node.op->kernel_id >= 0 && node.out.size() == 1 && phase_[k] >= 0 && first > phase_[k] && first < kNever &&
          rows.size() == 1)
        phase_[k] = time_[k] = first;
      for (std::size_t i = 0; i < node.in.size(); ++i) {
        int& f = first_reader[index(node.in[i])];
        f = std::min(f, rules_[k].takes_rows(i) ? phase_[k] : -1);
      }
    }
  }

  void place(std::size_t k, int t) {
    const RowRole role = rules_[k].role;
    time_[k] = t;
    if (role != RowRole::None) phase_[k] = t;
    for (ValueId id : graph_.nodes[k].out) {
      maker_[index(id)] = static_cast<int>(k);
      ready_[index(id)] = role != RowRole::None ? t + 1 : t;
      if (role == RowRole::Rows) rows_in_phase_[index(id)] = t;
      if (role == RowRole::Sum) summed_in_phase_[index(id)] = t;
    }
  }

  void drop_poor_phases() {
    const int last = *std::max_element(phase_.begin(), phase_.end());
    for (int p = 0; p <= last; ++p)
      if (!pays(p)) std::replace(phase_.begin(), phase_.end(), p, -1);
  }

  // A phase pays if it has enough intermediates, more than one fused loop could do, and moves less memory: each block
  // reads whole operands and updates the sums anew, so that these must stay in the cache as well or be small beside
  // what passes from row to row.
  bool pays(int p) const {
    double rows = 0, whole = 0, sums = 0;  // bytes
    bool mixed = false;
    const std::vector<std::size_t> nodes = nodes_of(p);
    std::vector<bool> seen(graph_.values.size());
    for (std::size_t k : nodes) {
      const Graph::Node& node = graph_.nodes[k];
      if (node.op->view) continue;
      mixed = mixed || node.op->kernel_id < 0;
      for (ValueId id : node.out) (rules_[k].role == RowRole::Rows ? rows : sums) += bytes_of(graph_.values[index(id)]);
      for (std::size_t i = 0; i < node.in.size(); ++i) {
        const std::size_t id = index(node.in[i]);
        if (rules_[k].takes_rows(i) || !rules_[k].by_rows || seen[id]) continue;
        seen[id] = true;
        whole += bytes_of(graph_.values[id]);
      }
    }
    if (!mixed || rows < kMinBytes) return false;
    if (whole + sums <= cache_bytes()) return true;
    const double per_block = rows / static_cast<double>(n_) * static_cast<double>(rows_per_block(nodes));
    return per_block > 2 * whole + 4 * sums;
  }

  std::vector<std::size_t> nodes_of(int p) const {
    std::vector<std::size_t> nodes;
    for (std::size_t k = 0; k < phase_.size(); ++k)
      if (phase_[k] == p) nodes.push_back(k);
    return nodes;
  }

  // Views of rows cost nothing: outside they are made again from what they look at.
  bool repeated(std::size_t k) const { return phase_[k] >= 0 && graph_.nodes[k].op->view; }

  // Values of a phase that are read elsewhere.
  void find_results() {
    wanted_.assign(graph_.values.size(), false);
    for (ValueId id : graph_.outputs) wanted_[index(id)] = true;
    for (const auto& v : graph_.variables)
      if (v.out >= 0) wanted_[index(v.out)] = true;
    for (std::size_t k = graph_.nodes.size(); k-- > 0;) {
      const Graph::Node& node = graph_.nodes[k];
      const bool outside =
          std::any_of(node.out.begin(), node.out.end(), [&](ValueId id) { return wanted_[index(id)]; });
      for (std::size_t i = 0; i < node.in.size(); ++i) {
        const int m = maker_[index(node.in[i])];
        const bool shared = m >= 0 && phase_[k] >= 0 && phase_[static_cast<std::size_t>(m)] == phase_[k];
        if (!shared || (repeated(k) && outside)) wanted_[index(node.in[i])] = true;
      }
    }
  }

  // Nodes of time t that run by themselves: before the phase of that time, or the views after it.
  void emit(Graph& out, int t, bool after) const {
    for (std::size_t k = 0; k < graph_.nodes.size(); ++k)
      if (time_[k] == t && (after ? repeated(k) : phase_[k] < 0)) out.nodes.push_back(graph_.nodes[k]);
  }
  // The node for phase p of the new graph, `whole`; what has to be laid out for it is put before it.
  Graph::Node blocks_of(int p, Graph& whole) const {
    RowBlocks b;
    b.n = n_;
    Graph::Node result{&row_blocks_op, nullptr, {}, {}};
    const std::vector<std::size_t> nodes = nodes_of(p);
    b.rows = rows_per_block(nodes);
    b.ns = nanoseconds(nodes);
    for (std::size_t k : nodes)
      for (ValueId id : graph_.nodes[k].out)
        if (wanted_[index(id)] && !graph_.nodes[k].op->view) {
          result.out.push_back(id);
          b.rows_out.push_back(rules_[k].role == RowRole::Rows);
        }
    std::vector<External> externals;
    if (n_ >= b.rows) b.plan = plan(nodes, result.out, b.rows, externals);
    if (n_ % b.rows) b.last = plan(nodes, result.out, n_ % b.rows, externals);
    for (const External& e : externals) {
      result.in.push_back(e.transposed ? transposed(e.id, whole) : e.id);
      b.rows_in.push_back(e.by_rows);
    }
    result.attrs = make_attrs(RowBlocksAttrs{std::make_shared<const RowBlocks>(std::move(b))});
    return result;
  }

  // What a phase reads from outside.
  struct External {
    ValueId id;
    bool by_rows, transposed;
    bool operator==(const External&) const = default;
  };

  static ValueId transposed(ValueId id, Graph& whole) {
    Aval a = whole.values[index(id)];
    std::swap(a.shape[0], a.shape[1]);
    const auto result = static_cast<ValueId>(whole.values.size());
    whole.values.push_back(a);
    whole.nodes.push_back({&transposed_op, nullptr, {id}, {result}});
    return result;
  }

  // A product of rows and a transposed matrix, as for the cotangent of a layer: every block would pack the matrix anew.
  bool reads_transposed(std::size_t k) const {
    static const Op& matmul = primitive("matmul");
    const Graph::Node& node = graph_.nodes[k];
    return node.op == &matmul && rules_[k].role == RowRole::Rows && rules_[k].by_rows == 1 &&
           attrs_as<MatmulAttrs>(node.attrs.get()).transpose_b && graph_.values[index(node.in[1])].shape.size() == 2;
  }

  // Where the sum so far enters each sum over rows: the node whose result it is added to, the first of the terms, or
  // one that is read for other reasons as well.
  std::vector<std::size_t> starts_of_sums(const std::vector<std::size_t>& nodes,
                                          const std::vector<ValueId>& sums) const {
    std::vector<int> readers(graph_.values.size());
    for (std::size_t k : nodes)
      for (ValueId id : graph_.nodes[k].in) ++readers[index(id)];
    std::vector<std::size_t> starts;
    for (ValueId id : sums) {
      auto k = static_cast<std::size_t>(maker_[index(id)]);
      while (rules_[k].by_rows == 0 &&
             readers[index(graph_.nodes[k].out[0])] == (graph_.nodes[k].out[0] == id ? 0 : 1)) {
        const auto& in = graph_.nodes[k].in;
        const ValueId next = maker_[index(in[0])] <= maker_[index(in[1])] ? in[0] : in[1];
        if (readers[index(next)] != 1 || wanted_[index(next)]) break;
        k = static_cast<std::size_t>(maker_[index(next)]);
      }
      starts.push_back(k);
    }
    return starts;
  }

  // The nodes on `rows` rows. `externals`: what they read from outside.
  std::shared_ptr<const Plan> plan(const std::vector<std::size_t>& nodes, const std::vector<ValueId>& outputs,
                                   std::int64_t rows, std::vector<External>& externals) const {
    Recording recording;
    std::vector<Tensor> inner(graph_.values.size());
    std::vector<External> order;
    std::vector<Tensor> symbols;
    std::vector<ValueId> sums;
    for (ValueId id : outputs)
      if (rules_[static_cast<std::size_t>(maker_[index(id)])].role == RowRole::Sum) sums.push_back(id);
    const std::vector<std::size_t> starts = starts_of_sums(nodes, sums);
    std::vector<Tensor> so_far;
    std::map<ValueId, Tensor> total;  // of sums whose last node is the one that they start from
    for (ValueId id : sums) so_far.push_back(recording.input(graph_.values[index(id)]));

    const auto external = [&](ValueId id, bool by_rows, bool transposed) -> Tensor {
      Aval a = graph_.values[index(id)];
      if (transposed) std::swap(a.shape[0], a.shape[1]);
      const auto c =
          std::find_if(graph_.constants.begin(), graph_.constants.end(), [&](auto& k) { return k.id == id; });
      if (c != graph_.constants.end() && !transposed) {
        if (!by_rows) return c->value;
        Shape shape = a.shape;
        shape[0] = rows;
        if (double value; is_uniform(c->value, value)) return full(shape, value, a.dtype, a.device);
      }
      const auto at = std::find(order.begin(), order.end(), External{id, by_rows, transposed});
      if (at != order.end()) return symbols[static_cast<std::size_t>(at - order.begin())];
      Aval block = a;
      if (by_rows) block.shape[0] = rows;
      order.push_back({id, by_rows, transposed});
      symbols.push_back(recording.input(block));
      return symbols.back();
    };
    Tensors in, out;
    for (std::size_t k : nodes) {
      const Graph::Node& node = graph_.nodes[k];
      const bool turned = reads_transposed(k);
      in.clear();
      for (std::size_t i = 0; i < node.in.size(); ++i) {
        const Tensor& made = inner[index(node.in[i])];
        in.push_back(made.defined() ? made : external(node.in[i], rules_[k].takes_rows(i), i == 1 && turned));
      }
      out.clear();
      out.resize(node.out.size());
      apply(*node.op, turned ? make_attrs(MatmulAttrs{false, false}) : attrs_for_rows(*node.op, node.attrs, rows), in,
            out);
      for (std::size_t i = 0; i < node.out.size(); ++i) inner[index(node.out[i])] = out[i];
      for (std::size_t i = 0; i < sums.size(); ++i) {
        if (starts[i] != k) continue;
        const Tensor started = add(so_far[i], out[0]);
        if (node.out[0] == sums[i])
          total[sums[i]] = started;
        else
          inner[index(node.out[0])] = started;
      }
    }
    std::vector<Tensor> results;
    for (ValueId id : outputs) results.push_back(total.contains(id) ? total[id] : inner[index(id)]);
    externals = order;
    return std::make_shared<const Plan>(accumulate(*recording.finish(results)));
  }

  // As many rows as keep what is alive at once in the cache.
  std::int64_t rows_per_block(const std::vector<std::size_t>& nodes) const {
    std::vector<std::size_t> last(graph_.values.size(), 0);
    for (std::size_t k : nodes)
      for (ValueId id : graph_.nodes[k].in) last[index(id)] = k;
    double alive = 0, most = 0;
    std::vector<bool> counted(graph_.values.size());
    for (std::size_t k : nodes) {
      const Graph::Node& node = graph_.nodes[k];
      const auto size = [&](ValueId id) { return bytes_of(graph_.values[index(id)]) / static_cast<double>(n_); };
      if (rules_[k].role == RowRole::Rows && !node.op->view)
        for (ValueId id : node.out) alive += size(id), counted[index(id)] = true;
      most = std::max(most, alive);
      for (ValueId id : node.in)
        if (counted[index(id)] && last[index(id)] == k) alive -= size(id), counted[index(id)] = false;
    }
    const auto rows = static_cast<std::int64_t>(cache_bytes() / std::max(most, 1.0));
    const std::int64_t fit = std::clamp<std::int64_t>(rows, 16, n_);
    // Tiles of matrix products are 14 rows high with AVX-512: blocks are made of whole ones.
    constexpr std::int64_t kTiles = 14;
    return fit < kTiles ? fit : fit / kTiles * kTiles;
  }

  // What one thread takes for a row, about.
  double nanoseconds(const std::vector<std::size_t>& nodes) const {
    static const Op& matmul = primitive("matmul");
    double ns = 0;
    for (std::size_t k : nodes) {
      const Graph::Node& node = graph_.nodes[k];
      if (node.op->view) continue;
      const Aval &out = graph_.values[index(node.out[0])], &in = graph_.values[index(node.in[0])];
      double work = static_cast<double>(std::max(out.shape.product(), in.shape.product())) * 0.1;
      if (node.op == &matmul) {
        const double k_length = static_cast<double>(
            in.shape[in.shape.size() - (attrs_as<MatmulAttrs>(node.attrs.get()).transpose_a ? 2 : 1)]);
        work = static_cast<double>(out.shape.product()) * k_length / 40;
      }
      ns += work / static_cast<double>(n_);
    }
    return ns;
  }

  const Graph& graph_;
  const std::int64_t n_;
  std::vector<RowRule> rules_;        // of each node
  std::vector<int> phase_, time_;     // of each node; phase -1: runs by itself
  std::vector<int> ready_;            // of each value: from which time on it is whole
  std::vector<int> rows_in_phase_;    // of each value that is rows of a phase: which
  std::vector<int> summed_in_phase_;  // of each value that is a sum over the rows of a phase: which
  std::vector<int> maker_;            // of each value: its node
  std::vector<bool> wanted_;          // of each value
};

}  // namespace

std::shared_ptr<Graph> block_rows(const Graph& graph) {
  // Blocks of rows are for caches of CPUs.
  const bool on_cpu = std::all_of(graph.values.begin(), graph.values.end(),
                                  [](const Aval& a) { return a.device.type == DeviceType::CPU; });
  const std::int64_t n = on_cpu ? common_rows(graph) : 0;
  if (n == 0) return std::make_shared<Graph>(graph);
  const Blocking blocking(graph, n);
  return blocking.idle() ? std::make_shared<Graph>(graph) : blocking.build();
}

}  // namespace evolute
