#include "graph/plan.h"

#include <algorithm>
#include <map>
#include <set>

#include "evolute/precision.h"
#include "graph/products.h"
#include "graph/rewrite.h"

namespace evolute {

namespace {

constexpr std::size_t kAlignment = 64;

std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }
std::size_t padded_bytes(const Aval& a) {
  const std::size_t bytes = static_cast<std::size_t>(a.shape.product()) * size_of(a.dtype);
  return (std::max<std::size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
}

struct Block {
  ValueId id;
  std::size_t bytes, first, last, offset;
};

// Places blocks in the order in which their lifetimes begin, each in the tightest gap: n log n, for programs so long
// that `pack` would take n² steps.
std::size_t pack_in_order(std::vector<Block>& blocks) {
  std::stable_sort(blocks.begin(), blocks.end(), [](const Block& a, const Block& b) { return a.first < b.first; });
  std::map<std::size_t, std::size_t> gaps;                     // offset → bytes
  std::set<std::pair<std::size_t, std::size_t>> gaps_by_size;  // bytes, offset
  const auto add_gap = [&](std::size_t offset, std::size_t bytes) {
    gaps[offset] = bytes;
    gaps_by_size.insert({bytes, offset});
  };
  const auto remove_gap = [&](std::size_t offset) {
    const std::size_t bytes = gaps.at(offset);
    gaps.erase(offset);
    gaps_by_size.erase({bytes, offset});
    return bytes;
  };
  std::set<std::pair<std::size_t, std::size_t>> alive;  // last step, index of the block
  std::size_t total = 0;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    Block& b = blocks[i];
    for (; !alive.empty() && alive.begin()->first < b.first; alive.erase(alive.begin())) {
      const Block& ended = blocks[alive.begin()->second];
      std::size_t offset = ended.offset, bytes = ended.bytes;
      if (const auto next = gaps.find(offset + bytes); next != gaps.end()) bytes += remove_gap(next->first);
      if (const auto next = gaps.lower_bound(offset); next != gaps.begin())
        if (const auto before = std::prev(next); before->first + before->second == offset) {
          offset = before->first;
          bytes += remove_gap(offset);
        }
      add_gap(offset, bytes);
    }
    if (const auto fit = gaps_by_size.lower_bound({b.bytes, 0}); fit != gaps_by_size.end()) {
      b.offset = fit->second;
      const std::size_t room = remove_gap(b.offset);
      if (room > b.bytes) add_gap(b.offset + b.bytes, room - b.bytes);
    } else {
      b.offset = total;
      total += b.bytes;
    }
    alive.insert({b.last, i});
  }
  return total;
}

// Places blocks with lifetimes [first, last] in one arena, each at the lowest offset where nothing alive is in its way;
// larger blocks first.
std::size_t pack(std::vector<Block>& blocks) {
  constexpr std::size_t kMany = 5000;
  if (blocks.size() > kMany) return pack_in_order(blocks);
  std::stable_sort(blocks.begin(), blocks.end(), [](const Block& a, const Block& b) { return a.bytes > b.bytes; });
  std::size_t total = 0;
  std::vector<const Block*> placed;  // by offset
  for (Block& b : blocks) {
    b.offset = 0;
    for (const Block* p : placed) {
      if (p->last < b.first || b.last < p->first) continue;
      if (b.offset + b.bytes <= p->offset) break;
      b.offset = std::max(b.offset, p->offset + p->bytes);
    }
    placed.insert(std::upper_bound(placed.begin(), placed.end(), &b,
                                   [](const Block* x, const Block* y) { return x->offset < y->offset; }),
                  &b);
    total = std::max(total, b.offset + b.bytes);
  }
  return total;
}

// Whether output o of a step may be written over its input i, an array of the same kind that lies in the same order.
bool may_overwrite(const Step& step, std::size_t i, std::size_t o) {
  if (step.kind == Step::Kind::Kernel)
    return step.nodes[0]->op->kernel_id >= 0 || (step.nodes[0]->op == &matmul_add_op && i == 2);
  if (step.kind != Step::Kind::Fused) return false;
  // Block by block: the input must not be read after the micro-op that writes the output. Sums are there at the end.
  // Factors of a product are read throughout.
  const auto inputs = static_cast<std::size_t>(step.program.n_inputs);
  if (o >= static_cast<std::size_t>(step.program.n_outputs)) return false;
  if (step.program.product && i + 1 >= inputs) return false;
  const auto input = static_cast<std::int16_t>(i), output = static_cast<std::int16_t>(inputs + o);
  bool written = false;
  for (const FusedProgram::MicroOp& op : step.program.ops) {
    const auto in = op.slots.begin(), out = in + op.n_in;
    if (written && std::find(in, out, input) != out) return false;
    written = written || std::find(out, out + op.n_out, output) != out + op.n_out;
  }
  return true;
}

}  // namespace

