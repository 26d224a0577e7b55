#include "ops/op.h"

#include <algorithm>
#include <deque>

#include "evolute/ops.h"

namespace evolute {

namespace {

struct Registry {
  std::deque<Op> ops;
  std::vector<const Op*> table;
};
Registry& registry() {
  static Registry r;  // function-local: ops are defined during static initialisation of other files
  return r;
}

// The highest live level among the operands; null when all are concrete.
Level* highest_level(const Op& op, std::span<const Tensor> in, bool& stale) {
  Level* top = nullptr;
  for (const Tensor& t : in) {
    if (!t.defined()) throw ValueError(cat(op.name, ": an operand is an undefined tensor"));
    Level* level = t.value()->level();
    if (!level) continue;
    if (!level->live()) {
      if (level->is_recorder())
        throw TraceError(cat(op.name,
                             ": an operand was made while a function was being recorded for graph mode and has "
                             "outlived that recording; return it from the function instead of storing it"));
      stale = true;
      continue;
    }
    if (!top || level->depth() > top->depth()) top = level;
  }
  return top;
}

}  // namespace

const Op& define_op(Op op) {
  registry().ops.push_back(std::move(op));
  const Op& kept = registry().ops.back();
  registry().table.push_back(&kept);
  return kept;
}

std::span<const Op* const> op_table() { return registry().table; }

const Op& primitive(std::string_view name) {
  for (const Op* op : op_table())
    if (op->name == name) return *op;
  throw ValueError(cat("no primitive is named ", name));
}

void apply(const Op& op, const AttrsPtr& attrs, std::span<const Tensor> in, std::span<Tensor> out) {
  bool stale = false;
  Level* top = highest_level(op, in, stale);
  if (stale) {
    Tensors settled;
    for (const Tensor& t : in) settled.push_back(settle(t));
    return apply(op, attrs, settled, out);
  }
  // To a recording, values of levels outside of it are as good as constants.
  if (RecorderBase* recorder = thread_state.recorder; recorder && (!top || top->depth() < recorder->depth()))
    top = recorder;
  if (!top) return evaluate(op, attrs.get(), in, out);
  if (thread_state.recorder && top != thread_state.recorder) return top->process_once(op, attrs, in, out);
  top->process(op, attrs, in, out);
}

namespace {

// Axes along which every operand of an elementwise op repeats itself (stride 0), so that the result does too.
Axes uniform_axes(std::span<const Tensor> in, const Shape& shape) {
  Axes axes;
  for (int i = 0; i < shape.size(); ++i) {
    bool uniform = shape[i] > 1;
    for (const Tensor& t : in) {
      const Array& a = *static_cast<const Array*>(t.value());
      const int j = i - (shape.size() - a.ndim());
      uniform = uniform && (j < 0 || a.shape()[j] == 1 || a.strides()[j] == 0);
    }
    if (uniform) axes.push_back(i);
  }
  return axes;
}

// `t` with only the first element along `axes` of a result of `ndim` axes.
Tensor first_along(const Tensor& t, const Axes& axes, int ndim) {
  const Array& a = *static_cast<const Array*>(t.value());
  Shape shape = a.shape();
  for (auto i : axes)
    if (i >= ndim - a.ndim()) shape[static_cast<int>(i) - (ndim - a.ndim())] = 1;
  return to_tensor(view(a, shape, a.strides()));
}

}  // namespace

void evaluate(const Op& op, const Attrs* attrs, std::span<const Tensor> in, std::span<Tensor> out) {
  SmallVector<Aval, 1> avals;
  op.infer(op, attrs, in, avals);
  if (op.shortcut && op.shortcut(in, avals[0], out)) return;
  // Constants are views of one element: what is computed from them alone is computed once. Cotangents of sums and the
  // like thus cost nothing.
  if ((op.kernel_id >= 0 || op.pointwise) && avals[0].shape.product() > 1 &&
      std::none_of(in.begin(), in.end(), [](const Tensor& t) {
        const Array& a = *static_cast<const Array*>(t.value());
        return a.contiguous() && a.size() > 1;
      })) {
    if (const Axes axes = uniform_axes(in, avals[0].shape); !axes.empty()) {
      Tensors narrow;
      for (const Tensor& t : in) narrow.push_back(first_along(t, axes, avals[0].shape.size()));
      evaluate(op, attrs, narrow, out);
      for (std::size_t i = 0; i < out.size(); ++i) out[i] = to_tensor(broadcast_view(out[i].array(), avals[i].shape));
      return;
    }
  }
  if (op.view) {
    out[0] = to_tensor(op.view(op, attrs, in[0].array(), avals[0]));
    return;
  }
  SmallVector<const Array*, 4> sources;
  for (const Tensor& t : in) sources.push_back(static_cast<const Array*>(t.value()));
  SmallVector<Ref<Array>, 2> results;
  SmallVector<Array*, 2> targets;
  for (const Aval& a : avals) {
    results.push_back(empty(a));
    targets.push_back(results.back().get());
  }
  op.kernel(op, attrs, sources, targets);
  for (std::size_t i = 0; i < results.size(); ++i) out[i] = to_tensor(std::move(results[i]));
}

void jvp_linear(const Op& op, JvpArgs& a) {
  Tensors tangents;
  for (std::size_t i = 0; i < a.in.size(); ++i)
    tangents.push_back(a.tangents[i].defined() ? a.tangents[i] : zeros_like(a.in[i]));
  apply(op, AttrsPtr(a.attrs), tangents, a.out_tangents);
}

void jvp_linear_in_first(const Op& op, JvpArgs& a) {
  Tensors operands(a.in.begin(), a.in.end());
  operands[0] = a.tangents[0];
  apply(op, AttrsPtr(a.attrs), operands, a.out_tangents);
}

bool JvpArgs::moves(std::size_t i) const {
  return std::ranges::any_of(series(i), [](const Tensor& c) { return c.defined(); });
}

void taylor_linear(const Op& op, JvpArgs& a) {
  Tensors tangents(a.in.size()), out_tangents;
  for (std::size_t k = 0; k < a.order; ++k) {
    bool moves = false;
    for (std::size_t i = 0; i < a.in.size(); ++i) {
      tangents[i] = a.series(i)[k];
      moves = moves || tangents[i].defined();
    }
    if (!moves) continue;
    out_tangents = Tensors(a.out.size());
    JvpArgs along{a.attrs, a.in, a.out, tangents, out_tangents};
    op.jvp(op, along);
    for (std::size_t i = 0; i < a.out.size(); ++i) a.out_series(i)[k] = out_tangents[i];
  }
}

Tensor sum_to(const Tensor& t, const Shape& shape) {
  if (t.shape() == shape) return t;
  Axes axes;
  const int extra = t.ndim() - shape.size();
  for (int i = 0; i < t.ndim(); ++i)
    if (i < extra || (shape[i - extra] == 1 && t.shape(i) != 1)) axes.push_back(i);
  return reshape(sum(t, axes), shape);
}

Tensor add_cotangents(const Tensor& a, const Tensor& b) {
  if (!a.defined()) return b;
  return b.defined() ? add(a, b) : a;
}

}  // namespace evolute
