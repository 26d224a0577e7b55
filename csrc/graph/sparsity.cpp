// Which inputs each element of each value depends on, followed through a recorded graph.
//
// An element has a set of inputs. Sets are numbered, and equal ones have one number: moving elements moves numbers, and
// the union of two numbers is looked up. Data movement is not told apart by kind: the operation itself is run on
// numbers that say where each element is.
#include "evolute/sparsity.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <unordered_map>

#include "evolute/ops.h"
#include "graph/control/control.h"
#include "ops/attrs.h"

namespace evolute {

namespace {

// Loops are followed step by step as long as that is this many elements in all, or this many rounds.
constexpr std::size_t kMostSteps = 100'000'000;
constexpr int kMostRounds = 64;

using SetId = std::uint32_t;  // 0: the empty set

class Sets {
 public:
  Sets() { keep({}); }

  const std::vector<std::int32_t>& operator[](SetId id) const { return sets_[id]; }
  SetId single(std::int32_t i) { return keep({i}); }
  SetId unite(SetId a, SetId b) {
    if (a > b) std::swap(a, b);
    if (a == 0 || a == b) return b;
    SetId& known = united_[std::uint64_t{a} << 32 | b];
    if (known) return known;
    std::vector<std::int32_t> all;
    std::ranges::set_union(sets_[a], sets_[b], std::back_inserter(all));
    return known = keep(std::move(all));
  }
  SetId unite(std::vector<SetId>& ids) {
    std::ranges::sort(ids);
    ids.erase(std::ranges::unique(ids).begin(), ids.end());
    if (ids.size() <= 2) return ids.empty() ? 0 : unite(ids.front(), ids.back());
    std::vector<std::int32_t> all;
    for (SetId id : ids) all.insert(all.end(), sets_[id].begin(), sets_[id].end());
    std::ranges::sort(all);
    all.erase(std::ranges::unique(all).begin(), all.end());
    return keep(std::move(all));
  }

 private:
  SetId keep(std::vector<std::int32_t> set) {
    std::size_t hash = set.size();
    for (std::int32_t i : set) hash = hash_mix(hash, static_cast<std::size_t>(i));
    for (auto [at, end] = known_.equal_range(hash); at != end; ++at)
      if (sets_[at->second] == set) return at->second;
    sets_.push_back(std::move(set));
    return known_.emplace(hash, static_cast<SetId>(sets_.size() - 1))->second;
  }
  std::vector<std::vector<std::int32_t>> sets_;
  std::unordered_multimap<std::size_t, SetId> known_;
  std::unordered_map<std::uint64_t, SetId> united_;
};

// The set of each element of a value; no sets at all where nothing depends on anything.
using Deps = std::vector<SetId>;

// Calls f(i, offset) for the elements of `shape` in row-major order.
template <class F>
void for_each_offset(const Shape& shape, const Dims& strides, F&& f) {
  const std::int64_t n = shape.product();
  Dims at = Dims::filled(shape.size(), 0);
  std::int64_t offset = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    f(static_cast<std::size_t>(i), static_cast<std::size_t>(offset));
    for (int d = shape.size() - 1; d >= 0; --d) {
      offset += strides[d];
      if (++at[d] < shape[d]) break;
      offset -= strides[d] * shape[d];
      at[d] = 0;
    }
  }
}

// Strides of `shape` in row-major order as one of `ndim` axes; 0 where it has length 1 or no axis.
Dims broadcast_strides(const Shape& shape, int ndim) {
  Dims strides = Dims::filled(ndim, 0);
  std::int64_t step = 1;
  for (int d = shape.size() - 1; d >= 0; --d) {
    if (shape[d] != 1) strides[ndim - shape.size() + d] = step;
    step *= shape[d];
  }
  return strides;
}

class Propagation {
 public:
  Propagation(const Graph& graph, Sets& sets, bool within_rule = false)
      : graph_(graph), sets_(sets), known_(graph.values.size()), within_rule_(within_rule) {}