Plan::Plan(std::shared_ptr<const Graph> graph, std::vector<PassEffect> effects)
    : graph_(std::move(graph)), effects_(std::move(effects)), steps_(fuse(*graph_)) {
  place();
}

Plan::~Plan() = default;

void Plan::place() {
  placement_.assign(graph_->values.size(), {});
  auto set = [&](ValueId id, Placement::Kind k) { placement_[index(id)].kind = k; };
  for (ValueId id : graph_->inputs) set(id, Placement::Kind::External);
  for (const auto& c : graph_->constants) set(c.id, Placement::Kind::External);
  for (const auto& v : graph_->variables) set(v.in, Placement::Kind::External);

  // What a view shares memory with: itself for all others.
  std::vector<ValueId> root(graph_->values.size());
  for (std::size_t i = 0; i < root.size(); ++i) root[i] = static_cast<ValueId>(i);
  std::vector<std::size_t> first(root.size()), last(root.size());
  for (std::size_t s = 0; s < steps_.size(); ++s) {
    const Step& step = steps_[s];
    for (ValueId id : step.in) last[index(root[index(id)])] = s;
    for (ValueId id : step.out) {
      const bool view = step.kind == Step::Kind::View;
      if (view) root[index(id)] = root[index(step.in[0])];
      set(id, view ? Placement::Kind::View : Placement::Kind::Arena);
      first[index(id)] = last[index(id)] = s;
      if (view) last[index(root[index(id)])] = s;
    }
  }
  auto escape = [&](ValueId id) {
    if (Placement& p = placement_[index(root[index(id)])]; p.kind == Placement::Kind::Arena)
      p.kind = Placement::Kind::Output;
  };
  for (ValueId id : graph_->outputs) escape(id);
  for (const auto& v : graph_->variables)
    if (v.out >= 0) escape(v.out);
  share_outputs(last);
  for (std::size_t i = 0; i < placement_.size(); ++i)
    if (const auto kind = placement_[i].kind; kind == Placement::Kind::Output || kind == Placement::Kind::Shared)
      own_outputs_.push_back(static_cast<ValueId>(i));

  // Elementwise results take the place of operands that nobody reads any more.
  std::vector<ValueId> place_of(root.size());
  for (std::size_t i = 0; i < place_of.size(); ++i) place_of[i] = static_cast<ValueId>(i);
  const auto in_arena = [&](ValueId id) { return placement_[index(id)].kind == Placement::Kind::Arena; };
  std::vector<bool> taken(root.size());
  for (std::size_t s = 0; s < steps_.size(); ++s)
    for (std::size_t o = 0; o < steps_[s].out.size(); ++o)
      for (std::size_t i = 0; i < steps_[s].in.size(); ++i) {
        const ValueId from = steps_[s].in[i], to = steps_[s].out[o];
        if (!in_arena(from) || !in_arena(to) || last[index(from)] != s || taken[index(from)]) continue;
        if (graph_->values[index(from)] != graph_->values[index(to)] || !may_overwrite(steps_[s], i, o)) continue;
        const auto same_memory = [&](ValueId id) { return root[index(id)] == root[index(from)]; };  // views too
        if (std::count_if(steps_[s].in.begin(), steps_[s].in.end(), same_memory) > 1) continue;
        place_of[index(to)] = place_of[index(from)];
        taken[index(from)] = true;
        break;
      }

  std::array<std::vector<Block>, kNumDevices> blocks;
  const auto blocks_of = [&](std::size_t i) -> auto& {
    return blocks[static_cast<std::size_t>(graph_->values[i].device.type)];
  };
  std::vector<std::size_t> block_of(root.size());
  for (std::size_t i = 0; i < root.size(); ++i) {
    if (!in_arena(static_cast<ValueId>(i)) || index(place_of[i]) != i) continue;
    block_of[i] = blocks_of(i).size();
    blocks_of(i).push_back({static_cast<ValueId>(i), padded_bytes(graph_->values[i]), first[i], last[i], 0});
  }
  for (std::size_t i = 0; i < root.size(); ++i)
    if (in_arena(static_cast<ValueId>(i))) {
      Block& b = blocks_of(i)[block_of[index(place_of[i])]];
      b.last = std::max(b.last, last[i]);
    }
  for (std::size_t d = 0; d < blocks.size(); ++d) {
    arena_bytes_[d] = pack(blocks[d]);
    for (const Block& b : blocks[d]) placement_[index(b.id)].offset = b.offset;
  }
  for (std::size_t i = 0; i < root.size(); ++i)
    if (in_arena(static_cast<ValueId>(i))) placement_[i].offset = placement_[index(place_of[i])].offset;

  std::vector<bool> wanted(root.size());
  for (ValueId id : graph_->outputs) wanted[index(id)] = true;
  for (const auto& v : graph_->variables)
    if (v.out >= 0) wanted[index(v.out)] = true;
  replayable_ = !steps_.empty();
  for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) {
    for (ValueId id : step->out) replayable_ = replayable_ && graph_->values[index(id)].device.type != DeviceType::CPU;
    replayable_ = replayable_ && !step->nodes[0]->op->runs_graph;
    if (step->kind != Step::Kind::View || !wanted[index(step->out[0])]) continue;
    wanted[index(step->in[0])] = true;
    result_views_.insert(result_views_.begin(), &*step);
  }
  for (ValueId id : graph_->inputs)
    replayable_ = replayable_ && graph_->values[index(id)].device.type != DeviceType::CPU;
  for (const auto& v : graph_->variables) replayable_ = replayable_ && v.aval.device.type != DeviceType::CPU;
}

