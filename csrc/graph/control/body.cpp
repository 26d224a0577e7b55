#include "graph/control/body.h"

#include <algorithm>
#include <optional>
#include <ostream>

#include "autodiff/batch.h"
#include "autodiff/jet.h"
#include "autodiff/transforms.h"
#include "evolute/ops.h"
#include "graph/rewrite.h"
#include "ops/batching.h"

namespace evolute {

namespace {

std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }

// Arenas above this size are not kept by bodies: there may be many of them, and what they bound is peak memory.
constexpr std::size_t kKeptArena = 64 << 10;

// Calls `step(node, in, out)` for every node; values go when nobody reads them any more.
template <class Step>
std::vector<Tensor> walk(const Graph& graph, std::span<const Tensor> inputs, Step&& step) {
  std::vector<Tensor> value(graph.values.size());
  std::vector<std::size_t> last(graph.values.size());
  for (std::size_t n = 0; n < graph.nodes.size(); ++n)
    for (ValueId id : graph.nodes[n].in) last[index(id)] = n;
  for (ValueId id : graph.outputs) last[index(id)] = graph.nodes.size();
  for (std::size_t i = 0; i < inputs.size(); ++i) value[index(graph.inputs[i])] = inputs[i];
  for (const auto& c : graph.constants) value[index(c.id)] = c.value;
  Tensors in, out;
  for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
    const Graph::Node& node = graph.nodes[n];
    in.clear();
    for (ValueId id : node.in) in.push_back(value[index(id)]);
    for (ValueId id : node.in)
      if (last[index(id)] == n) value[index(id)] = {};
    out.clear();
    out.resize(node.out.size());
    step(node, in, out);
    for (std::size_t i = 0; i < node.out.size(); ++i) value[index(node.out[i])] = out[i];
  }
  std::vector<Tensor> results;
  for (ValueId id : graph.outputs) results.push_back(value[index(id)]);
  return results;
}

bool floating(const Graph& graph, ValueId id) { return is_floating(graph.values[index(id)].dtype); }

}  // namespace

Body::Body(std::shared_ptr<const Graph> graph)
    : graph_(std::move(graph)), has_own_derivative_(std::ranges::any_of(graph_->nodes, [](const Graph::Node& node) {
        return node.attrs && node.attrs->has_own_derivative();
      })) {}

std::shared_ptr<const Plan> Body::plan() const {
  std::lock_guard lock(mutex_);
  if (!plan_) plan_ = std::make_shared<Plan>(optimize(std::make_shared<Graph>(*graph_)));
  return plan_;
}

void Body::trim() const {
  std::lock_guard lock(mutex_);
  if (plan_) plan_->release_arenas(kKeptArena);
}

std::vector<Tensor> Body::interpret(std::span<const Tensor> inputs) const {
  return walk(*graph_, inputs, [](const Graph::Node& node, const Tensors& in, Tensors& out) {
    evaluate(*node.op, node.attrs.get(), in, out);
  });
}

std::vector<Tensor> replay(const Graph& graph, std::span<const Tensor> inputs) {
  return walk(graph, inputs,
              [](const Graph::Node& node, const Tensors& in, Tensors& out) { apply(*node.op, node.attrs, in, out); });
}

Ref<Body> make_body(std::span<const Aval> inputs, const BodyFunction& f) {
  Recording recording(Recorder::Of::Body);
  std::vector<Tensor> in;
  for (const Aval& a : inputs) in.push_back(recording.input(a));
  return make_ref<Body>(recording.finish(f(in)));
}

Pushed push_forward(const Graph& graph, std::size_t order, std::span<const Tensor> inputs,
                    std::span<const Tensor> series) {
  auto jet = make_ref<Jet>(order);
  LevelScope scope(*jet);
  std::vector<Tensor> in;
  for (std::size_t i = 0; i < inputs.size(); ++i) in.push_back(jet->trace(inputs[i], series.subspan(i * order, order)));
  Pushed result;
  for (const Tensor& y : replay(graph, in)) {
    result.outputs.push_back(jet->lower(y));
    for (const Tensor& c : jet->series(y)) result.series.push_back(c);
    result.series.resize(result.outputs.size() * order);
  }
  return result;
}