  // `inputs`: sets of the inputs, and values of those that are known.
  std::vector<Deps> run(std::vector<Deps> inputs, const std::vector<Tensor>& values) {
    std::vector<Deps> deps(graph_.values.size());
    for (std::size_t i = 0; i < graph_.inputs.size(); ++i) {
      deps[index(graph_.inputs[i])] = std::move(inputs[i]);
      known_[index(graph_.inputs[i])] = values[i];
    }
    for (const auto& c : graph_.constants) known_[index(c.id)] = c.value;
    for (const Graph::Node& node : graph_.nodes) {
      std::vector<const Deps*> in;
      for (ValueId id : node.in) in.push_back(&deps[index(id)]);
      std::vector<Deps> out = through(node, in);
      for (std::size_t i = 0; i < node.out.size(); ++i) deps[index(node.out[i])] = std::move(out[i]);
    }
    std::vector<Deps> results;
    for (ValueId id : graph_.outputs) results.push_back(deps[index(id)]);
    return results;
  }

 private:
  using In = std::span<const Deps* const>;
  using Node = Graph::Node;

  static std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }
  const Shape& shape(ValueId id) const { return graph_.values[index(id)].shape; }
  std::size_t size(ValueId id) const { return static_cast<std::size_t>(shape(id).product()); }

  std::vector<Deps> through(const Node& node, In in) {
    if (!node.op->vjp || std::ranges::all_of(in, [](const Deps* d) { return d->empty(); })) {
      note_value(node);
      return std::vector<Deps>(node.out.size());
    }
    using Rule = Deps (Propagation::*)(const Node&, In);
    static const std::unordered_map<const Op*, Rule> rules = [] {
      std::unordered_map<const Op*, Rule> table;
      const auto set = [&](Rule rule, std::initializer_list<const char*> names) {
        for (const char* name : names) table[&primitive(name)] = rule;
      };
      set(&Propagation::elementwise, {"where", "cast"});
      set(&Propagation::moved,
          {"reshape", "transpose", "broadcast_to", "slice", "unslice", "concat", "diagonal", "diag_embed"});
      set(&Propagation::gathered, {"gather"});
      set(&Propagation::scattered, {"scatter_add", "scatter_set"});
      set(&Propagation::reduced, {"sum", "prod", "max", "min"});
      set(&Propagation::accumulated, {"cumsum"});
      set(&Propagation::multiplied, {"matmul"});
      return table;
    }();
    if (node.op->kernel_id >= 0) return kernels(node, in);
    if (const auto rule = rules.find(node.op); rule != rules.end()) return {(this->*rule->second)(node, in)};
    if (node.op == &checkpoint_op)
      return within(*static_cast<const CallAttrs&>(*node.attrs).body, in, std::span(node.in));
    if (node.op == &cond_op) return chosen(node, in);
    if (node.op == &scan_op) return scanned(node, in);
    if (node.op == &while_op) return repeated(node, in);
    if (node.op->annotates && !within_rule_) return ruled(node, in);
    return whole(node, in);
  }

  // What is computed from known values alone: numbers that say where elements go.
  void note_value(const Node& node) {
    Tensors in;
    for (ValueId id : node.in) {
      if (!known_[index(id)].defined()) return;
      in.push_back(known_[index(id)]);
    }
    const bool moves =
        std::ranges::all_of(node.out, [&](ValueId id) { return !is_floating(graph_.values[index(id)].dtype); });
    if (!moves || node.op->runs_graph) return;
    Tensors out(node.out.size());
    evaluate(*node.op, node.attrs.get(), in, out);
    for (std::size_t i = 0; i < node.out.size(); ++i) known_[index(node.out[i])] = out[i];
  }

