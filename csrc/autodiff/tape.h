// Reverse mode: the tape level.
#pragma once

#include <vector>

#include "ops/op.h"

namespace evolute {

// Records the operations on traced values; `sweep` pulls cotangents back through them.
//
// Nodes are in order of execution, so a sweep is one loop backwards; neither it nor destruction recurses. The rules run
// on the values below this level, so a sweep under another transform is itself traced by that transform.
//
// Such a sweep makes the other tape two or three times as long, so nested sweeps grow exponentially with their number.
// A tape that is being recorded therefore pushes tangents forward instead, where that gives the same (push.cpp): the
// derivatives that nested pushes compute are the same ones again and again, and shared (core/memo.h).
class Tape final : public Level {
 public:
  // A differentiable input: `x` seen from this level.
  Tensor trace(const Tensor& x);
  Tensor lower(const Tensor& t) const override;

  void process(const Op& op, const AttrsPtr& attrs, std::span<const Tensor> in, std::span<Tensor> out) override;

  // Cotangents of `inputs` (traced by this tape) given those of `outputs`; undefined stands for zero on both sides.
  // With `consume`, frees what was saved as it goes; the tape is then empty and a further sweep throws TraceError.
  std::vector<Tensor> sweep(std::span<const Tensor> outputs, std::span<const Tensor> cotangents,
                            std::span<const Tensor> inputs, bool consume);

  std::size_t size() const { return nodes_.size(); }
  // Frees everything; a further sweep throws TraceError.
  void clear() noexcept;

 private:
  struct Node {
    const Op* op;
    AttrsPtr attrs;
    std::uint32_t n_in, n_out;
    std::size_t operands;   // where its saved inputs, then outputs, begin
    std::size_t in_slots;   // where the slots of its inputs begin; -1 for inputs that are not traced
    std::int32_t out_slot;  // slot of its first output
  };
  std::int32_t slot_of(const Tensor& t) const;
  // While operations run as they are recorded: what to run instead of `op`, to have its derivatives from the same pass.
  JetForm jet_of(const Op& op, std::span<const Tensor> in) const;
  void pull_back(const Node& node, std::vector<Tensor>& cotangents);

  // Tangents of what is marked, and of what that is computed from.
  void push_forward(const std::vector<bool>& needed, std::vector<Tensor>& tangents) const;

  // What depends on the inputs number by number; empty if nothing does, or if pulling back is better.
  std::vector<bool> diagonal_slots(std::span<const Tensor> inputs) const;
  // Cotangents of the inputs from those at the border of what is diagonal.
  void push_to(std::span<const Tensor> inputs, const std::vector<bool>& diagonal,
               std::vector<Tensor>& cotangents) const;

  // Values of this tape that are the gradient, by `inputs`, of a function of these alone. A sweep above has made them.
  struct Gradient {
    std::vector<Tensor> inputs;
    std::vector<std::int32_t> slots;  // of the gradient by each; -1 where it is no value of this tape
    std::vector<bool> needed;         // slots that it is computed from
  };
  // Cotangents of gradients during a sweep. They are not pulled back, but pushed once a gradient has all of them.
  struct Held {
    explicit Held(const Tape& tape);
    std::vector<std::int32_t> owner;  // of each slot: the gradient that waits for its cotangent, or -1
    std::vector<std::vector<Tensor>> cotangents;
  };
  void note_foreign(std::span<const Tensor> in);
  // Tells the tape below about gradients that this one has found, given the cotangents they come from.
  void tell_below(std::span<const Tensor> inputs, std::span<const Tensor> gradients,
                  std::span<const Tensor> seeds) const;
  void note_gradient(Gradient g);
  void hold_back(const Node& node, Held& held, std::vector<Tensor>& cotangents) const;
  void push_held(const Gradient& g, std::span<const Tensor> along, std::vector<Tensor>& cotangents) const;

  // While recording, nodes keep all of their operands, which costs nothing, so that tangents can be pushed forward.
  const bool recorded_ = thread_state.recorder != nullptr;
  std::vector<Node> nodes_;
  std::vector<Tensor> operands_;
  std::vector<std::int32_t> in_slots_;
  std::vector<Aval> slots_;  // abstract value of each traced value
  std::vector<Gradient> gradients_;
  std::vector<const Level*> foreign_;  // transforms of operands that are no values of this tape
  // There are users' rules: what a sweep gives need not be the gradient of anything, nor what pushing tangents would.
  bool own_rules_ = false;
  bool consumed_ = false;
};

}  // namespace evolute
