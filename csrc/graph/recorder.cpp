#include "graph/recorder.h"

namespace evolute {

namespace {

struct Symbol final : Value {
  Symbol(Ref<Level> recorder, const Aval& aval, ValueId id)
      : Value(aval, recorder.get()), id(id), owner(std::move(recorder)) {}
  const ValueId id;
  const Ref<Level> owner;
};

}  // namespace

Recorder::~Recorder() = default;

Tensor Recorder::define(const Aval& aval) {
  graph_.values.push_back(aval);
  return Tensor(Ref<Value>(new Symbol(Ref<Level>(this), aval, static_cast<ValueId>(graph_.values.size() - 1))));
}

Tensor Recorder::input(const Aval& aval) {
  Tensor t = define(aval);
  graph_.inputs.push_back(static_cast<const Symbol*>(t.value())->id);
  return t;
}

ValueId Recorder::id_of(const Tensor& tensor) {
  const Tensor& t = settle(tensor);
  if (t.value()->level() == this) return static_cast<const Symbol*>(t.value())->id;
  if (t.value()->level())
    throw TraceError(cat("a tensor (", t.aval(), ") of a transform outside the recorded function reached its graph; pass it "
                         "as an argument instead of capturing it"));
  auto [at, fresh] = constants_.try_emplace(t.value(), static_cast<ValueId>(graph_.values.size()));
  if (fresh) {
    graph_.values.push_back(t.aval());
    graph_.constants.push_back({at->second, t});
  }
  return at->second;
}

void Recorder::process(const Op& op, const AttrsPtr& attrs, std::span<const Tensor> in, std::span<Tensor> out) {
  SmallVector<Aval, 1> avals;
  op.infer(op, attrs.get(), in, avals);
  Graph::Node node{&op, attrs, {}, {}, {}};
  for (const Tensor& t : in) node.in.push_back(id_of(t));
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = define(avals[i]);
    node.out.push_back(static_cast<const Symbol*>(out[i].value())->id);
  }
  graph_.nodes.push_back(std::move(node));
}

Recorder::Touched& Recorder::touch(Variable& v) {
  for (Touched& t : touched_)
    if (t.variable.get() == &v) return t;
  const Tensor before = v.raw();
  touched_.push_back({Ref<Variable>(&v), before, define(before.aval())});
  v.exchange_raw(touched_.back().symbol);
  return touched_.back();
}

Tensor Recorder::read(Variable& v) {
  touch(v);
  return v.raw();  // what the function wrote, or what a transform inside put in its place
}

void Recorder::write(Variable& v, Tensor value) {
  touch(v);
  v.exchange_raw(std::move(value));
}

void Recorder::restore_variables() {
  for (auto& t : touched_) t.variable->exchange_raw(t.before);
  touched_.clear();
}

std::shared_ptr<Graph> Recorder::finish(std::span<const Tensor> outputs) {
  for (const Tensor& t : outputs) graph_.outputs.push_back(id_of(t));
  for (auto& t : touched_) {
    const Tensor& now = t.variable->raw();
    const ValueId in = static_cast<const Symbol*>(t.symbol.value())->id;
    graph_.variables.push_back({t.variable, t.before.aval(), in, now.is_same(t.symbol) ? -1 : id_of(now)});
  }
  restore_variables();
  prune(graph_);
  constants_.clear();
  return std::make_shared<Graph>(std::move(graph_));
}

}  // namespace evolute