  // Everything depends on everything.
  std::vector<Deps> whole(const Node& node, In in) {
    std::vector<SetId> all;
    for (const Deps* d : in) all.insert(all.end(), d->begin(), d->end());
    const SetId set = sets_.unite(all);
    std::vector<Deps> out;
    for (ValueId id : node.out) out.emplace_back(size(id), set);
    return out;
  }
  Deps whole_of(const Node& node, In in) { return std::move(whole(node, in)[0]); }

  void add_broadcast(Deps& out, const Shape& to, const Deps& d, const Shape& from) {
    if (d.empty()) return;
    for_each_offset(to, broadcast_strides(from, to.size()),
                    [&](std::size_t i, std::size_t at) { out[i] = sets_.unite(out[i], d[at]); });
  }

  // One set for all results, but for pairs of derivatives: that by an operand in which the function is linear does not
  // depend on that operand.
  std::vector<Deps> kernels(const Node& node, In in) {
    constexpr std::string_view kPair = ".vjp";
    const std::string& name = node.op->name;
    if (!name.ends_with(kPair)) return std::vector<Deps>(node.out.size(), elementwise(node, in));
    const Op& function = primitive(std::string_view(name).substr(0, name.size() - kPair.size()));
    std::vector<Deps> out;
    for (std::size_t k = 0; k < node.out.size(); ++k) {
      static const Deps none;
      std::vector<const Deps*> read(in.begin(), in.end());
      if (function.linear_in >> k & 1u) read[k + 1] = &none;
      out.push_back(elementwise(node, read));
    }
    return out;
  }
  Deps elementwise(const Node& node, In in) {
    static const Op& where = primitive("where");
    const Shape& to = shape(node.out[0]);
    Deps out(size(node.out[0]));
    for (std::size_t i = node.op == &where ? 1 : 0; i < in.size(); ++i)
      add_broadcast(out, to, *in[i], shape(node.in[i]));
    return out;
  }

  // Numbers of the elements of all operands, from 1.
  static Tensor numbers(const Shape& shape, std::int64_t first) {
    const std::int64_t n = shape.product();
    return reshape(arange(static_cast<double>(first), static_cast<double>(first + n), 1, DType::Int64), shape);
  }
  // A value, if it is known, where the numbers are.
  Tensor beside_numbers(ValueId id) const {
    const Tensor& t = known_[index(id)];
    return t.defined() ? to_device(t, Device{}) : t;
  }
  // Sets of elements that are where an operation has put their numbers; 0 stands for a new element.
  Deps picked(const Node& node, In in, std::size_t n_moved) {
    Tensors operands;
    Deps all{0};
    for (std::size_t i = 0; i < in.size(); ++i) {
      if (i >= n_moved) {
        operands.push_back(beside_numbers(node.in[i]));
        if (!operands.back().defined()) return whole_of(node, in);
        continue;
      }
      operands.push_back(numbers(shape(node.in[i]), static_cast<std::int64_t>(all.size())));
      if (in[i]->empty())
        all.resize(all.size() + size(node.in[i]));
      else
        all.insert(all.end(), in[i]->begin(), in[i]->end());
    }
    return taken(all, run(*node.op, node.attrs, operands));
  }
  static Tensor run(const Op& op, const AttrsPtr& attrs, std::span<const Tensor> in) {
    Tensor out;
    evaluate(op, attrs.get(), in, {&out, 1});
    return out;
  }
  static std::vector<std::int64_t> integers(const Tensor& t) {
    const Ref<Array> dense = contiguous(t.array());
    std::vector<std::int64_t> values(static_cast<std::size_t>(t.size()));
    if (!values.empty()) std::memcpy(values.data(), dense->bytes(), values.size() * sizeof(std::int64_t));
    return values;
  }
  static Deps taken(const Deps& all, const Tensor& where) {
    Deps out;
    for (std::int64_t i : integers(where)) out.push_back(all[static_cast<std::size_t>(i)]);
    return out;
  }
  Deps moved(const Node& node, In in) { return picked(node, in, in.size()); }
  Deps gathered(const Node& node, In in) { return picked(node, in, 1); }
  Deps scattered(const Node& node, In in) {
    static const Op &set = primitive("scatter_set"), &gather = primitive("gather");
    if (node.op == &set) return picked(node, in, 2);
    Deps out = *in[0];
    out.resize(size(node.in[0]));
    if (in[1]->empty()) return out;
    Tensors operands{numbers(shape(node.in[0]), 0)};
    for (std::size_t i = 2; i < in.size(); ++i) operands.push_back(beside_numbers(node.in[i]));
    for (const Tensor& t : operands)
      if (!t.defined()) return whole_of(node, in);
    const std::vector<std::int64_t> target = integers(run(gather, node.attrs, operands));
    std::vector<std::vector<SetId>> groups(out.size());
    for (std::size_t i = 0; i < target.size(); ++i) groups[static_cast<std::size_t>(target[i])].push_back((*in[1])[i]);
    for (std::size_t i = 0; i < out.size(); ++i) {
      groups[i].push_back(out[i]);
      out[i] = sets_.unite(groups[i]);
    }
    return out;
  }

