#include "autodiff/tape.h"

#include <limits>

#include "evolute/ops.h"

namespace evolute {

namespace {

struct TapeValue final : Traced {
  TapeValue(Ref<Level> tape, Tensor inner, std::int32_t slot) : Traced(std::move(tape), std::move(inner)), slot(slot) {}
  const std::int32_t slot;
};

}  // namespace

std::int32_t Tape::slot_of(const Tensor& t) const {
  return t.value()->level() == this ? static_cast<const TapeValue*>(t.value())->slot : -1;
}

Tensor Tape::lower(const Tensor& t) const {
  return t.value()->level() == this ? static_cast<const Traced*>(t.value())->inner : t;
}

Tensor Tape::trace(const Tensor& x) {
  if (slots_.size() >= static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()))
    throw TraceError("reverse mode: more than 2^31 traced values on one tape; split the computation or use a loop op");
  slots_.push_back(x.aval());
  return Tensor(Ref<Value>(new TapeValue(Ref<Level>(this), x, static_cast<std::int32_t>(slots_.size() - 1))));
}

JetForm Tape::jet_of(const Op& op, std::span<const Tensor> in) const {
  if (thread_state.recorder || in.size() > 2) return {};
  std::size_t traced = 0;
  for (std::size_t i = 0; i < in.size(); ++i) traced |= std::size_t{slot_of(in[i]) >= 0} << i;
  // A GPU waits for memory, not for functions: there it takes longer to keep derivatives than to compute them.
  if (in[0].device().type != DeviceType::CPU || in.back().device().type != DeviceType::CPU) return {};
  const JetForm jet = op.jet[traced];
  // Derivatives are kept in the shape of the result: not where a traced operand is broadcast.
  const bool broadcast = jet.op && in.size() == 2 && in[0].shape() != in[1].shape();
  return broadcast && (traced == 3 || in[2 - traced].size() != 1) ? JetForm{} : jet;
}

void Tape::process(const Op& op, const AttrsPtr& attrs, std::span<const Tensor> in, std::span<Tensor> out) {
  Tensors inner;
  for (const Tensor& t : in) inner.push_back(lower(t));
  const JetForm jet = jet_of(op, in);
  const Op& run = jet.op ? *jet.op : op;
  Tensors results(jet.op ? static_cast<std::size_t>(jet.results) : out.size());
  apply(run, attrs, inner, results);
  std::copy_n(results.begin(), out.size(), out.begin());
  if (!run.vjp) return;
  if (recorded_) {
    note_foreign(in);
    own_rules_ = own_rules_ || (attrs && attrs->has_own_derivative());
  }

  Node node{&run,
            attrs,
            static_cast<std::uint32_t>(in.size()),
            static_cast<std::uint32_t>(results.size()),
            operands_.size(),
            in_slots_.size(),
            static_cast<std::int32_t>(slots_.size())};
  // Nobody sees the derivatives of a jet, so it gets no cotangents of theirs, for which it would need its operands.
  for (std::size_t i = 0; i < in.size(); ++i) {
    in_slots_.push_back(slot_of(in[i]));
    operands_.push_back(recorded_ || (run.saves_input(i) && !jet.op) ? std::move(inner[i]) : Tensor());
  }
  for (std::size_t i = 0; i < results.size(); ++i)
    operands_.push_back(recorded_ || (run.saves_out && !(jet.op && i == 0)) ? results[i] : Tensor());
  nodes_.push_back(std::move(node));
  for (Tensor& t : out) t = trace(t);
  for (std::size_t i = out.size(); i < results.size(); ++i) slots_.push_back(results[i].aval());
}

void Tape::pull_back(const Node& node, std::vector<Tensor>& cotangents) {
  SmallVector<Tensor, 2> out_cotangents;
  bool any = false;
  for (std::uint32_t i = 0; i < node.n_out; ++i) {
    out_cotangents.push_back(std::move(cotangents[node.out_slot + i]));
    cotangents[node.out_slot + i] = {};
    any |= out_cotangents[i].defined();
  }
  if (!any) return;

  Tensors grads(node.n_in);
  SmallVector<const Aval*, 4> wanted;
  for (std::uint32_t i = 0; i < node.n_in; ++i) {
    const std::int32_t slot = in_slots_[node.in_slots + i];
    wanted.push_back(slot < 0 ? nullptr : &slots_[slot]);
  }
  const Tensor* saved = operands_.data() + node.operands;
  VjpArgs args{node.attrs.get(), {saved, node.n_in}, {saved + node.n_in, node.n_out}, out_cotangents, grads, wanted};
  node.op->vjp(*node.op, args);
  for (std::uint32_t i = 0; i < node.n_in; ++i) {
    if (!wanted[i] || !grads[i].defined()) continue;
    Tensor& total = cotangents[in_slots_[node.in_slots + i]];
    total = add_cotangents(total, grads[i]);
  }
}

std::vector<Tensor> Tape::sweep(std::span<const Tensor> outputs, std::span<const Tensor> cotangents,
                                std::span<const Tensor> inputs, bool consume) {
  if (consumed_)
    throw TraceError(
        "reverse mode: this pullback was already used and freed what it had saved; ask for one that can be "
        "called again (vjp without cotangents returns such a function)");
  std::vector<Tensor> slot_cotangents(slots_.size());
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const std::int32_t slot = slot_of(outputs[i]);
    if (slot < 0 || !cotangents[i].defined()) continue;
    slot_cotangents[slot] = add_cotangents(slot_cotangents[slot], cotangents[i]);
  }
  const std::vector<bool> diagonal = diagonal_slots(inputs);  // empty if there are none
  Held held(*this);
  // Inputs keep their cotangents: no node has them as outputs.
  for (std::size_t i = nodes_.size(); i-- > 0;) {
    if (!diagonal.empty() && diagonal[nodes_[i].out_slot]) continue;
    if (!gradients_.empty()) hold_back(nodes_[i], held, slot_cotangents);
    pull_back(nodes_[i], slot_cotangents);
    if (!consume || recorded_) continue;
    operands_.resize(nodes_[i].operands);
    nodes_.pop_back();
  }
  if (!diagonal.empty()) push_to(inputs, diagonal, slot_cotangents);
  std::vector<Tensor> result;
  for (const Tensor& x : inputs) {
    const std::int32_t slot = slot_of(x);
    result.push_back(slot < 0 ? Tensor() : slot_cotangents[slot]);
  }
  if (recorded_ && diagonal.empty() && !own_rules_) tell_below(inputs, result, cotangents);
  if (consume) clear();
  return result;
}

void Tape::clear() noexcept {
  std::vector<Node>().swap(nodes_);
  std::vector<Tensor>().swap(operands_);
  std::vector<std::int32_t>().swap(in_slots_);
  std::vector<Aval>().swap(slots_);
  std::vector<Gradient>().swap(gradients_);
  consumed_ = true;
}

}  // namespace evolute
