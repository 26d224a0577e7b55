// Cancellation: a reduction along which its operand repeats itself, or which its factors pass through, works on the
// part that does not repeat. Σᵢ x = n x, Σᵢ xᵢ y = y Σᵢ xᵢ, and products of matrices whose rows or columns are all one.
#include <algorithm>
#include <cstring>
#include <utility>

#include "evolute/ops.h"
#include "graph/rewrite.h"
#include "ops/attrs.h"

namespace evolute {

namespace {

using In = std::span<const Tensor>;

bool give(std::span<Tensor> out, const Tensor& t) {
  out[0] = t;
  return true;
}
Tensor shaped(const Tensor& t, const Shape& shape) { return t.shape() == shape ? t : broadcast_to(t, shape); }

const Axes& axes_of(const Graph::Node& node) { return attrs_as<ReduceAttrs>(node.attrs.get()).axes; }
Tensor summed(const Tensor& x, const Axes& axes) {
  static const Op& op = primitive("sum");
  return axes.empty() ? x : apply(op, make_attrs(ReduceAttrs{axes}), x);
}

// The operand of a broadcast, and what becomes of the axes of a reduction of its result.
struct Repetition {
  Tensor narrow;
  Axes rest;         // axes of `narrow` to be reduced still
  Shape kept;        // shape of the result
  double count = 1;  // how often each element counted
};
bool find_repetition(const Rewriter& r, const Tensor& x, const Axes& axes, Repetition& p) {
  static const Op& broadcast = primitive("broadcast_to");
  const Graph::Node* n = r.made_by(x, broadcast);
  if (!n) return false;
  p.narrow = r.operand(*n, 0);
  const int lead = x.ndim() - p.narrow.ndim();
  for (int i = 0; i < x.ndim(); ++i) {
    const bool repeated = i < lead || p.narrow.shape(i - lead) != x.shape(i);
    if (!axes.contains(i))
      p.kept.push_back(x.shape(i));
    else if (repeated)
      p.count *= static_cast<double>(x.shape(i));
    if (axes.contains(i) && i >= lead && (!repeated || p.narrow.shape(i - lead) == 1)) p.rest.push_back(i - lead);
  }
  return p.count != 1;
}

// Whether `t` is one value along `axes` of a result of `ndim` axes.
bool is_constant_along(const Tensor& t, const Axes& axes, int ndim) {
  return std::all_of(axes.begin(), axes.end(), [&](auto i) {
    const int at = static_cast<int>(i) - (ndim - t.ndim());
    return at < 0 || t.shape(at) == 1;
  });
}
// The same value without these axes, which has to have `shape`, or to broadcast to it.
Tensor without(const Tensor& t, const Axes& axes, int ndim) {
  Shape shape;
  for (int i = 0; i < t.ndim(); ++i)
    if (!axes.contains(i + ndim - t.ndim())) shape.push_back(t.shape(i));
  return reshape(t, shape);
}

bool cancel_sum(const Rewriter& r, const Graph::Node& node, In in, std::span<Tensor> out, bool only_use) {
  static const Op &op_sum = primitive("sum"), &op_mul = primitive("mul"), &op_neg = primitive("neg");
  const Tensor& x = in[0];
  const Axes& axes = axes_of(node);
  if (!is_floating(x.dtype())) return false;
  if (Repetition p; find_repetition(r, x, axes, p))  // repeated axes that remain come back with the broadcast
    return give(out, shaped(mul(summed(p.narrow, p.rest), p.count), p.kept));
  if (!only_use) return false;
  if (const Graph::Node* n = r.made_by(x, op_sum)) {  // of a sum
    const Axes& inner = axes_of(*n);
    const Tensor source = r.operand(*n, 0);
    Axes all;
    for (int i = 0, kept = 0; i < source.ndim(); ++i)
      if (inner.contains(i) || axes.contains(kept++)) all.push_back(i);
    return give(out, summed(source, all));
  }
  if (const Graph::Node* n = r.made_by(x, op_neg)) return give(out, neg(summed(r.operand(*n, 0), axes)));
  const Graph::Node* product = r.made_by(x, op_mul);
  if (!product || x.shape().product() == 0) return false;
  for (const std::size_t i : {0u, 1u}) {
    const Tensor factor = r.operand(*product, i), other = r.operand(*product, 1 - i);
    if (other.shape() != x.shape() || !is_constant_along(factor, axes, x.ndim())) continue;
    return give(out, mul(summed(other, axes), without(factor, axes, x.ndim())));
  }
  return false;
}

// The largest or smallest of repeated values is that of one of each; the same of truth values.
bool cancel_extremum(const Rewriter& r, const Graph::Node& node, In in, std::span<Tensor> out) {
  Repetition p;
  if (in[0].shape().product() == 0 || !find_repetition(r, in[0], axes_of(node), p)) return false;
  const Tensor reduced = p.rest.empty() ? p.narrow : apply(*node.op, make_attrs(ReduceAttrs{p.rest}), p.narrow);
  return give(out, shaped(reduced, p.kept));
}

// Whether all rows, or columns, of a constant matrix are equal to the bit; looked for in small ones.
bool repeats_itself(const Array& a, int axis) {
  constexpr std::int64_t kMost = 1 << 16;  // as large as what constant folding leaves
  if (a.size() > kMost || a.size() == 0) return false;
  const auto item = static_cast<std::int64_t>(size_of(a.dtype()));
  const auto at = [&](std::int64_t i, std::int64_t j) {
    return a.bytes() + (i * a.strides()[axis] + j * a.strides()[1 - axis]) * item;
  };
  for (std::int64_t i = 1; i < a.shape()[axis]; ++i)
    for (std::int64_t j = 0; j < a.shape()[1 - axis]; ++j)
      if (std::memcmp(at(i, j), at(0, j), static_cast<std::size_t>(item)) != 0) return false;
  return true;
}

// One row, or column, of a matrix of which all are equal, as a matrix; undefined for others.
Tensor one_of(const Rewriter& r, const Tensor& t, int axis) {
  static const Op& broadcast = primitive("broadcast_to");
  if (t.ndim() != 2 || t.shape(axis) <= 1) return {};
  if (const Graph::Node* n = r.made_by(t, broadcast)) {
    const Tensor narrow = r.operand(*n, 0);
    const int at = axis - (2 - narrow.ndim());
    if (at >= 0 && narrow.shape(at) != 1) return {};
    Shape shape = t.shape();
    shape[axis] = 1;
    return shaped(
        narrow.ndim() == 2 ? narrow : reshape(narrow, narrow.ndim() == 1 ? Shape{1, narrow.shape(0)} : Shape{1, 1}),
        shape);
  }
  if (t.value()->level()) return {};
  const Array& a = t.array();
  if (a.strides()[axis] != 0 && !repeats_itself(a, axis)) return {};
  Shape shape = a.shape();
  shape[axis] = 1;
  return to_tensor(view(a, shape, a.strides()));
}

bool cancel_matmul(const Rewriter& r, const Graph::Node& node, In in, std::span<Tensor> out) {
  const auto f = attrs_as<MatmulAttrs>(node.attrs.get());
  if (in[0].ndim() != 2 || in[1].ndim() != 2 || !is_floating(in[0].dtype())) return false;
  const bool transpose[] = {f.transpose_a, f.transpose_b};
  for (const std::size_t i : {0u, 1u}) {
    const bool first = i == 0;
    const int inner = first != transpose[i] ? 1 : 0;  // of the operand: the axis that is summed over
    if (const Tensor one = one_of(r, in[i], 1 - inner); one.defined()) {
      Tensors operands(in.begin(), in.end());
      Shape shape{in[0].shape(f.transpose_a ? 1 : 0), in[1].shape(f.transpose_b ? 0 : 1)};
      operands[i] = one;
      return give(out, broadcast_to(apply(*node.op, node.attrs, operands), shape));
    }
    if (const Tensor one = one_of(r, in[i], inner); one.defined()) {  // a column times the sums of the other's rows
      const std::size_t j = 1 - i;
      const int inner_of_other = !first != transpose[j] ? 1 : 0;
      const Tensor sums = summed(in[j], {inner_of_other});
      const Tensor mine = reshape(one, first ? Shape{one.size(), 1} : Shape{1, one.size()});
      const Tensor others = reshape(sums, first ? Shape{1, sums.size()} : Shape{sums.size(), 1});
      return give(out, mul(mine, others));
    }
  }
  return false;
}

}  // namespace

std::shared_ptr<Graph> cancel(const Graph& graph) {
  static const Op &sum = primitive("sum"), &matmul = primitive("matmul");
  static const Op* const extrema[] = {&primitive("max"), &primitive("min"), &primitive("any"), &primitive("all")};
  const std::vector<int> uses = uses_of_values(graph);
  return rewrite(graph,
                 [&](const Rewriter& r, const Graph::Node& node, std::span<const Tensor> in, std::span<Tensor> out) {
                   if (node.op == &sum)
                     return cancel_sum(r, node, in, out, uses[static_cast<std::size_t>(node.in[0])] == 1);
                   if (node.op == &matmul) return cancel_matmul(r, node, in, out);
                   return std::find(std::begin(extrema), std::end(extrema), node.op) != std::end(extrema) &&
                          cancel_extremum(r, node, in, out);
                 });
}

}  // namespace evolute
