// The plan of a graph: its steps, with every intermediate placed in one arena ahead of time.
//
// A step is a fused loop of elementwise nodes, a kernel, or a view. A run allocates its outputs and nothing else:
// arenas are kept between runs.
#pragma once

#include <array>
#include <memory>
#include <mutex>

#include "core/backend.h"
#include "core/fused.h"
#include "graph/graph.h"

namespace evolute {

struct Step {
  enum class Kind : std::uint8_t { Kernel, View, Fused };
  Kind kind;
  std::vector<const Graph::Node*> nodes;  // several in fused loops, else one
  FusedProgram program;                   // of fused loops
  std::unique_ptr<FusedKernel> loop;      // the same, made ready
  std::vector<ValueId> in, out;
};

// Where a value lives during a run.
struct Placement {
  enum class Kind : std::uint8_t {
    None,      // inside a fused loop only
    External,  // input, variable or constant
    View,      // of another value
    Arena,
    Output,  // a buffer of its own, because a result refers to it
    Shared,  // the buffer of an output that is added up over it
  };
  Kind kind = Kind::None;
  std::size_t offset = 0;  // in the arena of its device
  ValueId output = -1;     // whose buffer is shared
};

struct PassEffect;  // graph/rewrite.h

// Groups the nodes of a graph into steps, in an order in which they can run.
std::vector<Step> fuse(const Graph& graph);

class Plan {
 public:
  // `effects`: what the passes did on the way to this graph, for `explain`.
  explicit Plan(std::shared_ptr<const Graph> graph, std::vector<PassEffect> effects = {});
  ~Plan();

  const Graph& graph() const { return *graph_; }
  const std::vector<Step>& steps() const { return steps_; }
  const std::vector<PassEffect>& effects() const { return effects_; }
  std::size_t arena_bytes() const { return arena_bytes_[0] + arena_bytes_[1]; }
  // Whether an output may be written over an input, as the step that computes it is the last to read that.
  bool may_update(std::size_t input, std::size_t output) const;
  // Frees the arenas that are kept between runs, if they are larger than this.
  void release_arenas(std::size_t bytes) const;

  // Runs on concrete inputs and the values of the graph's variables (`read_variables`). Gives the outputs, followed by
  // the values to be written back (`write_variables`). Touches nothing else, so several threads may run one plan.
  std::vector<Tensor> run(std::span<const Tensor> inputs, std::span<const Tensor> variables) const;

  // The same for a graph without variables whose outputs are all results of kernels, into arrays that the caller gives.
  // An output may be an input as well if that is read once, by the addition that starts the sum which the output is.
  void run_into(std::span<const Array* const> inputs, std::span<Array* const> outputs) const;

 private:
  friend class PlanLoop;
  // The state of one run. Arrays in the arena are made once and serve all runs.
  struct Frame {
    // A run that a device has recorded. It is the same work as long as whatever it reads and writes lies where it did,
    // and precision is the same: that is its key. `copies` are views that turned out to need memory.
    struct Recorded {
      std::vector<std::intptr_t> key;
      Ref<Replay> replay;
      std::vector<std::pair<ValueId, Ref<Array>>> copies;
    };
    static constexpr std::size_t kRecorded = 4, kSeen = 8;

    std::array<Ref<Buffer>, kNumDevices> arena;
    std::vector<Ref<Array>> kept;                  // arena values
    std::vector<Ref<Array>> current;               // views and outputs of this run
    std::vector<Array*> array;                     // of each value
    std::vector<Recorded> recorded;                // the latest last
    std::vector<std::vector<std::intptr_t>> seen;  // keys of runs that were not recorded
  };
  void place();
  void share_outputs(const std::vector<std::size_t>& last);
  std::unique_ptr<Frame> take_frame() const;
  void give_back(std::unique_ptr<Frame> frame) const;
  void run_steps(Frame& frame) const;
  void run_recorded(Frame& frame) const;

  std::shared_ptr<const Graph> graph_;
  std::vector<PassEffect> effects_;
  std::vector<Step> steps_;
  std::vector<Placement> placement_;                    // of each value
  std::vector<ValueId> own_outputs_;                    // values placed as Output or Shared
  std::array<std::size_t, kNumDevices> arena_bytes_{};  // by DeviceType
  bool replayable_ = false;                             // nothing but launches on one device: a run can be recorded
  std::vector<const Step*> result_views_;               // those that results are made of
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Frame>> frames_;  // not in use
};

// Runs of a plan one after the other, each step bound to its operands ahead of time. For graphs without variables.
class PlanLoop {
 public:
  // Between runs the arrays, row-major outputs among them, may be moved (Array::move_to); no output shares memory with
  // an input.
  PlanLoop(std::shared_ptr<const Plan> plan, std::span<Array* const> inputs, std::span<Array* const> outputs);
  ~PlanLoop();
  PlanLoop(const PlanLoop&) = delete;
  PlanLoop& operator=(const PlanLoop&) = delete;

  void run();

 private:
  struct Bound {
    const Graph::Node* node;
    const FusedKernel* fused;  // null for kernels and views
    SmallVector<const Array*, 4> in;
    SmallVector<Array*, 2> out;
    std::unique_ptr<BoundLoop> loop;
    bool view, copies;      // a view may turn out to need memory
    std::ptrdiff_t offset;  // of a view, in bytes
    Ref<Array> result, copy;
  };
  struct Copy {
    const Array* from;
    Array* to;
  };
  void bind(const Step& step);

  const std::shared_ptr<const Plan> plan_;
  std::unique_ptr<Plan::Frame> frame_;
  std::vector<Bound> steps_;
  std::vector<Copy> copies_;  // outputs that no kernel writes
};

// The plan of a graph as it was recorded, after all passes, or after those named, in their order. Throws ValueError for
// an unknown name.
std::shared_ptr<const Plan> compile(std::shared_ptr<Graph> recorded);
std::shared_ptr<const Plan> compile(std::shared_ptr<Graph> recorded, std::span<const std::string> passes);

}  // namespace evolute
