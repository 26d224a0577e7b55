#include <cstring>

#include "graph/plan.h"

namespace evolute {

namespace {

std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }

// An elementwise operation alone, as a fused loop.
FusedProgram single(const Graph& graph, const Graph::Node& node) {
  FusedProgram p;
  p.shape = graph.values[index(node.out[0])].shape;
  p.n_inputs = static_cast<int>(node.in.size());
  p.n_outputs = static_cast<int>(node.out.size());
  for (ValueId id : node.in) p.slot_dtype.push_back(graph.values[index(id)].dtype);
  for (ValueId id : node.out) p.slot_dtype.push_back(graph.values[index(id)].dtype);
  FusedProgram::MicroOp op{node.op->kernel_id,
                           p.slot_dtype[0],
                           static_cast<std::uint8_t>(p.n_inputs),
                           static_cast<std::uint8_t>(p.n_outputs),
                           {}};
  for (std::size_t i = 0; i < p.slot_dtype.size(); ++i) op.slots[i] = static_cast<std::int16_t>(i);
  p.ops.push_back(op);
  return p;
}

}  // namespace

PlanLoop::PlanLoop(std::shared_ptr<const Plan> plan, std::span<Array* const> inputs, std::span<Array* const> outputs)
    : plan_(std::move(plan)), frame_(plan_->take_frame()) {
  const Graph& graph = plan_->graph();
  auto& array = frame_->array;
  for (std::size_t i = 0; i < inputs.size(); ++i) array[index(graph.inputs[i])] = inputs[i];
  for (ValueId id : plan_->own_outputs_) array[index(id)] = nullptr;
  std::vector<bool> bound(outputs.size());
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const std::size_t id = index(graph.outputs[i]);
    if (plan_->placement_[id].kind != Placement::Kind::Output || array[id]) continue;
    array[id] = outputs[i];
    bound[i] = true;
  }
  const auto own = [&](ValueId id) {
    if (array[index(id)]) return;
    frame_->current.push_back(empty(graph.values[index(id)]));
    array[index(id)] = frame_->current.back().get();
  };
  for (ValueId id : plan_->own_outputs_) {
    const ValueId output = plan_->placement_[index(id)].output;  // whose array is shared, if any
    own(output >= 0 ? output : id);
    if (output >= 0) array[index(id)] = array[index(output)];
  }
  for (const Step& step : plan_->steps()) bind(step);
  for (std::size_t i = 0; i < outputs.size(); ++i)
    if (!bound[i]) copies_.push_back({array[index(graph.outputs[i])], outputs[i]});
}

PlanLoop::~PlanLoop() {
  steps_.clear();
  plan_->give_back(std::move(frame_));
}

void PlanLoop::bind(const Step& step) {
  const Graph& graph = plan_->graph();
  auto& array = frame_->array;
  Bound b{step.nodes[0], step.loop.get(), {}, {}, {}, false, false, 0, {}, {}};
  for (ValueId id : step.in) b.in.push_back(array[index(id)]);
  if (step.kind == Step::Kind::View) {
    const ValueId id = step.out[0];
    Ref<Array> v = b.node->op->view(*b.node->op, b.node->attrs.get(), *b.in[0], graph.values[index(id)]);
    b.view = true;
    b.copies = v->buffer() != b.in[0]->buffer();
    b.offset = v->bytes() - b.in[0]->bytes();
    array[index(id)] = v.get();
    b.result = std::move(v);
  }
  for (ValueId id : step.out) b.out.push_back(array[index(id)]);
  if (b.fused)
    b.loop = b.fused->bind(b.in, b.out);
  else if (b.node->op->kernel_id >= 0)
    b.loop = backend(b.out[0]->aval().device.type).prepare(single(graph, *b.node))->bind(b.in, b.out);
  steps_.push_back(std::move(b));
}

void PlanLoop::run() {
  for (Bound& b : steps_) {
    if (b.copies) {
      b.copy = b.node->op->view(*b.node->op, b.node->attrs.get(), *b.in[0], b.out[0]->aval());
      b.out[0]->move_to(b.copy->bytes());
    } else if (b.view) {
      b.out[0]->move_to(b.in[0]->bytes() + b.offset);
    } else if (b.loop) {
      b.loop->run();
    } else if (b.fused) {
      b.fused->run(b.in, b.out);
    } else {
      b.node->op->kernel(*b.node->op, b.node->attrs.get(), b.in, b.out);
    }
  }
  for (const Copy& c : copies_)
    if (c.from->contiguous() && c.from->on_host() && c.to->on_host())
      std::memcpy(c.to->bytes(), c.from->bytes(), static_cast<std::size_t>(c.to->size()) * size_of(c.to->dtype()));
    else
      copy_array(*c.from, *c.to);
}

}  // namespace evolute
