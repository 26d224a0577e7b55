// Primitives, rules and functions of the elementwise family, made from elementwise.def.
//
// The family is closed under differentiation. F has the kernels F(x), F.d1(g, r) = g p(r) and F.d2(g, r) = g p'(r), where
// r is the residual; the rule of one kernel calls the next, and beyond them Dual composes the formula.
#include "ops/elementwise.h"

#include <array>

#include "ops/expr.h"
#include "ops/op.h"

namespace evolute {

namespace {

void infer_elementwise(const Op& op, std::span<const Tensor> in, SmallVector<Aval, 1>& out, bool boolean) {
  Aval a = in[0].aval();
  for (const Tensor& t : in.subspan(1)) {
    if (t.dtype() != a.dtype)
      throw DTypeError(cat(op.name, ": operands must have one dtype, got ", in[0].aval(), " and ", t.aval()));
    if (t.device() != a.device) throw DeviceError(cat(op.name, ": operands are on different devices"));
    if (t.shape() != a.shape) a.shape = broadcast_shapes(a.shape, t.shape(), op.name.c_str());
  }
  if (boolean) a.dtype = DType::Bool;
  out.push_back(a);
}
void infer_same(const Op& op, const Attrs*, std::span<const Tensor> in, SmallVector<Aval, 1>& out) {
  infer_elementwise(op, in, out, false);
}
void infer_boolean(const Op& op, const Attrs*, std::span<const Tensor> in, SmallVector<Aval, 1>& out) {
  infer_elementwise(op, in, out, true);
}
void run_elementwise(const Op& op, const Attrs*, ArrayRefs in, std::span<Array* const> out) {
  backend(out[0]->aval().device.type).elementwise(op.kernel_id, in, *out[0]);
}

Op elementwise_op(std::string name, int kernel, OpDoc doc) {
  Op op;
  op.name = std::move(name);
  op.infer = infer_same;
  op.kernel = run_elementwise;
  op.kernel_id = kernel;
  op.doc = doc;
  return op;
}

// g times a derivative that is an Expr, as a tensor; undefined for a structural zero.
Tensor scaled(const Tensor& g, const Expr& e) {
  if (e.is_constant(0)) return {};
  if (e.is_constant(1)) return g;
  if (e.is_constant(-1)) return neg(g);
  return e.is_constant() ? mul(g, e.c) : mul(g, e.t);
}

// ---- unary --------------------------------------------------------------------------------------------------------

template <class F>
struct UnaryOps {
  static const Op *op, *d1, *d2;
};
template <class F>
const Op* UnaryOps<F>::op = nullptr;
template <class F>
const Op* UnaryOps<F>::d1 = nullptr;
template <class F>
const Op* UnaryOps<F>::d2 = nullptr;

template <class F>
constexpr bool d1_varies = F::template d1<Probe>(Probe::variable()).varies;
template <class F>
constexpr bool d2_varies = F::template d2<Probe>(Probe::variable()).varies;

// g p(r) and g p'(r) and g p''(r).
template <class F>
Tensor times_d1(const Tensor& g, const Tensor& r) {
  if constexpr (d1_varies<F>) return apply(*UnaryOps<F>::d1, nullptr, g, r);
  else return scaled(g, F::template d1<Expr>(Expr(0)));
}
template <class F>
Tensor times_d2(const Tensor& g, const Tensor& r) {
  if constexpr (d2_varies<F>) return apply(*UnaryOps<F>::d2, nullptr, g, r);
  else return scaled(g, F::template d2<Expr>(Expr(0)));
}
template <class F>
Tensor times_d3(const Tensor& g, const Tensor& r) {
  return scaled(g, F::template d2<Dual>(Dual{r, 1}).d);
}

template <class F>
const Tensor& residual(std::span<const Tensor> in, std::span<const Tensor> out) {
  return F::residual == Residual::x ? in[0] : out[0];
}
template <class F>
void vjp_unary(const Op&, VjpArgs& a) {
  a.grads[0] = times_d1<F>(a.cotangent(), residual<F>(a.in, a.out));
}
template <class F>
void jvp_unary(const Op&, JvpArgs& a) {
  a.out_tangents[0] = times_d1<F>(a.tangents[0], residual<F>(a.in, a.out));
}

// Rules of q(g, r) = g p(r), given both partial derivatives as products: `linear`(h, r) = h p(r), `slope`(h, r) = h p'(r).
template <auto linear, auto slope>
void vjp_scaled(const Op&, VjpArgs& a) {
  const Tensor &g = a.in[0], &r = a.in[1], &h = a.cotangent();
  if (a.wants(0)) a.grads[0] = sum_to(linear(h, r), a.in_aval[0]->shape);
  if (a.wants(1))
    if (Tensor t = slope(mul(h, g), r); t.defined()) a.grads[1] = sum_to(t, a.in_aval[1]->shape);
}
template <auto linear, auto slope>
void jvp_scaled(const Op&, JvpArgs& a) {
  const Tensor &g = a.in[0], &r = a.in[1];
  Tensor t;
  if (a.tangents[0].defined()) t = linear(a.tangents[0], r);
  if (a.tangents[1].defined()) t = add_cotangents(t, slope(mul(a.tangents[1], g), r));
  a.out_tangents[0] = t;
}

template <class F>
void define_unary(const char* name, int kernel, OpDoc doc) {
  Op op = elementwise_op(name, kernel, doc);
  op.vjp = vjp_unary<F>;
  op.jvp = jvp_unary<F>;
  op.saves_in = d1_varies<F> && F::residual == Residual::x;
  op.saves_out = d1_varies<F> && F::residual == Residual::y;
  UnaryOps<F>::op = &define_op(op);
  const OpDoc derived{"derivative kernel", "cotangent times a derivative", ""};
  if constexpr (d1_varies<F>) {
    Op d1 = elementwise_op(op.name + ".d1", kernel + 1, derived);
    d1.vjp = vjp_scaled<times_d1<F>, times_d2<F>>;
    d1.jvp = jvp_scaled<times_d1<F>, times_d2<F>>;
    UnaryOps<F>::d1 = &define_op(d1);
  }
  if constexpr (d2_varies<F>) {
    Op d2 = elementwise_op(op.name + ".d2", kernel + 2, derived);
    d2.vjp = vjp_scaled<times_d2<F>, times_d3<F>>;
    d2.jvp = jvp_scaled<times_d2<F>, times_d3<F>>;
    UnaryOps<F>::d2 = &define_op(d2);
  }
}

// ---- binary -------------------------------------------------------------------------------------------------------

template <class F>
struct BinaryOps {
  static const Op *op, *dx, *dy;
};
template <class F>
const Op* BinaryOps<F>::op = nullptr;
template <class F>
const Op* BinaryOps<F>::dx = nullptr;
template <class F>
const Op* BinaryOps<F>::dy = nullptr;

// One partial derivative of F: its formula on any value type, and the kernel g · ∂F.
template <class F>
struct PartialX {
  template <class V>
  static constexpr V formula(V x, V y) {
    return F::template dx<V>(x, y);
  }
  static const Op& op() { return *BinaryOps<F>::dx; }
};
template <class F>
struct PartialY {
  template <class V>
  static constexpr V formula(V x, V y) {
    return F::template dy<V>(x, y);
  }
  static const Op& op() { return *BinaryOps<F>::dy; }
};
template <class P>
constexpr bool partial_varies = P::template formula<Probe>(Probe::variable(), Probe::variable()).varies;

template <class P>
Tensor times_partial(const Tensor& g, const Tensor& x, const Tensor& y) {
  if constexpr (partial_varies<P>) return apply(P::op(), nullptr, g, x, y);
  else return scaled(g, P::template formula<Expr>(Expr(0), Expr(0)));
}

template <class F>
void vjp_binary(const Op&, VjpArgs& a) {
  const Tensor &g = a.cotangent(), &x = a.in[0], &y = a.in[1];
  if (a.wants(0)) a.grads[0] = sum_to(times_partial<PartialX<F>>(g, x, y), a.in_aval[0]->shape);
  if (a.wants(1)) a.grads[1] = sum_to(times_partial<PartialY<F>>(g, x, y), a.in_aval[1]->shape);
}
template <class F>
void jvp_binary(const Op&, JvpArgs& a) {
  Tensor t;
  if (a.tangents[0].defined()) t = times_partial<PartialX<F>>(a.tangents[0], a.in[0], a.in[1]);
  if (a.tangents[1].defined()) t = add_cotangents(t, times_partial<PartialY<F>>(a.tangents[1], a.in[0], a.in[1]));
  a.out_tangents[0] = broadcast_to(t, a.out[0].shape());
}

// Rules of g · P(x, y).
template <class P>
Tensor second_partial(const Tensor& g, const Tensor& x, const Tensor& y, bool by_x) {
  return scaled(g, P::template formula<Dual>(Dual{x, by_x ? 1 : 0}, Dual{y, by_x ? 0 : 1}).d);
}
template <class P>
void vjp_partial(const Op&, VjpArgs& a) {
  const Tensor &g = a.in[0], &x = a.in[1], &y = a.in[2], &h = a.cotangent();
  if (a.wants(0)) a.grads[0] = sum_to(times_partial<P>(h, x, y), a.in_aval[0]->shape);
  if (!a.wants(1) && !a.wants(2)) return;
  const Tensor hg = mul(h, g);
  for (int i : {1, 2})
    if (a.wants(i))
      if (Tensor t = second_partial<P>(hg, x, y, i == 1); t.defined()) a.grads[i] = sum_to(t, a.in_aval[i]->shape);
}
template <class P>
void jvp_partial(const Op&, JvpArgs& a) {
  const Tensor &g = a.in[0], &x = a.in[1], &y = a.in[2];
  Tensor t;
  if (a.tangents[0].defined()) t = times_partial<P>(a.tangents[0], x, y);
  for (int i : {1, 2})
    if (a.tangents[i].defined()) t = add_cotangents(t, second_partial<P>(mul(a.tangents[i], g), x, y, i == 1));
  if (t.defined()) a.out_tangents[0] = broadcast_to(t, a.out[0].shape());
}

template <class P>
const Op* define_partial(const std::string& name, int kernel) {
  if constexpr (!partial_varies<P>) return nullptr;
  Op op = elementwise_op(name, kernel, {"derivative kernel", "cotangent times a partial derivative", ""});
  op.vjp = vjp_partial<P>;
  op.jvp = jvp_partial<P>;
  return &define_op(op);
}

template <class F>
void define_binary(const char* name, int kernel, OpDoc doc) {
  Op op = elementwise_op(name, kernel, doc);
  op.vjp = vjp_binary<F>;
  op.jvp = jvp_binary<F>;
  if constexpr (!partial_varies<PartialX<F>> && !partial_varies<PartialY<F>>) op.saves_in = 0;
  BinaryOps<F>::op = &define_op(op);
  BinaryOps<F>::dx = define_partial<PartialX<F>>(op.name + ".dx", kernel + 1);
  BinaryOps<F>::dy = define_partial<PartialY<F>>(op.name + ".dy", kernel + 2);
}

// ---- sums and products --------------------------------------------------------------------------------------------

// Linear or bilinear: the rules need no derivative kernels.
template <bool minus>
void vjp_sum(const Op&, VjpArgs& a) {
  const Tensor& g = a.cotangent();
  if (a.wants(0)) a.grads[0] = sum_to(g, a.in_aval[0]->shape);
  if (a.wants(1)) a.grads[1] = minus ? neg(sum_to(g, a.in_aval[1]->shape)) : sum_to(g, a.in_aval[1]->shape);
}
template <bool minus>
void jvp_sum(const Op&, JvpArgs& a) {
  const Tensor &x = a.tangents[0], &y = a.tangents[1];
  Tensor t = x.defined() && y.defined() ? (minus ? sub(x, y) : add(x, y)) : x.defined() ? x : minus ? neg(y) : y;
  a.out_tangents[0] = broadcast_to(t, a.out[0].shape());
}
void vjp_mul(const Op&, VjpArgs& a) {
  const Tensor& g = a.cotangent();
  for (int i : {0, 1})
    if (a.wants(i)) a.grads[i] = sum_to(mul(g, a.in[1 - i]), a.in_aval[i]->shape);
}
void jvp_mul(const Op&, JvpArgs& a) {
  Tensor t;
  if (a.tangents[0].defined()) t = mul(a.tangents[0], a.in[1]);
  if (a.tangents[1].defined()) t = add_cotangents(t, mul(a.in[0], a.tangents[1]));
  a.out_tangents[0] = broadcast_to(t, a.out[0].shape());
}

// ---- the table ----------------------------------------------------------------------------------------------------

using Table = std::array<ElementwiseFunction, 0
#define EV_UNARY(...) +1
#define EV_UNARY_FLAT(...) +1
#define EV_BINARY(...) +1
#define EV_BINARY_FLAT(...) +1
#define EV_COMPARE(...) +1
#include "evolute/elementwise.def"
                         >;

const Op* define_plain(const char* name, int kernel, OpDoc doc, bool boolean) {
  Op op = elementwise_op(name, kernel, doc);
  if (boolean) op.infer = infer_boolean;
  if (kernel == kAdd) op.vjp = vjp_sum<false>, op.jvp = jvp_sum<false>, op.saves_in = 0;
  if (kernel == kSub) op.vjp = vjp_sum<true>, op.jvp = jvp_sum<true>, op.saves_in = 0;
  if (kernel == kMul) op.vjp = vjp_mul, op.jvp = jvp_mul;
  return &define_op(op);
}

Table define_all() {
  Table table;
  std::size_t n = 0;
  auto list = [&](std::string_view class_name, std::string_view name, int arity, Operands operands, const Op* op) {
    table[n++] = {class_name, name, arity, operands, op};
  };
#define EV_DOC(text, lo, hi) \
  OpDoc { "elementwise", text, "", lo, hi }
#define EV_UNARY(Name, fun, types, r, lo, hi, F, D1, D2, text) \
  define_unary<fn::Name>(#fun, k##Name, EV_DOC(text, lo, hi)); \
  list(#Name, #fun, 1, Operands::types, UnaryOps<fn::Name>::op);
#define EV_UNARY_FLAT(Name, fun, types, lo, hi, F, text) \
  list(#Name, #fun, 1, Operands::types, define_plain(#fun, k##Name, EV_DOC(text, lo, hi), false));
#define EV_BINARY(Name, fun, types, lo, hi, F, DX, DY, text)     \
  define_binary<fn::Name>(#fun, k##Name, EV_DOC(text, lo, hi)); \
  list(#Name, #fun, 2, Operands::types, BinaryOps<fn::Name>::op);
#define EV_BINARY_FLAT(Name, fun, types, lo, hi, F, text) \
  list(#Name, #fun, 2, Operands::types, define_plain(#fun, k##Name, EV_DOC(text, lo, hi), false));
#define EV_COMPARE(Name, fun, types, lo, hi, F, text) \
  list(#Name, #fun, 2, Operands::types, define_plain(#fun, k##Name, EV_DOC(text, lo, hi), true));
#include "evolute/elementwise.def"
  return table;
}

const Table table = define_all();

// Position of each function in the table.
enum Index : std::size_t {
#define EV_UNARY(Name, ...) i##Name,
#define EV_UNARY_FLAT(Name, ...) i##Name,
#define EV_BINARY(Name, ...) i##Name,
#define EV_BINARY_FLAT(Name, ...) i##Name,
#define EV_COMPARE(Name, ...) i##Name,
#include "evolute/elementwise.def"
};

DType operand_dtype(Operands kind, DType t) {
  if (kind == Operands::real) return is_floating(t) ? t : DType::Float32;
  if (kind == Operands::logical) return DType::Bool;
  return t == DType::Bool ? DType::Int32 : t;
}
Tensor converted(const Tensor& x, DType t) { return x.dtype() == t ? x : cast(x, t); }

// A C++ scalar beside a tensor is weak, and of floating kind.
Tensor weak(double c, const Tensor& like) { return scalar(c, promote_weak(like.dtype(), DType::Float64)); }

}  // namespace

std::span<const ElementwiseFunction> elementwise_functions() { return table; }

Tensor call_elementwise(const ElementwiseFunction& f, const Tensor& x) {
  if (!x.defined()) throw ValueError(cat(f.name, ": the operand is an undefined tensor"));
  return apply(*f.op, nullptr, converted(x, operand_dtype(f.operands, x.dtype())));
}
Tensor call_elementwise(const ElementwiseFunction& f, const Tensor& x, const Tensor& y) {
  if (!x.defined() || !y.defined()) throw ValueError(cat(f.name, ": an operand is an undefined tensor"));
  const DType t = operand_dtype(f.operands, promote(x.dtype(), y.dtype()));
  return apply(*f.op, nullptr, converted(x, t), converted(y, t));
}

Tensor pow_constant(const Tensor& x, double p, DType scalar_kind) {
  if (p == 1 && x.dtype() == promote_weak(x.dtype(), scalar_kind)) return x;
  if (p == 2 && x.dtype() == promote_weak(x.dtype(), scalar_kind)) return square(x);
  if (is_floating(x.dtype())) {
    if (p == 0.5) return sqrt(x);
    if (p == -1) return reciprocal(x);
    if (p == -0.5) return rsqrt(x);
  }
  return call_elementwise(table[iPow], x, scalar(p, promote_weak(x.dtype(), scalar_kind)));
}

#define EV_FUNCTION(Name, fun) \
  Tensor fun(const Tensor& x) { return call_elementwise(table[i##Name], x); }
#define EV_UNARY(Name, fun, ...) EV_FUNCTION(Name, fun)
#define EV_UNARY_FLAT(Name, fun, ...) EV_FUNCTION(Name, fun)
#define EV_FUNCTION2(Name, fun)                                                                                  \
  Tensor fun(const Tensor& x, const Tensor& y) { return call_elementwise(table[i##Name], x, y); }                \
  Tensor fun(const Tensor& x, double y) {                                                                        \
    return i##Name == iPow ? pow_constant(x, y, DType::Float64) : call_elementwise(table[i##Name], x, weak(y, x)); \
  }                                                                                                              \
  Tensor fun(double x, const Tensor& y) { return call_elementwise(table[i##Name], weak(x, y), y); }
#define EV_BINARY(Name, fun, ...) EV_FUNCTION2(Name, fun)
#define EV_BINARY_FLAT(Name, fun, ...) EV_FUNCTION2(Name, fun)
#define EV_COMPARE(Name, fun, ...) EV_FUNCTION2(Name, fun)
#include "evolute/elementwise.def"

}  // namespace evolute