  // Unions over the axes whose stride is 0.
  Deps grouped(const Deps& d, const Shape& from, const Dims& strides, std::size_t n) {
    std::vector<std::vector<SetId>> groups(n);
    for_each_offset(from, strides, [&](std::size_t i, std::size_t at) { groups[at].push_back(d[i]); });
    Deps out;
    for (auto& g : groups) out.push_back(sets_.unite(g));
    return out;
  }
  static Dims without(const Shape& shape, const Axes& gone, Shape& kept) {
    kept = shape;
    for (auto axis : gone) kept[static_cast<int>(axis)] = 1;
    return broadcast_strides(kept, kept.size());
  }
  Deps reduced(const Node& node, In in) {
    Shape kept;
    const Dims strides = without(shape(node.in[0]), attrs_as<ReduceAttrs>(node.attrs.get()).axes, kept);
    return grouped(*in[0], shape(node.in[0]), strides, size(node.out[0]));
  }
  Deps accumulated(const Node& node, In in) {
    const auto& a = attrs_as<CumsumAttrs>(node.attrs.get());
    const Shape& from = shape(node.in[0]);
    Deps out = *in[0];
    const auto n = static_cast<std::size_t>(from[a.axis]);
    std::size_t step = 1;
    for (int d = a.axis + 1; d < from.size(); ++d) step *= static_cast<std::size_t>(from[d]);
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::size_t e = a.reverse ? out.size() - 1 - i : i, at = e / step % n;
      if (a.reverse ? at + 1 < n : at > 0) out[e] = sets_.unite(out[e], out[a.reverse ? e + step : e - step]);
    }
    return out;
  }
  Deps multiplied(const Node& node, In in) {
    const auto& a = attrs_as<MatmulAttrs>(node.attrs.get());
    const Shape& to = shape(node.out[0]);
    Deps out(size(node.out[0]));
    for (int side : {0, 1}) {
      const Deps& d = *in[static_cast<std::size_t>(side)];
      if (d.empty()) continue;
      const Shape& from = shape(node.in[static_cast<std::size_t>(side)]);
      const int n = from.size();
      const bool transpose = side == 0 ? a.transpose_a : a.transpose_b;
      const int inner = (side == 0) != transpose ? n - 1 : n - 2;
      Shape kept;
      const Dims strides = without(from, Axes{inner}, kept);
      const Deps lines = grouped(d, from, strides, static_cast<std::size_t>(kept.product()));
      const std::int64_t length = from[2 * n - 3 - inner];
      kept[n - 2] = side == 0 ? length : 1;
      kept[n - 1] = side == 0 ? 1 : length;
      add_broadcast(out, to, lines, kept);
    }
    return out;
  }

  std::vector<Deps> within(const Body& body, In in, std::span<const ValueId> ids) {
    std::vector<Deps> inputs;
    std::vector<Tensor> values;
    for (std::size_t i = 0; i < in.size(); ++i) {
      inputs.push_back(*in[i]);
      values.push_back(known_[index(ids[i])]);
    }
    return run_body(body.graph(), std::move(inputs), values);
  }
  std::vector<Deps> run_body(const Graph& graph, std::vector<Deps> inputs, const std::vector<Tensor>& values) {
    return Propagation(graph, sets_, within_rule_).run(std::move(inputs), values);
  }
  void unite_with(Deps& all, const Deps& more) {
    if (all.empty()) all = more;
    for (std::size_t k = 0; k < more.size(); ++k) all[k] = sets_.unite(all[k], more[k]);
  }
  std::vector<Deps> chosen(const Node& node, In in) {
    const auto& c = static_cast<const CondAttrs&>(*node.attrs);
    std::vector<Deps> yes = within(*c.on_true, in.subspan(1), std::span(node.in).subspan(1));
    const std::vector<Deps> no = within(*c.on_false, in.subspan(1), std::span(node.in).subspan(1));
    for (std::size_t i = 0; i < yes.size(); ++i) unite_with(yes[i], no[i]);
    return yes;
  }

  // A loop of known length, step by step.
  std::vector<Deps> scanned(const Node& node, In in) {
    const auto& s = static_cast<const ScanAttrs&>(*node.attrs);
    const Graph& body = s.body->graph();
    std::size_t elements = 0;
    for (const Aval& a : body.values) elements += static_cast<std::size_t>(a.shape.product());
    if (elements * static_cast<std::size_t>(s.length) > kMostSteps) return whole(node, in);
    std::vector<Tensor> values(s.carries + s.xs);
    for (std::size_t i = values.size(); i < in.size(); ++i) values.push_back(known_[index(node.in[i])]);
    std::vector<Deps> inputs, out(node.out.size());
    for (const Deps* d : in) inputs.push_back(*d);
    const auto append = [](Deps& all, const Deps& d, std::size_t n) {
      all.insert(all.end(), d.begin(), d.end());
      if (d.empty()) all.resize(all.size() + n);
    };
    const std::size_t stored = s.carries + s.ys();
    for (std::int64_t t = 0; t < s.length; ++t) {
      for (std::size_t i = 0; s.every && t % s.every == 0 && i < s.carries; ++i)
        append(out[stored + i], inputs[i], size(node.in[i]));
      for (std::size_t i = s.carries; i < s.carries + s.xs; ++i) {
        const auto n = static_cast<std::ptrdiff_t>(size(node.in[i])) / s.length;
        if (!in[i]->empty()) inputs[i].assign(in[i]->begin() + t * n, in[i]->begin() + (t + 1) * n);
      }
      const std::vector<Deps> results = run_body(body, inputs, values);
      std::copy_n(results.begin(), s.carries, inputs.begin());
      for (std::size_t i = s.carries; i < results.size(); ++i)
        append(out[i], results[i], size(node.out[i]) / static_cast<std::size_t>(s.length));
    }
    std::copy_n(inputs.begin(), s.carries, out.begin());
    return out;
  }

  // A loop of unknown length: steps are added until they change nothing.
  std::vector<Deps> repeated(const Node& node, In in) {
    const auto& w = static_cast<const WhileAttrs&>(*node.attrs);
    if (w.sweeps.size() > 1) return whole(node, in);
    std::vector<Tensor> values(node.out.size());
    for (std::size_t i = values.size(); i < in.size(); ++i) values.push_back(known_[index(node.in[i])]);
    std::vector<Deps> inputs;
    for (const Deps* d : in) inputs.push_back(*d);
    for (int round = 0; round < kMostRounds; ++round) {
      const std::vector<Deps> before(inputs.begin(), inputs.begin() + static_cast<std::ptrdiff_t>(node.out.size()));
      const std::vector<Deps> results = run_body(w.sweeps[0]->graph(), inputs, values);
      for (std::size_t i = 0; i < results.size(); ++i) unite_with(inputs[i], results[i]);
      if (std::equal(before.begin(), before.end(), inputs.begin())) return before;
    }
    return whole(node, in);
  }

  // A user's rule: its tangents, recorded as a function of those of the operands.
  std::vector<Deps> ruled(const Node& node, In in) {
    std::vector<Aval> avals;
    std::vector<Deps> deps(node.in.size() + node.out.size());
    std::vector<Tensor> values;
    for (ValueId id : node.in) {
      avals.push_back(graph_.values[index(id)]);
      values.push_back(known_[index(id)]);
    }
    for (ValueId id : node.out) avals.push_back(graph_.values[index(id)]);
    for (std::size_t i = 0; i < in.size(); ++i) {
      avals.push_back(avals[i]);
      deps.push_back(*in[i]);
    }
    const Recorded rule = record_body(avals, [&](std::span<const Tensor> all) {
      Groups groups(all);
      const auto operands = groups.take(node.in.size()), results = groups.take(node.out.size());
      std::vector<Tensor> tangents(groups.rest().begin(), groups.rest().end()), pushed(node.out.size());
      for (std::size_t i = 0; i < in.size(); ++i)
        if (in[i]->empty()) tangents[i] = {};
      std::vector<Tensor> out(results.begin(), results.end());
      JvpArgs args{node.attrs.get(), operands, out, tangents, pushed};
      node.op->jvp(*node.op, args);
      for (std::size_t i = 0; i < pushed.size(); ++i)
        if (!pushed[i].defined()) pushed[i] = zeros_like(out[i]);
      return pushed;
    });
    Graph graph = *rule.graph;
    for (const auto& c : rule.captures) graph.inputs.push_back(c.id);
    deps.resize(graph.inputs.size());
    values.resize(graph.inputs.size());
    return Propagation(graph, sets_, true).run(std::move(deps), values);
  }

  const Graph& graph_;
  Sets& sets_;
  std::vector<Tensor> known_;
  const bool within_rule_;  // of a user's: rules in it count as dependent on everything
};

}  // namespace

