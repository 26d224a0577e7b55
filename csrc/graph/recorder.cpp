#include "graph/recorder.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace evolute {

namespace {

struct Symbol final : Value {
  Symbol(Ref<Level> recorder, const Aval& aval, ValueId id)
      : Value(aval, recorder.get()), id(id), owner(std::move(recorder)) {}
  const ValueId id;
  const Ref<Level> owner;
};

}  // namespace

bool is_uniform(const Tensor& t, double& value) {
  if (t.value()->level()) return false;
  const Array& a = t.array();
  if (!a.is_host_constant()) return false;
  value = to_tensor(view(a, {}, {})).item();
  return is_floating(a.dtype()) || std::abs(value) < 0x1p53;
}

Tensor Recorder::define(const Aval& aval) {
  graph_.values.push_back(aval);
  Tensor t(Ref<Value>(new Symbol(Ref<Level>(this), aval, static_cast<ValueId>(graph_.values.size() - 1))));
  symbols_.push_back(t);
  producers_.push_back(-1);
  return t;
}

Tensor Recorder::input(const Aval& aval) {
  Tensor t = define(aval);
  graph_.inputs.push_back(static_cast<const Symbol*>(t.value())->id);
  return t;
}

ValueId Recorder::id_of(const Tensor& tensor) {
  const Tensor& t = settle(tensor);
  if (t.value()->level() == this) return static_cast<const Symbol*>(t.value())->id;
  if (captures_all_ && (t.value()->level() || t.size() != 1)) {
    for (const Capture& c : captures_)
      if (!c.variable && c.value.is_same(t)) return c.id;
    const ValueId id = static_cast<const Symbol*>(define(t.aval()).value())->id;
    captures_.push_back({t, {}, id});
    return id;
  }
  if (t.value()->level())
    throw TraceError(cat("a tensor (", t.aval(),
                         ") of a transform outside the recorded function reached its graph; pass it "
                         "as an argument instead of capturing it"));
  auto [at, fresh] = constants_.try_emplace(t.value(), static_cast<ValueId>(graph_.values.size()));
  if (fresh) {
    if (double c; is_uniform(t, c)) {
      std::vector<std::int64_t> key(t.shape().begin(), t.shape().end());
      key.push_back(static_cast<std::int64_t>(t.dtype()));
      key.push_back(std::bit_cast<std::int64_t>(c));
      auto [same, first] = uniform_.try_emplace(std::move(key), at->second);
      if (!first) {
        constants_.erase(at);  // nothing keeps this tensor alive, so its address may come to mean another
        return same->second;
      }
    }
  }
  if (fresh) {
    t.value()->mark_constant();
    graph_.values.push_back(t.aval());
    graph_.constants.push_back({at->second, t});
    symbols_.push_back(t);
    producers_.push_back(-1);
  }
  return at->second;
}

std::size_t Recorder::hash_of(const Graph::Node& node) const {
  std::size_t h = hash_mix(reinterpret_cast<std::size_t>(node.op), node.attrs ? node.attrs->hash() : 0);
  for (ValueId id : node.in) h = hash_mix(h, static_cast<std::size_t>(id));
  return h;
}

const Graph::Node* Recorder::producer(const Tensor& t) const {
  if (t.value()->level() != this) return nullptr;
  const std::int32_t at = producers_[static_cast<std::size_t>(static_cast<const Symbol*>(t.value())->id)];
  return at < 0 ? nullptr : &graph_.nodes[static_cast<std::size_t>(at)];
}

void Recorder::process(const Op& op, const AttrsPtr& attrs, std::span<const Tensor> in, std::span<Tensor> out) {
  // There are transforms of what is recorded in bodies only.
  if (op.annotates && !of_body()) return void(std::copy_n(in.begin(), out.size(), out.begin()));
  Graph::Node node{&op, attrs, {}, {}};
  for (const Tensor& t : in) node.in.push_back(id_of(t));
  const std::size_t hash = hash_of(node);
  for (auto [at, end] = known_.equal_range(hash); at != end; ++at) {
    const Graph::Node& other = graph_.nodes[static_cast<std::size_t>(at->second)];
    const bool same_attrs = other.attrs == attrs || (other.attrs && attrs && other.attrs->equals(*attrs));
    if (other.op != &op || other.in != node.in || !same_attrs) continue;
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = symbols_[static_cast<std::size_t>(other.out[i])];
    return;
  }
  SmallVector<Aval, 1> avals;
  op.infer(op, attrs.get(), in, avals);
  const auto index = static_cast<std::int32_t>(graph_.nodes.size());
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = define(avals[i]);
    node.out.push_back(static_cast<const Symbol*>(out[i].value())->id);
    producers_.back() = index;
  }
  known_.emplace(hash, index);
  graph_.nodes.push_back(std::move(node));
}

Tensor Recorder::read(Variable& v, const Tensor& below) {
  Tensor t = define(below.aval());
  if (captures_all_) captures_.push_back({settle(below), Ref<Variable>(&v), static_cast<const Symbol*>(t.value())->id});
  return t;
}

std::shared_ptr<Graph> Recorder::finish(std::span<const Tensor> outputs, std::span<const Bindings::Binding> variables) {
  for (const Tensor& t : outputs) graph_.outputs.push_back(id_of(t));
  for (const auto& b : variables) {
    const Tensor initial = b.initial.defined() ? b.initial : define(b.now.aval());  // written without having been read
    const ValueId in = static_cast<const Symbol*>(initial.value())->id;
    graph_.variables.push_back({b.variable, initial.aval(), in, b.now.is_same(initial) ? -1 : id_of(b.now)});
  }
  prune(graph_);
  forget();
  return std::make_shared<Graph>(std::move(graph_));
}

void Recorder::forget() noexcept {
  constants_.clear();
  symbols_.clear();  // they hold this recorder
  Level::forget();
}

}  // namespace evolute