std::vector<Tensor> pull_back(const Graph& graph, std::span<const Tensor> inputs, const Mask& wanted,
                              std::span<const Tensor> cotangents) {
  ReverseRun run("grad");
  std::vector<Tensor> in(inputs.begin(), inputs.end());
  for (std::size_t i = 0; i < in.size(); ++i)
    if (wanted[i]) in[i] = run.trace(in[i]);
  const std::vector<Tensor> outputs = replay(graph, in);
  run.close();
  const std::vector<Tensor> grads = run.pull(outputs, cotangents, true);
  std::vector<Tensor> result(in.size());
  for (std::size_t i = 0, next = 0; i < in.size(); ++i)
    if (wanted[i]) result[i] = grads[next++];
  return result;
}

Mapped replay_mapped(const Graph& graph, std::span<const Tensor> inputs, const Mask& batched, std::int64_t size) {
  auto batch = make_ref<Batch>(size);
  LevelScope scope(*batch);
  std::vector<Tensor> in(inputs.begin(), inputs.end());
  for (std::size_t i = 0; i < in.size(); ++i)
    if (batched[i]) in[i] = batch->trace(in[i]);
  Mapped result;
  for (const Tensor& y : replay(graph, in)) {
    result.outputs.push_back(batch->lower(y));
    result.batched.push_back(batch->holds(y));
  }
  return result;
}

Ref<Body> mapped_body(const Body& body, const Mask& batched, const Mask& batched_out, std::int64_t size) {
  std::vector<Aval> inputs;
  for (std::size_t i = 0; i < batched.size(); ++i) {
    inputs.push_back(body.input(i));
    if (batched[i]) inputs.back().shape = batched_shape(size, inputs.back().shape);
  }
  return make_body(inputs, [&](std::span<const Tensor> in) {
    Mapped mapped = replay_mapped(body.graph(), in, batched, size);
    for (std::size_t i = 0; i < batched_out.size(); ++i) {
      Tensor& y = mapped.outputs[i];
      if (batched_out[i] && !mapped.batched[i]) y = broadcast_to(y, batched_shape(size, y.shape()));
    }
    return mapped.outputs;
  });
}

Mask differing_outputs(const Graph& graph, const Mask& inputs) {
  Mask differing(graph.values.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) differing[index(graph.inputs[i])] = inputs[i];
  for (const Graph::Node& node : graph.nodes) {
    const bool any = std::any_of(node.in.begin(), node.in.end(), [&](auto id) { return differing[index(id)]; });
    for (ValueId id : node.out) differing[index(id)] = any;
  }
  Mask result;
  for (ValueId id : graph.outputs) result.push_back(differing[index(id)]);
  return result;
}

Mask reached_outputs(const Graph& graph, const Mask& inputs) {
  Mask reached(graph.values.size());
  for (std::size_t i = 0; i < inputs.size(); ++i)
    reached[index(graph.inputs[i])] = inputs[i] && floating(graph, graph.inputs[i]);
  for (const Graph::Node& node : graph.nodes) {
    const bool any =
        node.op->vjp && std::any_of(node.in.begin(), node.in.end(), [&](auto id) { return reached[index(id)]; });
    for (ValueId id : node.out) reached[index(id)] = any && floating(graph, id);
  }
  Mask result;
  for (ValueId id : graph.outputs) result.push_back(reached[index(id)]);
  return result;
}

Mask reached_inputs(const Graph& graph, const Mask& outputs) {
  Mask reached(graph.values.size());
  for (std::size_t i = 0; i < outputs.size(); ++i)
    if (outputs[i] && floating(graph, graph.outputs[i])) reached[index(graph.outputs[i])] = true;
  for (auto node = graph.nodes.rbegin(); node != graph.nodes.rend(); ++node) {
    if (!node->op->vjp || std::none_of(node->out.begin(), node->out.end(), [&](auto id) { return reached[index(id)]; }))
      continue;
    for (ValueId id : node->in)
      if (floating(graph, id)) reached[index(id)] = true;
  }
  Mask result;
  for (ValueId id : graph.inputs) result.push_back(reached[index(id)]);
  return result;
}

std::string key_of(std::string_view name, std::initializer_list<Mask> masks) {
  std::string key(name);
  for (const Mask& mask : masks) {
    key.push_back(' ');
    for (bool b : mask) key.push_back(b ? '1' : '0');
  }
  return key;
}

