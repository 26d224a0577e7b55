// Sweeps that push tangents forward in place of pulling cotangents back, while recording.
#include <algorithm>
#include <bit>
#include <functional>

#include "autodiff/diagonal.h"
#include "autodiff/tape.h"
#include "evolute/ops.h"

namespace evolute {

void Tape::push_forward(const std::vector<bool>& needed, std::vector<Tensor>& tangents) const {
  for (const Node& node : nodes_) {
    const auto made = needed.begin() + node.out_slot;
    if (made >= needed.end() || std::none_of(made, made + node.n_out, std::identity{})) continue;
    Tensors in_tangents;
    for (std::uint32_t i = 0; i < node.n_in; ++i) {
      const std::int32_t slot = in_slots_[node.in_slots + i];
      in_tangents.push_back(slot < 0 ? Tensor() : tangents[slot]);
    }
    if (std::none_of(in_tangents.begin(), in_tangents.end(), [](const Tensor& t) { return t.defined(); })) continue;
    const Tensor* saved = operands_.data() + node.operands;
    Tensors out(saved + node.n_in, saved + node.n_in + node.n_out);
    JvpArgs args{node.attrs.get(), {saved, node.n_in}, out, in_tangents, {&tangents[node.out_slot], node.n_out}};
    node.op->jvp(*node.op, args);
  }
}

// ---- What depends on the inputs number by number: Jᵀ c = c ⊙ J 1

std::vector<bool> Tape::diagonal_slots(std::span<const Tensor> inputs) const {
  constexpr std::size_t kMostInputs = 3;  // each takes a push of its own
  if (!recorded_ || own_rules_ || inputs.empty() || inputs.size() > kMostInputs) return {};
  // A first derivative is pulled back: one sweep finds all of them, and nothing nests.
  Tensor beneath = lower(inputs[0]);
  while (beneath.value()->level() && beneath.value()->level()->is_batch())
    beneath = beneath.value()->level()->lower(beneath);
  const Level* below = beneath.value()->level();
  if (!has_nested() && (!below || below->is_recorder())) return {};
  const Aval& aval = inputs[0].aval();
  const Diagonal by(aval);
  if (!by.exists() || std::any_of(inputs.begin(), inputs.end(), [&](const Tensor& x) { return x.aval() != aval; }))
    return {};
  std::vector<bool> diagonal(slots_.size());
  for (const Tensor& x : inputs) diagonal[slot_of(x)] = true;
  SmallVector<const Aval*, 4> in;
  for (const Node& node : nodes_) {
    in.clear();
    std::uint32_t traced = 0;
    bool keeps = node.n_in <= 32, reads = node.op->saves_out;
    for (std::uint32_t i = 0; i < node.n_in; ++i) {
      in.push_back(&operands_[node.operands + i].aval());
      const std::int32_t slot = in_slots_[node.in_slots + i];
      if (slot < 0) continue;
      keeps = keeps && diagonal[slot];
      reads = reads || node.op->saves_input(i);
      traced |= 1u << (i & 31u);
    }
    keeps = keeps && by.kept(*node.op, node.attrs.get(), in, traced, slots_[node.out_slot]);
    // What is beyond must not make cotangents depend on the inputs again.
    if (!keeps && reads && !(std::has_single_bit(traced) && (traced & node.op->linear_in))) return {};
    std::fill_n(diagonal.begin() + node.out_slot, node.n_out, keeps);
  }
  return diagonal;
}

void Tape::push_to(std::span<const Tensor> inputs, const std::vector<bool>& diagonal,
                   std::vector<Tensor>& cotangents) const {
  std::vector<bool> needed(slots_.size());
  std::vector<std::int32_t> border;  // what has cotangents from outside
  for (auto node = nodes_.rbegin(); node != nodes_.rend(); ++node) {
    if (!diagonal[node->out_slot]) continue;
    for (std::uint32_t i = 0; i < node->n_out; ++i) {
      const std::int32_t slot = node->out_slot + static_cast<std::int32_t>(i);
      if (cotangents[slot].defined()) border.push_back(slot), needed[slot] = true;
    }
    if (std::none_of(needed.begin() + node->out_slot, needed.begin() + node->out_slot + node->n_out, std::identity{}))
      continue;
    for (std::uint32_t i = 0; i < node->n_in; ++i)
      if (const std::int32_t slot = in_slots_[node->in_slots + i]; slot >= 0) needed[slot] = true;
  }
  const Diagonal by(inputs[0].aval());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const std::int32_t input = slot_of(inputs[i]);
    // A variable may be there twice.
    if (std::any_of(&inputs[0], &inputs[i], [&](const Tensor& x) { return slot_of(x) == input; })) continue;
    std::vector<Tensor> tangents(slots_.size());
    tangents[input] = ones_like(inputs[i]);
    push_forward(needed, tangents);
    for (const std::int32_t slot : border)
      if (tangents[slot].defined())
        cotangents[input] = add_cotangents(cotangents[input], by.gathered(cotangents[slot], tangents[slot]));
  }
}

// ---- Gradients: their Jacobian is symmetric, so Jᵀ c = J c

void Tape::note_foreign(std::span<const Tensor> in) {
  for (const Tensor& t : in) {
    const Level* level = t.value()->level();
    if (level && level != this && std::find(foreign_.begin(), foreign_.end(), level) == foreign_.end())
      foreign_.push_back(level);
  }
}

