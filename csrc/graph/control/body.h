// Bodies of control flow: recorded functions that operations of an outer graph run.
//
// A body is closed: all it needs are its inputs. Derivatives of bodies are bodies too, made by running a transform over
// a replay of the recorded operations, so that every operation's rules serve here as they are.
#pragma once

#include <functional>
#include <map>
#include <mutex>

#include "autodiff/custom.h"
#include "graph/plan.h"
#include "graph/recorder.h"

namespace evolute {

class Body final : public RefCounted {
 public:
  explicit Body(std::shared_ptr<const Graph> graph);

  const Graph& graph() const { return *graph_; }
  const Aval& input(std::size_t i) const { return aval(graph_->inputs[i]); }
  const Aval& output(std::size_t i) const { return aval(graph_->outputs[i]); }

  // Whether users' rules are in it.
  bool has_own_derivative() const { return has_own_derivative_; }
  // Runs by a plan, made at the first run. `trim` gives back what memory a large plan keeps between runs.
  std::vector<Tensor> run(std::span<const Tensor> inputs) const { return plan()->run(inputs, {}); }
  std::shared_ptr<const Plan> plan() const;
  void trim() const;
  // Runs operation by operation, for bodies that run but once.
  std::vector<Tensor> interpret(std::span<const Tensor> inputs) const;

 private:
  const Aval& aval(ValueId id) const { return graph_->values[static_cast<std::size_t>(id)]; }
  const std::shared_ptr<const Graph> graph_;
  const bool has_own_derivative_;
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const Plan> plan_;
};

// The operations of a graph applied to other inputs, at whatever levels those are.
std::vector<Tensor> replay(const Graph& graph, std::span<const Tensor> inputs);

// The body that computes `f` of inputs with these abstract values; .
using BodyFunction = std::function<std::vector<Tensor>(std::span<const Tensor>)>;
Ref<Body> make_body(std::span<const Aval> inputs, const BodyFunction& f);

// Derivatives of a replay. Undefined (co)tangents are zero. `push_forward` gives the outputs and their tangents, or as
// many Taylor coefficients of each as the order says; `pull_back` the gradients of the wanted inputs, undefined for all
// others.
struct Pushed {
  std::vector<Tensor> outputs, series;
};
Pushed push_forward(const Graph& graph, std::size_t order, std::span<const Tensor> inputs,
                    std::span<const Tensor> series);
std::vector<Tensor> pull_back(const Graph& graph, std::span<const Tensor> inputs, const Mask& wanted,
                              std::span<const Tensor> cotangents);

// The operations for all of `size` examples at once: marked inputs have the examples along a new first axis. So do the
// outputs that are marked in the result.
struct Mapped {
  std::vector<Tensor> outputs;
  Mask batched;
};
Mapped replay_mapped(const Graph& graph, std::span<const Tensor> inputs, const Mask& batched, std::int64_t size);
// The body that does so; outputs have the axis where `batched_out` says it, which covers `differing_outputs`.
Ref<Body> mapped_body(const Body& body, const Mask& batched, const Mask& batched_out, std::int64_t size);

// Which outputs can differ from example to example if the marked inputs do.
Mask differing_outputs(const Graph& graph, const Mask& inputs);

// Which outputs can depend differentiably on the marked inputs, and which inputs the marked outputs can depend on.
Mask reached_outputs(const Graph& graph, const Mask& inputs);
Mask reached_inputs(const Graph& graph, const Mask& outputs);

// Static parameters that hold bodies: two are equal if they are one. What is derived from them is made once, so that
// deriving the same twice gives equal operations. Nothing derived may refer back to what it came from.
class ControlAttrs : public Attrs {
 public:
  bool equals(const Attrs& o) const override { return this == &o; }
  std::size_t hash() const override { return std::hash<const void*>{}(this); }

  template <class T, class F>
  Ref<T> derived(const std::string& key, F&& make) const {
    {
      std::lock_guard lock(mutex_);
      if (auto at = derived_.find(key); at != derived_.end()) return Ref<T>(static_cast<T*>(at->second.get()));
    }
    Ref<T> made = make();  // not under the lock: it may derive further things from these very parameters
    std::lock_guard lock(mutex_);
    return Ref<T>(static_cast<T*>(derived_.try_emplace(key, made).first->second.get()));
  }

 private:
  mutable std::mutex mutex_;
  mutable std::map<std::string, Ref<RefCounted>> derived_;
};

// A key of `derived`: a name and what it depends on.
std::string key_of(std::string_view name, std::initializer_list<Mask> masks);
void print_body(std::ostream& s, const char* name, const Body& body);

// ---- Recording what the user wrote
// -----------------------------------------------------------------------------------

// A body as it comes from the user's function: it may refer to values outside, and write variables.
struct Recorded {
  std::shared_ptr<Graph> graph;  // inputs: the explicit ones; outputs: the results, then what was written
  std::size_t results;
  std::vector<Recorder::Capture> captures;
  std::vector<Ref<Variable>> written;
};
Recorded record_body(std::span<const Aval> inputs, const BodyFunction& f);

// What bodies that run as one operation need beside their explicit inputs: the values of variables that any of them
// writes, then the values they have captured.
struct Closure {
  std::vector<Ref<Variable>> variables;
  std::vector<Tensor> state;   // of the variables
  std::vector<Tensor> consts;  // captured
};
// Makes the bodies closed: each gets the inputs explicit | state | consts. Those for which `writes` is set give
// results | state as outputs; the others, which must write nothing, results alone.
Closure close_bodies(std::span<Recorded* const> bodies, const char* what, const Mask& writes);

}  // namespace evolute