void print_body(std::ostream& s, const char* name, const Body& body) {
  s << name << " of " << body.graph().nodes.size() << " operations";
}

Recorded record_body(std::span<const Aval> inputs, const BodyFunction& f) {
  auto recorder = make_ref<Recorder>(Recorder::Of::OpenedBody);
  RecorderScope scope(*recorder, RecorderScope::Place::Nested);
  std::vector<Tensor> in;
  for (const Aval& a : inputs) in.push_back(recorder->input(a));
  Recorded body;
  std::vector<Tensor> out = f(in);
  body.results = out.size();
  for (const Tensor& t : out)
    if (!t.defined()) throw ValueError("a body of control flow returned an undefined tensor");
  for (const auto& b : scope.bindings().all()) {
    if (b.now.is_same(b.initial)) continue;
    body.written.push_back(b.variable);
    out.push_back(b.now);
  }
  body.graph = recorder->finish(out, {});
  body.captures = recorder->captures();
  return body;
}

namespace {

// The captures that the graph reads.
void drop_unread(Recorded& body) {
  Mask read(body.graph->values.size());
  for (const auto& node : body.graph->nodes)
    for (ValueId id : node.in) read[index(id)] = true;
  for (ValueId id : body.graph->outputs) read[index(id)] = true;
  std::erase_if(body.captures, [&](const auto& c) { return !read[index(c.id)]; });
}

const Recorder::Capture* find_variable(const Recorded& body, const Variable* v) {
  for (const auto& c : body.captures)
    if (c.variable.get() == v) return &c;
  return nullptr;
}
const Recorder::Capture* find_same(const std::vector<Recorder::Capture>& captures, const Recorder::Capture& c) {
  for (const auto& other : captures)
    if (other.value.is_same(c.value) && other.variable == c.variable) return &other;
  return nullptr;
}

template <class T>
std::size_t place_in(const std::vector<T>& v, const T& x) {
  return static_cast<std::size_t>(std::find(v.begin(), v.end(), x) - v.begin());
}

ValueId unread_input(Graph& graph, const Aval& aval) {
  graph.values.push_back(aval);
  return static_cast<ValueId>(graph.values.size() - 1);
}

}  // namespace

Closure close_bodies(std::span<Recorded* const> bodies, const char* what, const Mask& writes) {
  Closure closure;
  auto& variables = closure.variables;
  for (std::size_t b = 0; b < bodies.size(); ++b) {
    drop_unread(*bodies[b]);
    for (const auto& v : bodies[b]->written) {
      if (!writes[b])
        throw TraceError(cat(what, ": the condition writes the variable '", v->name(), "'; let the body do that"));
      if (place_in(variables, v) < variables.size()) continue;
      variables.push_back(v);
      closure.state.push_back(settle(v->get()));
    }
  }
  std::vector<Recorder::Capture> shared;
  for (const Recorded* body : bodies)
    for (const auto& c : body->captures) {
      const bool is_state = c.variable && place_in(variables, c.variable) < variables.size();
      if (is_state || find_same(shared, c)) continue;
      shared.push_back(c);
      closure.consts.push_back(c.value);
    }
  for (std::size_t b = 0; b < bodies.size(); ++b) {
    Recorded& body = *bodies[b];
    Graph& graph = *body.graph;
    const auto written = graph.outputs.begin() + static_cast<std::ptrdiff_t>(body.results);
    std::vector<ValueId> results(graph.outputs.begin(), written);
    for (std::size_t i = 0; i < variables.size(); ++i) {
      const Recorder::Capture* c = find_variable(body, variables[i].get());
      graph.inputs.push_back(c ? c->id : unread_input(graph, closure.state[i].aval()));
      const std::size_t at = place_in(body.written, variables[i]);
      if (writes[b])
        results.push_back(at < body.written.size() ? written[static_cast<std::ptrdiff_t>(at)] : graph.inputs.back());
    }
    graph.outputs = std::move(results);
    for (const auto& s : shared) {
      const Recorder::Capture* c = find_same(body.captures, s);
      graph.inputs.push_back(c ? c->id : unread_input(graph, s.value.aval()));
    }
  }
  return closure;
}

}  // namespace evolute