void Tape::tell_below(std::span<const Tensor> inputs, std::span<const Tensor> gradients,
                      std::span<const Tensor> seeds) const {
  Level* highest = nullptr;
  for (const Tensor& x : inputs)
    if (Level* level = lower(x).value()->level(); level && (!highest || level->depth() > highest->depth()))
      highest = level;
  auto* below = dynamic_cast<Tape*>(highest);
  // The function must see the values below through its inputs alone, and its cotangents must not depend on them.
  if (!below || !below->live() || std::find(foreign_.begin(), foreign_.end(), below) != foreign_.end()) return;
  if (std::any_of(seeds.begin(), seeds.end(), [&](const Tensor& c) { return c.defined() && below->slot_of(c) >= 0; }))
    return;
  // A gradient may depend on them through a transform in between, which hides it from the tape below.
  for (const Tensor& t : gradients)
    if (t.defined() && below->slot_of(t) < 0 && t.value()->level() && t.value()->level()->depth() >= below->depth())
      return;
  Gradient g;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Tensor x = lower(inputs[i]);
    if (below->slot_of(x) < 0) continue;
    if (std::any_of(g.inputs.begin(), g.inputs.end(), [&](const Tensor& other) { return other.is_same(x); })) return;
    g.inputs.push_back(x);
    g.slots.push_back(gradients[i].defined() ? below->slot_of(gradients[i]) : -1);
  }
  below->note_gradient(std::move(g));
}

// Keeps it if it is a gradient by these inputs as far as this tape can tell, and can be pushed through.
void Tape::note_gradient(Gradient g) {
  g.needed.resize(slots_.size());
  std::vector<bool> given(slots_.size()), made(slots_.size());
  for (const Tensor& x : g.inputs) given[slot_of(x)] = true;
  for (const std::int32_t slot : g.slots)
    if (slot >= 0) g.needed[slot] = true;
  bool computed = false;
  for (auto at = nodes_.rbegin(); at != nodes_.rend(); ++at) {
    const Node& node = *at;
    bool any = false;
    for (std::uint32_t i = 0; i < node.n_out; ++i) {
      const std::int32_t slot = node.out_slot + static_cast<std::int32_t>(i);
      made[slot] = true;
      any = any || (g.needed[slot] && !given[slot]);
      computed = computed || std::find(g.slots.begin(), g.slots.end(), slot) != g.slots.end();
    }
    if (!any) continue;
    if (!node.op->jvp || node.op->jvp_gives_out) return;
    for (std::uint32_t i = 0; i < node.n_in; ++i)
      if (const std::int32_t slot = in_slots_[node.in_slots + i]; slot >= 0) g.needed[slot] = true;
  }
  for (std::size_t slot = 0; slot < slots_.size(); ++slot) {
    if (g.needed[slot] && !made[slot] && !given[slot]) return;  // depends on something else
    if (given[slot]) g.needed[slot] = false;
  }
  if (computed) gradients_.push_back(std::move(g));
}

Tape::Held::Held(const Tape& tape) {
  if (!tape.gradients_.empty()) owner.assign(tape.slots_.size(), -1);
  for (std::size_t k = 0; k < tape.gradients_.size(); ++k) {
    const std::vector<std::int32_t>& slots = tape.gradients_[k].slots;
    cotangents.emplace_back(slots.size());
    for (const std::int32_t slot : slots)
      if (slot >= 0 && owner[slot] < 0) owner[slot] = static_cast<std::int32_t>(k);
  }
}

void Tape::hold_back(const Node& node, Held& held, std::vector<Tensor>& cotangents) const {
  for (std::uint32_t i = 0; i < node.n_out; ++i) {
    const std::int32_t slot = node.out_slot + static_cast<std::int32_t>(i), k = held.owner[slot];
    if (k < 0) continue;
    const auto& slots = gradients_[k].slots;
    const auto at = std::find(slots.begin(), slots.end(), slot) - slots.begin();
    held.cotangents[k][at] = std::exchange(cotangents[slot], {});
    held.owner[slot] = -1;
    if (std::none_of(slots.begin(), slots.end(), [&](std::int32_t s) { return s >= 0 && held.owner[s] == k; }))
      push_held(gradients_[k], held.cotangents[k], cotangents);
  }
}

// Cotangents of the inputs of a gradient from those of the gradient.
void Tape::push_held(const Gradient& g, std::span<const Tensor> along, std::vector<Tensor>& cotangents) const {
  if (std::none_of(along.begin(), along.end(), [](const Tensor& c) { return c.defined(); })) return;
  std::vector<Tensor> tangents(slots_.size()), pushed;
  for (std::size_t i = 0; i < g.inputs.size(); ++i) tangents[slot_of(g.inputs[i])] = along[i];
  push_forward(g.needed, tangents);
  for (std::size_t i = 0; i < g.inputs.size(); ++i) {
    pushed.push_back(g.slots[i] < 0 ? Tensor() : tangents[g.slots[i]]);
    Tensor& total = cotangents[slot_of(g.inputs[i])];
    total = add_cotangents(total, pushed.back());
  }
  tell_below(g.inputs, pushed, along);
}

}  // namespace evolute