Sparsity jacobian_sparsity(const Function& f, const TensorList& inputs) {
  const Recorded recorded =
      record_body(avals_of(inputs), [&](std::span<const Tensor> in) { return f(TensorList(in.begin(), in.end())); });
  Graph graph = *recorded.graph;
  Sets sets;
  std::vector<Deps> deps;
  std::vector<Tensor> values(inputs.size());
  Sparsity pattern;
  for (const Tensor& x : inputs) {
    deps.emplace_back();
    if (is_floating(x.dtype()))
      for (std::int64_t i = 0; i < x.size(); ++i)
        deps.back().push_back(sets.single(static_cast<std::int32_t>(pattern.n_columns + i)));
    pattern.n_columns += x.size();
  }
  for (const auto& c : recorded.captures) {
    const Tensor value = settle(c.value);
    graph.inputs.push_back(c.id);
    deps.emplace_back();
    values.push_back(value.value()->level() ? Tensor() : value);
  }
  pattern.start.push_back(0);
  const std::vector<Deps> results = Propagation(graph, sets).run(std::move(deps), values);
  for (std::size_t i = 0; i < recorded.results; ++i) {
    const std::int64_t n = graph.values[static_cast<std::size_t>(graph.outputs[i])].shape.product();
    for (std::int64_t k = 0; k < n; ++k) {
      if (!results[i].empty()) {
        const auto& set = sets[results[i][static_cast<std::size_t>(k)]];
        pattern.columns.insert(pattern.columns.end(), set.begin(), set.end());
      }
      pattern.start.push_back(static_cast<std::int64_t>(pattern.columns.size()));
    }
  }
  return pattern;
}

}  // namespace evolute