bool Plan::may_update(std::size_t input, std::size_t output) const {
  const ValueId from = graph_->inputs[input], to = graph_->outputs[output];
  const auto& outputs = graph_->outputs;
  if (placement_[index(to)].kind != Placement::Kind::Output || graph_->values[index(from)] != graph_->values[index(to)])
    return false;
  if (std::find(outputs.begin(), outputs.end(), from) != outputs.end() ||
      std::find(outputs.begin(), outputs.end(), to) - outputs.begin() != static_cast<std::ptrdiff_t>(output))
    return false;
  bool may = false;
  for (const Step& step : steps_)
    for (std::size_t i = 0; i < step.in.size(); ++i) {
      if (step.in[i] != from) continue;
      const auto o = std::find(step.out.begin(), step.out.end(), to) - step.out.begin();
      if (may || o == static_cast<std::ptrdiff_t>(step.out.size())) return false;
      may = may_overwrite(step, i, static_cast<std::size_t>(o));
      if (!may) return false;
    }
  return may;
}

// The terms of an output that is a sum of matrix products are added up where it will be.
void Plan::share_outputs(const std::vector<std::size_t>& last) {
  for (std::size_t s = steps_.size(); s-- > 0;) {
    const Step& step = steps_[s];
    if (step.kind != Step::Kind::Kernel || step.nodes[0]->op != &matmul_add_op) continue;
    const Placement& to = placement_[index(step.out[0])];
    Placement& from = placement_[index(step.in[2])];
    if (from.kind != Placement::Kind::Arena || last[index(step.in[2])] != s) continue;
    if (to.kind == Placement::Kind::Output || to.kind == Placement::Kind::Shared)
      from = {Placement::Kind::Shared, 0, to.output >= 0 ? to.output : step.out[0]};
  }
}

void Plan::release_arenas(std::size_t bytes) const {
  std::vector<std::unique_ptr<Frame>> freed;
  std::lock_guard lock(mutex_);
  if (arena_bytes() > bytes) freed.swap(frames_);
}

