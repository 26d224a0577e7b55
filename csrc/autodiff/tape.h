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
// Such a sweep makes the other tape two or three times as long, so nested sweeps grow exponentially. Where each value
// depends on one number of the input (autodiff/diagonal.h), a tape that is being recorded pushes a tangent forward
// instead: the derivatives that nested pushes compute are the same ones again and again, and shared (core/memo.h).
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
  std::vector<bool> diagonal_slots(std::span<const Tensor> inputs) const;
  void push_forward(const Node& node, std::vector<Tensor>& tangents) const;
  void push_to(const std::vector<bool>& diagonal, std::span<const Tensor> inputs,
               std::vector<Tensor>& cotangents) const;

  // While recording, nodes keep all of their operands, which costs nothing, so that tangents can be pushed forward.
  const bool recorded_ = thread_state.recorder != nullptr;
  std::vector<Node> nodes_;
  std::vector<Tensor> operands_;
  std::vector<std::int32_t> in_slots_;
  std::vector<Aval> slots_;  // abstract value of each traced value
  bool consumed_ = false;
};

}  // namespace evolute
