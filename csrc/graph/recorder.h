// Recording: the level below all transforms that writes primitives down instead of running them.
#pragma once

#include <map>
#include <optional>
#include <unordered_map>

#include "graph/graph.h"

namespace evolute {

// The single value of a constant whose elements are all one, as far as a double tells; false for anything else.
bool is_uniform(const Tensor& t, double& value);

class Recorder final : public RecorderBase {
 public:
  enum class Of : std::uint8_t {
    Function,    // closed, and run as it is
    Body,        // closed; transforms may be applied to the graph
    OpenedBody,  // the same, but values from outside become further inputs
  };
  explicit Recorder(Of what = Of::Function)
      : RecorderBase(what != Of::Function), captures_all_(what == Of::OpenedBody) {}

  // A value from outside, and the input that stands for it. What a variable holds is apart from other uses of the same
  // tensor: the function may be run with another value of the variable.
  struct Capture {
    Tensor value;
    Ref<Variable> variable;  // null for tensors that are not read from one
    ValueId id;
  };

  Tensor input(const Aval& aval);
  void process(const Op& op, const AttrsPtr& attrs, std::span<const Tensor> in, std::span<Tensor> out) override;
  Tensor read(Variable& v, const Tensor& below) override;

  // The graph of what was recorded; `outputs` may be symbolic or concrete, `variables` is what the function left in
  // them.
  std::shared_ptr<Graph> finish(std::span<const Tensor> outputs, std::span<const Bindings::Binding> variables);

  const Graph& graph() const { return graph_; }
  ValueId id_of(const Tensor& t);
  // The node that computes `t`; null for inputs and constants.
  const Graph::Node* producer(const Tensor& t) const;
  // A recorded value.
  const Tensor& symbol(ValueId id) const { return symbols_[id]; }
  const std::vector<Capture>& captures() const { return captures_; }

 protected:
  void forget() noexcept override;

 private:
  Tensor define(const Aval& aval);
  std::size_t hash_of(const Graph::Node& node) const;

  const bool captures_all_;
  Graph graph_;
  std::vector<Capture> captures_;
  std::unordered_map<const Value*, ValueId> constants_;
  std::map<std::vector<std::int64_t>, ValueId> uniform_;  // constants of equal elements
  // Every value, the node that computes it, and nodes by hash: an operation on the operands of an earlier one gives the
  // earlier result.
  std::vector<Tensor> symbols_;
  std::vector<std::int32_t> producers_;
  std::unordered_multimap<std::size_t, std::int32_t> known_;
};

// Records while in scope, with Python or C++ code running the function inside.
class Recording {
 public:
  explicit Recording(Recorder::Of what = Recorder::Of::Function)
      : recorder_(make_ref<Recorder>(what)), scope_(std::in_place, *recorder_) {}

  Recorder& recorder() { return *recorder_; }
  Tensor input(const Aval& aval) { return recorder_->input(aval); }
  std::shared_ptr<Graph> finish(std::span<const Tensor> outputs) {
    auto graph = recorder_->finish(outputs, scope_->bindings().all());
    scope_.reset();
    return graph;
  }

 private:
  Ref<Recorder> recorder_;
  std::optional<RecorderScope> scope_;
};

// True when compiled functions should record or replay: no transform and no recording is going on on this thread.
inline bool at_top_level() { return thread_state.depth == 0 && !thread_state.recorder; }

}  // namespace evolute
