// Recording: the level below all transforms that writes primitives down instead of running them.
#pragma once

#include <optional>
#include <unordered_map>

#include "graph/graph.h"

namespace evolute {

class Recorder final : public RecorderBase {
 public:
  Tensor input(const Aval& aval);
  void process(const Op& op, const AttrsPtr& attrs, std::span<const Tensor> in, std::span<Tensor> out) override;
  Tensor read(Variable& v) override;

  // The graph of what was recorded; `outputs` may be symbolic or concrete, `variables` is what the function left in them.
  std::shared_ptr<Graph> finish(std::span<const Tensor> outputs, std::span<const Bindings::Binding> variables);

 private:
  Tensor define(const Aval& aval);
  ValueId id_of(const Tensor& t);

  Graph graph_;
  std::unordered_map<const Value*, ValueId> constants_;
};

// Records while in scope, with Python or C++ code running the function inside.
class Recording {
 public:
  Recording() : recorder_(make_ref<Recorder>()), scope_(std::in_place, *recorder_) {}

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
