// Algebraic identities: neutral elements, signs, constant factors, and chains of views. What they change is at most the
// rounding of constant factors and the sign of a zero.
#include <algorithm>
#include <cmath>
#include <unordered_map>
#include <vector>

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

// xᵉ by products and roots, for the exponents of which these are good to a few units in the last place; undefined for
// others. At x = −∞ roots are NaN, as in NumPy.
Tensor short_power(const Tensor& x, double e) {
  const double whole = std::trunc(e);
  if (e < 0 || e > 4 || (e != whole && e - whole != 0.5)) return e == -1 ? reciprocal(x) : Tensor();
  Tensor power;
  const auto times = [&](const Tensor& t) { power = power.defined() ? mul(power, t) : t; };
  if (whole >= 2) times(square(x));
  if (whole == 4) times(power);
  if (whole == 1 || whole == 3) times(x);
  if (e != whole) times(sqrt(x));
  return power;
}

// pow and its derivatives by the base, where the exponent is a constant.
bool simplify_pow(int order, In in, std::span<Tensor> out) {
  const Tensor &x = in[order == 0 ? 0 : 1], &exponent = in.back();
  double e;
  if (!is_floating(x.dtype()) || !is_uniform(exponent, e)) return false;
  double factor = 1;
  for (int i = 0; i < order; ++i) factor *= e - i;
  // A derivative that does not depend on x any more is left to the kernel, which knows what it is where x is NaN.
  if (factor == 0) return false;
  Shape shape = broadcast_shapes(x.shape(), exponent.shape(), "simplify");
  if (order > 0) shape = broadcast_shapes(shape, in[0].shape(), "simplify");
  if (order == 0 && e == 0) return give(out, ones(shape, x.dtype()));
  const Tensor power = short_power(x, e - order);
  if (!power.defined()) return false;
  return give(out, shaped(order == 0 ? power : mul(mul(in[0], factor), power), shape));
}

// `only[i]`: that nobody else reads operand i.
bool simplify_elementwise(const Rewriter& r, const Graph::Node& node, In in, std::span<Tensor> out,
                          std::span<const bool> only) {
  static const Op &op_neg = primitive("neg"), &op_mul = primitive("mul"), &op_sub = primitive("sub");
  const bool floating = is_floating(in[0].dtype());
  double c;
  switch (node.op->kernel_id) {
    case kNeg:
      if (const Graph::Node* n = r.made_by(in[0], op_neg)) return give(out, r.operand(*n, 0));
      if (const Graph::Node* n = floating && only[0] ? r.made_by(in[0], op_mul) : nullptr)
        for (int j : {0, 1})
          if (is_uniform(r.operand(*n, j), c)) return give(out, shaped(mul(r.operand(*n, 1 - j), -c), in[0].shape()));
      if (const Graph::Node* n = only[0] ? r.made_by(in[0], op_sub) : nullptr)
        return give(out, sub(r.operand(*n, 1), r.operand(*n, 0)));
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
        // Constant factors come last, where they meet others.
        if (const Graph::Node* n = floating && only[i] && !is_uniform(other, c) ? r.made_by(in[i], op_mul) : nullptr)
          for (int j : {0, 1})
            if (const Tensor rest = r.operand(*n, 1 - j);
                is_uniform(r.operand(*n, j), c) && rest.shape() == result_shape(in) && is_normal(c, other.dtype()))
              return give(out, mul(mul(rest, other), c));
      }
      break;
    case kDiv:
      if (is_uniform_of(in[1], 1)) return give(out, shaped(in[0], result_shape(in)));
      if (const Graph::Node* n = r.made_by(in[0], op_neg)) return give(out, neg(div(r.operand(*n, 0), in[1])));
      break;
    case kDiv_dx:  // does not depend on x
      return give(out, shaped(div(in[0], in[2]), broadcast_shapes(result_shape(in), in[2].shape(), "simplify")));
    case kExp_d1: return give(out, mul(in[0], in[1]));
    case kExp_d2: return give(out, shaped(in[0], result_shape(in)));
    case kSquare:
    case kAbs:
    case kCos:
    case kCosh:
      if (const Graph::Node* n = r.made_by(in[0], op_neg)) {
        const Tensor operand = r.operand(*n, 0);
        apply(*node.op, node.attrs, {&operand, 1}, out);
        return true;
      }
      break;
    case kPow:
      if (simplify_pow(0, in, out)) return true;
      break;
    case kPow_dx:
      if (simplify_pow(1, in, out)) return true;
      break;
    case kPow_dxx:
      if (simplify_pow(2, in, out)) return true;
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

bool rule(const Rewriter& r, const Graph::Node& node, In in, std::span<Tensor> out, const std::vector<int>& uses) {
  static const std::unordered_map<const Op*, RewriteRule> rules = {
      {&primitive("reshape"), simplify_reshape},     {&primitive("broadcast_to"), simplify_broadcast},
      {&primitive("transpose"), simplify_transpose}, {&primitive("matmul"), simplify_matmul},
      {&primitive("cast"), simplify_cast},           {&primitive("stop_gradient"), simplify_stop_gradient}};
  if (node.op->kernel_id >= 0) {
    bool only[8] = {};
    for (std::size_t i = 0; i < node.in.size(); ++i) only[i] = uses[static_cast<std::size_t>(node.in[i])] == 1;
    return simplify_elementwise(r, node, in, out, only);
  }
  const auto at = rules.find(node.op);
  return at != rules.end() && at->second(r, node, in, out);
}

}  // namespace

std::shared_ptr<Graph> simplify(const Graph& graph) {
  const std::vector<int> uses = uses_of_values(graph);
  return rewrite(graph, [&](const Rewriter& r, const Graph::Node& node, In in, std::span<Tensor> out) {
    return rule(r, node, in, out, uses);
  });
}

}  // namespace evolute
