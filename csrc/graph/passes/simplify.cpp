// Algebraic identities: neutral elements, signs, constant factors, and chains of views. What they change is at most the
// rounding of constant factors and the sign of a zero.
#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "evolute/ops.h"
#include "graph/rewrite.h"
#include "math/elementwise.h"
#include "ops/attrs.h"

namespace evolute {

namespace {

using In = std::span<const Tensor>;

// `t` in the shape of the result it stands for.
Tensor shaped(const Tensor& t, const Shape& shape) { return t.shape() == shape ? t : broadcast_to(t, shape); }

bool give(std::span<Tensor> out, const Tensor& t) {
  out[0] = t;
  return true;
}

// Whether a product of constants is as good as its factors.
bool is_normal(double c, DType t) {
  return t == DType::Float32 ? std::isnormal(static_cast<float>(c)) : std::isnormal(c);
}

Shape result_shape(In in) { return broadcast_shapes(in[0].shape(), in[1].shape(), "simplify"); }

// A broadcast operand of an elementwise op is read through its narrow form: the op broadcasts by itself, as long as
// some other operand still spans the result.
bool narrow_operands(const Rewriter& r, const Graph::Node& node, In in, std::span<Tensor> out) {
  static const Op& broadcast = primitive("broadcast_to");
  if (in.size() < 2) return false;
  Shape shape = in[0].shape();
  for (const Tensor& t : in.subspan(1)) shape = broadcast_shapes(shape, t.shape(), "simplify");
  Tensors narrow(in.begin(), in.end());
  bool changed = false;
  for (std::size_t i = 0; i < in.size(); ++i) {
    Tensor candidate;
    double c;
    if (const Graph::Node* n = r.made_by(in[i], broadcast))
      candidate = r.operand(*n, 0);
    else if (in[i].ndim() > 0 && is_uniform(in[i], c))
      candidate = scalar(c, in[i].dtype());
    else
      continue;
    Tensors trial = narrow;
    trial[i] = candidate;
    Shape spanned = trial[0].shape();
    for (const Tensor& t : trial) spanned = broadcast_shapes(spanned, t.shape(), "simplify");
    if (spanned != shape) continue;
    narrow = trial;
    changed = true;
  }
  if (changed) apply(*node.op, node.attrs, narrow, out);
  return changed;
}

bool simplify_elementwise(const Rewriter& r, const Graph::Node& node, In in, std::span<Tensor> out) {
  static const Op &op_neg = primitive("neg"), &op_mul = primitive("mul");
  const bool floating = is_floating(in[0].dtype());
  double c;
  switch (node.op->kernel_id) {
    case kNeg:
      if (const Graph::Node* n = r.made_by(in[0], op_neg)) return give(out, r.operand(*n, 0));
      return false;
    case kAdd:
      for (int i : {0, 1}) {
        if (is_uniform_of(in[i], 0)) return give(out, shaped(in[1 - i], result_shape(in)));
        if (const Graph::Node* n = r.made_by(in[i], op_neg)) return give(out, sub(in[1 - i], r.operand(*n, 0)));
      }
      break;
    case kSub:
      if (is_uniform_of(in[1], 0)) return give(out, shaped(in[0], result_shape(in)));
      if (is_uniform_of(in[0], 0)) return give(out, shaped(neg(in[1]), result_shape(in)));
      if (const Graph::Node* n = r.made_by(in[1], op_neg)) return give(out, add(in[0], r.operand(*n, 0)));
      break;
    case kMul:
      for (int i : {0, 1}) {
        const Tensor& other = in[1 - i];
        if (is_uniform(in[i], c)) {
          if (c == 1) return give(out, shaped(other, result_shape(in)));
          if (c == -1) return give(out, shaped(neg(other), result_shape(in)));
          // Two constant factors become one.
          if (const Graph::Node* n = floating ? r.made_by(other, op_mul) : nullptr)
            for (int j : {0, 1})
              if (double d; is_uniform(r.operand(*n, j), d) && is_normal(c * d, other.dtype()))
                return give(out, shaped(mul(r.operand(*n, 1 - j), c * d), result_shape(in)));
        }
        if (const Graph::Node* n = r.made_by(in[i], op_neg)) return give(out, neg(mul(r.operand(*n, 0), other)));
      }
      break;
    case kDiv:
      if (is_uniform_of(in[1], 1)) return give(out, shaped(in[0], result_shape(in)));
      if (const Graph::Node* n = r.made_by(in[0], op_neg)) return give(out, neg(div(r.operand(*n, 0), in[1])));
      break;
    case kDiv_dx:  // does not depend on x
      return give(out, shaped(div(in[0], in[2]), broadcast_shapes(result_shape(in), in[2].shape(), "simplify")));
    case kPow:
      if (is_uniform_of(in[1], 1)) return give(out, shaped(in[0], result_shape(in)));
      if (is_uniform_of(in[1], 2)) return give(out, shaped(square(in[0]), result_shape(in)));
      break;
    default: break;
  }
  return narrow_operands(r, node, in, out);
}

bool simplify_reshape(const Rewriter& r, const Graph::Node& node, In in, std::span<Tensor> out) {
  static const Op& op = primitive("reshape");
  if (const Graph::Node* n = r.made_by(in[0], op))
    return give(out, reshape(r.operand(*n, 0), attrs_as<ShapeAttrs>(node.attrs.get()).shape));
  return false;
}
bool simplify_broadcast(const Rewriter& r, const Graph::Node& node, In in, std::span<Tensor> out) {
  static const Op& op = primitive("broadcast_to");
  const Shape& shape = attrs_as<ShapeAttrs>(node.attrs.get()).shape;
  if (in[0].shape() == shape) return give(out, in[0]);
  if (const Graph::Node* n = r.made_by(in[0], op)) return give(out, broadcast_to(r.operand(*n, 0), shape));
  return false;
}
bool simplify_transpose(const Rewriter& r, const Graph::Node& node, In in, std::span<Tensor> out) {
  static const Op& op = primitive("transpose");
  const Graph::Node* n = r.made_by(in[0], op);
  if (!n) return false;
  const Axes &outer = attrs_as<PermAttrs>(node.attrs.get()).perm, &inner = attrs_as<PermAttrs>(n->attrs.get()).perm;
  Axes perm;
  for (auto i : outer) perm.push_back(inner[static_cast<int>(i)]);
  return give(out, transpose(r.operand(*n, 0), perm));  // the identity gives its operand
}

// Sums over axes along which the operand repeats itself are products with a count.
bool simplify_sum(const Rewriter& r, const Graph::Node& node, In in, std::span<Tensor> out) {
  static const Op &broadcast = primitive("broadcast_to"), &op_sum = primitive("sum");
  const Tensor& x = in[0];
  const Axes& axes = attrs_as<ReduceAttrs>(node.attrs.get()).axes;
  const Graph::Node* n = is_floating(x.dtype()) ? r.made_by(x, broadcast) : nullptr;
  if (!n) return false;
  const Tensor narrow = r.operand(*n, 0);
  const int lead = x.ndim() - narrow.ndim();
  double count = 1;
  Axes rest;    // of the narrow operand: summed still
  Shape shape;  // of the result
  for (int i = 0; i < x.ndim(); ++i) {
    const bool repeated = i < lead || narrow.shape(i - lead) != x.shape(i);
    if (!axes.contains(i))
      shape.push_back(x.shape(i));
    else if (repeated)
      count *= static_cast<double>(x.shape(i));
    if (axes.contains(i) && i >= lead && (!repeated || narrow.shape(i - lead) == 1)) rest.push_back(i - lead);
  }
  if (count == 1) return false;
  const Tensor partial = rest.empty() ? narrow : apply(op_sum, make_attrs(ReduceAttrs{rest}), narrow);
  // Remaining repeated axes come back with the broadcast.
  return give(out, shaped(mul(partial, count), shape));
}

// Exchanged last axes of an operand become a flag.
bool simplify_matmul(const Rewriter& r, const Graph::Node& node, In in, std::span<Tensor> out) {
  static const Op& op = primitive("transpose");
  MatmulAttrs flags = attrs_as<MatmulAttrs>(node.attrs.get());
  Tensors operands(in.begin(), in.end());
  bool changed = false;
  for (std::size_t i : {0u, 1u}) {
    const Graph::Node* n = r.made_by(in[i], op);
    if (!n) continue;
    const Axes& perm = attrs_as<PermAttrs>(n->attrs.get()).perm;
    const int last = perm.size() - 1;
    bool swaps = perm[last] == last - 1 && perm[last - 1] == last;
    for (int k = 0; k < last - 1; ++k) swaps = swaps && perm[k] == k;
    if (!swaps) continue;
    operands[i] = r.operand(*n, 0);
    (i == 0 ? flags.transpose_a : flags.transpose_b) ^= true;
    changed = true;
  }
  if (changed) apply(*node.op, make_attrs(flags), operands, out);
  return changed;
}

bool simplify_cast(const Rewriter&, const Graph::Node& node, In in, std::span<Tensor> out) {
  return attrs_as<CastAttrs>(node.attrs.get()).dtype == in[0].dtype() && give(out, in[0]);
}

bool simplify_stop_gradient(const Rewriter&, const Graph::Node&, In in, std::span<Tensor> out) {
  return give(out, in[0]);  // derivatives have been taken by now
}

bool rule(const Rewriter& r, const Graph::Node& node, In in, std::span<Tensor> out) {
  static const std::unordered_map<const Op*, RewriteRule> rules = {
      {&primitive("reshape"), simplify_reshape},
      {&primitive("broadcast_to"), simplify_broadcast},
      {&primitive("transpose"), simplify_transpose},
      {&primitive("sum"), simplify_sum},
      {&primitive("matmul"), simplify_matmul},
      {&primitive("cast"), simplify_cast},
      {&primitive("stop_gradient"), simplify_stop_gradient}};
  if (node.op->kernel_id >= 0) return simplify_elementwise(r, node, in, out);
  const auto at = rules.find(node.op);
  return at != rules.end() && at->second(r, node, in, out);
}

}  // namespace

std::shared_ptr<Graph> simplify(const Graph& graph) { return rewrite(graph, rule); }

}  // namespace evolute