std::unique_ptr<Plan::Frame> Plan::take_frame() const {
  {
    std::lock_guard lock(mutex_);
    if (!frames_.empty()) {
      auto frame = std::move(frames_.back());
      frames_.pop_back();
      return frame;
    }
  }
  auto frame = std::make_unique<Frame>();
  for (std::size_t d = 0; d < frame->arena.size(); ++d)
    if (arena_bytes_[d] > 0) frame->arena[d] = backend(static_cast<DeviceType>(d)).allocate(arena_bytes_[d]);
  frame->array.resize(placement_.size());
  for (std::size_t i = 0; i < placement_.size(); ++i) {
    if (placement_[i].kind != Placement::Kind::Arena) continue;
    const Aval& a = graph_->values[i];
    const Ref<Buffer>& arena = frame->arena[static_cast<std::size_t>(a.device.type)];
    frame->kept.push_back(make_ref<Array>(a, arena, arena->data() + placement_[i].offset, row_major(a.shape)));
    frame->array[i] = frame->kept.back().get();
  }
  for (const auto& c : graph_->constants) frame->array[index(c.id)] = static_cast<Array*>(c.value.value());
  return frame;
}

void Plan::give_back(std::unique_ptr<Frame> frame) const {
  frame->current.clear();
  std::lock_guard lock(mutex_);
  frames_.push_back(std::move(frame));
}

// Outputs whose arrays are null get arrays of their own.
void Plan::run_steps(Frame& frame) const {
  auto& array = frame.array;
  const auto hold = [&](ValueId id, Ref<Array> a) {
    array[index(id)] = a.get();
    frame.current.push_back(std::move(a));
  };
  SmallVector<const Array*, 8> in;
  SmallVector<Array*, 8> out;
  for (const Step& step : steps_) {
    const Graph::Node& node = *step.nodes[0];
    in.clear();
    for (ValueId id : step.in) in.push_back(array[index(id)]);
    if (step.kind == Step::Kind::View) {
      const ValueId id = step.out[0];
      hold(id, node.op->view(*node.op, node.attrs.get(), *in[0], graph_->values[index(id)]));
      continue;
    }
    out.clear();
    for (ValueId id : step.out) {
      if (const ValueId output = placement_[index(id)].output; output >= 0 && !array[index(id)]) {
        if (!array[index(output)]) hold(output, empty(graph_->values[index(output)]));
        array[index(id)] = array[index(output)];
      }
      if (!array[index(id)]) hold(id, empty(graph_->values[index(id)]));
      out.push_back(array[index(id)]);
    }
    if (step.kind == Step::Kind::Fused)
      step.loop->run(in, out);
    else
      node.op->kernel(*node.op, node.attrs.get(), in, out);
  }
}

// The same on a device that can record what it is asked for, and do it again without being told step by step.
void Plan::run_recorded(Frame& frame) const {
  auto& array = frame.array;
  Backend& device = backend(graph_->values[index(steps_[0].out[0])].device.type);
  for (ValueId id : own_outputs_) {
    const ValueId output = placement_[index(id)].output;  // whose array is shared, if any
    Array*& own = array[index(output >= 0 ? output : id)];
    if (!own) {
      frame.current.push_back(empty(graph_->values[index(id)]));
      own = frame.current.back().get();
    }
    array[index(id)] = own;
  }
  std::vector<std::intptr_t> key{matmul_allow_tf32()};
  std::vector<const Array*> operands;
  const auto add = [&](ValueId id, bool is_input) {
    Array*& a = array[index(id)];
    if (is_input && a->on_host() && a->size() > 0) {  // it may differ in each run: it gets a place on the device
      const Ref<Array> place = empty({{1}, a->dtype(), a->aval().device});
      device.copy(*view(*a, {1}, {1}), *place);
      frame.current.push_back(
          make_ref<Array>(a->aval(), place->buffer(), place->bytes(), Strides::filled(a->ndim(), 0)));
      a = frame.current.back().get();
    }
    operands.push_back(a);
    key.push_back(reinterpret_cast<std::intptr_t>(a->bytes()));
    if (!a->contiguous()) key.insert(key.end(), a->strides().begin(), a->strides().end());
  };
  for (ValueId id : graph_->inputs) add(id, true);
  for (const auto& v : graph_->variables) add(v.in, true);
  for (ValueId id : own_outputs_) add(id, false);
  if (!frame.kept.empty()) operands.push_back(frame.kept.front().get());  // for all of the arena
  for (const auto& c : graph_->constants) operands.push_back(array[index(c.id)]);
  // Results are the caller's, so that a view among them that needed memory cannot be that of the recording.
  const auto give_copies = [&](const Frame::Recorded& r) {
    for (const auto& [id, copy] : r.copies) {
      array[index(id)] = copy.get();
      if (std::none_of(result_views_.begin(), result_views_.end(), [&](auto* s) { return s->out[0] == id; })) continue;
      frame.current.push_back(empty(copy->aval()));
      device.copy(*copy, *frame.current.back());
      array[index(id)] = frame.current.back().get();
    }
  };

  const auto known = std::find_if(frame.recorded.begin(), frame.recorded.end(), [&](auto& r) { return r.key == key; });
  if (known != frame.recorded.end()) {
    known->replay->run(operands);
    give_copies(*known);
    for (const Step* step : result_views_) {
      const ValueId id = step->out[0];
      if (std::any_of(known->copies.begin(), known->copies.end(), [&](auto& c) { return c.first == id; })) continue;
      const Graph::Node& node = *step->nodes[0];
      frame.current.push_back(
          node.op->view(*node.op, node.attrs.get(), *array[index(step->in[0])], graph_->values[index(id)]));
      array[index(id)] = frame.current.back().get();
    }
    std::rotate(known, known + 1, frame.recorded.end());
    return;
  }
  const auto before = std::find(frame.seen.begin(), frame.seen.end(), key);
  if (before == frame.seen.end()) {  // it may never come again: recording takes longer than running
    if (frame.seen.size() == Frame::kSeen) frame.seen.erase(frame.seen.begin());
    frame.seen.push_back(std::move(key));
    return run_steps(frame);
  }
  frame.seen.erase(before);
  Ref<Replay> replay = device.record([&] { run_steps(frame); }, operands);
  if (!replay) return;
  Frame::Recorded recorded{std::move(key), std::move(replay), {}};
  for (const Step& step : steps_) {
    if (step.kind != Step::Kind::View) continue;
    Array* out = array[index(step.out[0])];
    if (out->buffer() == array[index(step.in[0])]->buffer()) continue;
    recorded.copies.emplace_back(step.out[0], Ref<Array>(out));
  }
  give_copies(recorded);
  if (frame.recorded.size() == Frame::kRecorded) frame.recorded.erase(frame.recorded.begin());
  frame.recorded.push_back(std::move(recorded));
}

std::vector<Tensor> Plan::run(std::span<const Tensor> inputs, std::span<const Tensor> variables) const {
  std::unique_ptr<Frame> frame = take_frame();
  auto& array = frame->array;
  for (std::size_t i = 0; i < graph_->inputs.size(); ++i)
    array[index(graph_->inputs[i])] = static_cast<Array*>(inputs[i].value());
  for (std::size_t i = 0; i < graph_->variables.size(); ++i)
    array[index(graph_->variables[i].in)] = static_cast<Array*>(variables[i].value());
  for (ValueId id : own_outputs_) array[index(id)] = nullptr;
  replayable_ ? run_recorded(*frame) : run_steps(*frame);
  std::vector<Tensor> results;
  const auto give = [&](ValueId id) { results.push_back(to_tensor(Ref<Array>(array[index(id)]))); };
  for (ValueId id : graph_->outputs) give(id);
  for (const auto& v : graph_->variables)
    if (v.out >= 0) give(v.out);
  give_back(std::move(frame));
  return results;
}

void Plan::run_into(std::span<const Array* const> inputs, std::span<Array* const> outputs) const {
  std::unique_ptr<Frame> frame = take_frame();
  auto& array = frame->array;
  for (std::size_t i = 0; i < inputs.size(); ++i) array[index(graph_->inputs[i])] = const_cast<Array*>(inputs[i]);
  for (ValueId id : own_outputs_) array[index(id)] = nullptr;
  for (std::size_t i = 0; i < outputs.size(); ++i) array[index(graph_->outputs[i])] = outputs[i];
  run_steps(*frame);
  give_back(std::move(frame));
}

std::shared_ptr<const Plan> compile(std::shared_ptr<Graph> recorded) {
  std::vector<PassEffect> effects;
  std::shared_ptr<Graph> graph = optimize(std::move(recorded), &effects);
  return std::make_shared<const Plan>(std::move(graph), std::move(effects));
}

std::shared_ptr<const Plan> compile(std::shared_ptr<Graph> recorded, std::span<const std::string> passes) {
  std::vector<PassEffect> effects;
  for (const std::string& name : passes) recorded = run_pass(name, *recorded, &effects);
  return std::make_shared<const Plan>(std::move(recorded), std::move(effects));
}

}  // namespace evolute
