// Derivative rules of the elementwise family, for elementwise.cpp alone.
//
// The family is closed under differentiation. F has the kernels F(x), F.d1(g, r) = g p(r) and F.d2(g, r) = g p'(r),
// where r is the residual; the rule of one kernel calls the next, and beyond them Dual composes the formula.
#pragma once

#include <array>
#include <tuple>

#include "ops/batching.h"
#include "ops/elementwise.h"
#include "ops/expr.h"
#include "ops/op.h"
#include "ops/shape_ops.h"
#include "ops/shortcut.h"
#include "ops/taylor_rules.h"

namespace evolute {

namespace {

// All operands of one dtype, broadcast to the shape of each of `n` outputs.
void infer_elementwise(const Op& op, std::span<const Tensor> in, SmallVector<Aval, 1>& out, int n, bool boolean) {
  Aval a = in[0].aval();
  for (const Tensor& t : in.subspan(1)) {
    if (t.dtype() != a.dtype)
      throw DTypeError(cat(op.name, ": operands must have one dtype, got ", in[0].aval(), " and ", t.aval()));
    if (t.device() != in[0].device()) a.device = common_device(op, in);
    if (t.shape() != a.shape) a.shape = broadcast_shapes(a.shape, t.shape(), op.name.c_str());
  }
  if (boolean) a.dtype = DType::Bool;
  for (int i = 0; i < n; ++i) out.push_back(a);
}
template <int n>
void infer_same(const Op& op, const Attrs*, std::span<const Tensor> in, SmallVector<Aval, 1>& out) {
  infer_elementwise(op, in, out, n, false);
}
void infer_boolean(const Op& op, const Attrs*, std::span<const Tensor> in, SmallVector<Aval, 1>& out) {
  infer_elementwise(op, in, out, 1, true);
}
void run_elementwise(const Op& op, const Attrs*, ArrayRefs in, std::span<Array* const> out) {
  backend(out[0]->aval().device.type).elementwise(op.kernel_id, in, out);
}

Op elementwise_op(std::string name, int kernel, OpDoc doc) {
  Op op;
  op.name = std::move(name);
  op.infer = infer_same<1>;
  op.kernel = run_elementwise;
  op.batch = batch_broadcasting;
  op.kernel_id = kernel;
  op.doc = doc;
  return op;
}

constexpr OpDoc kDerivativeDoc{"derivative kernel", "cotangent times derivatives of an elementwise function", ""};

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
  static inline const Op *op = nullptr, *d1 = nullptr, *d2 = nullptr, *d1_vjp = nullptr;
};

template <class F>
constexpr bool d1_varies = F::template d1<Probe>(Probe::variable()).varies;
template <class F>
constexpr bool d2_varies = F::template d2<Probe>(Probe::variable()).varies;

// g p(r) and g p'(r) and g p''(r).
template <class F>
Tensor times_d1(const Tensor& g, const Tensor& r) {
  if constexpr (d1_varies<F>)
    return apply(*UnaryOps<F>::d1, nullptr, g, r);
  else
    return scaled(g, F::template d1<Expr>(Expr(0)));
}
template <class F>
Tensor times_d2(const Tensor& g, const Tensor& r) {
  if constexpr (d2_varies<F>)
    return apply(*UnaryOps<F>::d2, nullptr, g, r);
  else
    return scaled(g, F::template d2<Expr>(Expr(0)));
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

// Both halves of the reverse rule of g p(r), (h p, h g p'), in one pass.
template <class F>
void d1_pair(VjpArgs& a) {
  const Tensor in[] = {a.cotangent(), a.in[0], a.in[1]};
  const Shape* shapes[] = {&a.in_aval[0]->shape, &a.in_aval[1]->shape};
  apply_summed(*UnaryOps<F>::d1_vjp, in, shapes, a.grads);
}

// Rules of q(g, r) = g p(r), given both partial derivatives as products: `linear`(h, r) = h p(r), `slope`(h, r) = h
// p'(r).
template <class F, auto linear, auto slope, bool paired>
void vjp_scaled(const Op&, VjpArgs& a) {
  const Tensor &g = a.in[0], &r = a.in[1], &h = a.cotangent();
  if constexpr (paired)
    if (a.wants(0) && a.wants(1)) return d1_pair<F>(a);
  Tensor by_g, by_r;
  if (a.wants(0)) by_g = linear(h, r);
  if (a.wants(1)) by_r = slope(mul(h, g), r);
  if (by_g.defined()) a.grads[0] = sum_to(by_g, a.in_aval[0]->shape);
  if (by_r.defined()) a.grads[1] = sum_to(by_r, a.in_aval[1]->shape);
}
template <auto linear, auto slope>
void jvp_scaled(const Op&, JvpArgs& a) {
  const Tensor &g = a.in[0], &r = a.in[1];
  Tensor t;
  if (a.tangents[0].defined()) t = linear(a.tangents[0], r);
  if (a.tangents[1].defined()) t = add_cotangents(t, slope(mul(a.tangents[1], g), r));
  if (t.defined()) a.out_tangents[0] = broadcast_to(t, a.out[0].shape());
}

// x y, undefined if either is.
Tensor times_if(const Tensor& x, const Tensor& y) { return x.defined() && y.defined() ? mul(x, y) : Tensor(); }
template <auto times>
Tensor times_if(const Tensor& x, const Tensor& r) {
  return x.defined() ? times(x, r) : Tensor();
}
void add_to(Tensor& total, const Tensor& t) { total = add_cotangents(total, t); }

// Rules of (h p, h g p').
template <class F>
void vjp_d1_vjp(const Op&, VjpArgs& a) {
  const Tensor &h = a.in[0], &g = a.in[1], &r = a.in[2], &c0 = a.cotangents[0], &c1 = a.cotangents[1];
  Tensor grads[3];
  if (a.wants(0)) grads[0] = add_cotangents(times_if<times_d1<F>>(c0, r), times_if<times_d2<F>>(times_if(c1, g), r));
  if (a.wants(1)) grads[1] = times_if<times_d2<F>>(times_if(c1, h), r);
  if (a.wants(2))
    grads[2] =
        add_cotangents(times_if<times_d2<F>>(times_if(c0, h), r), times_if<times_d3<F>>(times_if(c1, mul(h, g)), r));
  for (int i = 0; i < 3; ++i)
    if (grads[i].defined()) a.grads[i] = sum_to(grads[i], a.in_aval[i]->shape);
}
template <class F>
void jvp_d1_vjp(const Op&, JvpArgs& a) {
  const Tensor &h = a.in[0], &g = a.in[1], &r = a.in[2], &th = a.tangents[0], &tg = a.tangents[1], &tr = a.tangents[2];
  Tensor out[2];
  out[0] = add_cotangents(times_if<times_d1<F>>(th, r), times_if<times_d2<F>>(times_if(tr, h), r));
  out[1] = add_cotangents(times_if<times_d2<F>>(add_cotangents(times_if(th, g), times_if(tg, h)), r),
                          times_if<times_d3<F>>(times_if(tr, mul(h, g)), r));
  for (int i = 0; i < 2; ++i)
    if (out[i].defined()) a.out_tangents[i] = broadcast_to(out[i], a.out[i].shape());
}

// F.jet1(x) = (y, f'), F.jet2(x) = (y, f', f''): the derivative of each result but the last is the next one.
template <class F, int order>
Tensor times_slope(const Tensor& g, int i, std::span<const Tensor> in, std::span<const Tensor> out) {
  if (i < order) return mul(g, out[i + 1]);
  return order == 1 ? times_d2<F>(g, residual<F>(in, out)) : times_d3<F>(g, residual<F>(in, out));
}
template <class F, int order>
void vjp_jet(const Op&, VjpArgs& a) {
  for (int i = 0; i <= order; ++i)
    if (a.cotangents[i].defined()) add_to(a.grads[0], times_slope<F, order>(a.cotangents[i], i, a.in, a.out));
}
template <class F, int order>
void jvp_jet(const Op&, JvpArgs& a) {
  for (int i = 0; i <= order; ++i) a.out_tangents[i] = times_slope<F, order>(a.tangents[0], i, a.in, a.out);
}
template <class F, int order>
JetForm define_jet(const std::string& name, int kernel, JetForm next = {}) {
  Op jet = elementwise_op(cat(name, ".jet", order), kernel, kDerivativeDoc);
  jet.infer = infer_same<order + 1>;
  jet.vjp = vjp_jet<F, order>;
  jet.jvp = jvp_jet<F, order>;
  jet.taylor = taylor_jet<F, order>;
  jet.saves_out = true;
  jet.jet[1] = next;
  return {&define_op(jet), order + 1};
}

template <class F>
constexpr bool d2_is_zero = !d2_varies<F> && F::template d2<math::Scalar<double>>(math::Scalar<double>(1)).v == 0;

template <class F>
void define_unary(const char* name, int kernel, OpDoc doc) {
  Op op = elementwise_op(name, kernel, doc);
  op.vjp = vjp_unary<F>;
  op.jvp = jvp_unary<F>;
  op.taylor = d2_is_zero<F> && F::residual == Residual::x ? taylor_linear : taylor_unary<F>;
  op.saves_in = d1_varies<F> && F::residual == Residual::x;
  op.saves_out = d1_varies<F> && F::residual == Residual::y;
  op.linear_in = !d1_varies<F>;
  if constexpr (has_jets<F>) op.jet[1] = define_jet<F, 1>(name, kernel + 4, define_jet<F, 2>(name, kernel + 5));
  UnaryOps<F>::op = &define_op(op);
  if constexpr (d1_varies<F>) {
    constexpr bool paired = !d2_is_zero<F>;
    Op d1 = elementwise_op(op.name + ".d1", kernel + 1, kDerivativeDoc);
    d1.vjp = vjp_scaled<F, times_d1<F>, times_d2<F>, paired>;
    d1.jvp = jvp_scaled<times_d1<F>, times_d2<F>>;
    d1.taylor = taylor_scaled<F, 1>;
    d1.linear_in = 1;
    if constexpr (std::is_same_v<F, fn::Exp>) d1.shortcut = product_with_one;  // p(y) = y
    UnaryOps<F>::d1 = &define_op(d1);
    if constexpr (paired) {
      Op pair = elementwise_op(op.name + ".d1.vjp", kernel + 3, kDerivativeDoc);
      pair.infer = infer_same<2>;
      pair.vjp = vjp_d1_vjp<F>;
      pair.jvp = jvp_d1_vjp<F>;
      pair.taylor = taylor_d1_vjp<F>;
      pair.linear_in = 1;
      UnaryOps<F>::d1_vjp = &define_op(pair);
    }
  }
  if constexpr (d2_varies<F>) {
    Op d2 = elementwise_op(op.name + ".d2", kernel + 2, kDerivativeDoc);
    d2.vjp = vjp_scaled<F, times_d2<F>, times_d3<F>, false>;
    d2.jvp = jvp_scaled<times_d2<F>, times_d3<F>>;
    d2.taylor = taylor_scaled<F, 2>;
    d2.linear_in = 1;
    UnaryOps<F>::d2 = &define_op(d2);
  }
}

// ---- binary -------------------------------------------------------------------------------------------------------

template <class F>
struct BinaryOps {
  static inline const Op *op = nullptr, *vjp = nullptr, *vjp2 = nullptr;
};

// A partial derivative P of F: its formula on any value type, the kernel g P(x, y), and the partials of P.
template <class P>
struct ThirdX;
template <class P>
struct ThirdY;
#define EV_PARTIAL(Name, part, offset, X, Y)     \
  template <class F>                             \
  struct Name {                                  \
    static constexpr int kernel_offset = offset; \
    using ByX = X;                               \
    using ByY = Y;                               \
    static inline const Op* op = nullptr;        \
    template <class V>                           \
    static constexpr V formula(V x, V y) {       \
      return F::template part<V>(x, y);          \
    }                                            \
  };
EV_PARTIAL(PartialXX, dxx, 3, ThirdX<PartialXX<F>>, ThirdY<PartialXX<F>>)
EV_PARTIAL(PartialXY, dxy, 4, ThirdX<PartialXY<F>>, ThirdY<PartialXY<F>>)
EV_PARTIAL(PartialYY, dyy, 5, ThirdX<PartialYY<F>>, ThirdY<PartialYY<F>>)
EV_PARTIAL(PartialX, dx, 1, PartialXX<F>, PartialXY<F>)
EV_PARTIAL(PartialY, dy, 2, PartialXY<F>, PartialYY<F>)
#undef EV_PARTIAL

template <class P>
constexpr bool partial_varies = P::template formula<Probe>(Probe::variable(), Probe::variable()).varies;

// Whether g P(x, y) is a kernel of its own. A product's partials are products again, of one operand.
template <class P>
constexpr bool has_kernel = partial_varies<P>;
template <>
constexpr bool has_kernel<PartialX<fn::Mul>> = false;
template <>
constexpr bool has_kernel<PartialY<fn::Mul>> = false;

// g P(x, y); undefined for a structural zero and for undefined g.
template <class P>
struct Times {
  static Tensor of(const Tensor& g, const Tensor& x, const Tensor& y) {
    if (!g.defined()) return {};
    if constexpr (partial_varies<P>)
      return apply(*P::op, nullptr, g, x, y);
    else
      return scaled(g, P::template formula<Expr>(Expr(0), Expr(0)));
  }
};
template <>
struct Times<PartialX<fn::Mul>> {
  static Tensor of(const Tensor& g, const Tensor&, const Tensor& y) { return g.defined() ? mul(g, y) : Tensor(); }
};
template <>
struct Times<PartialY<fn::Mul>> {
  static Tensor of(const Tensor& g, const Tensor& x, const Tensor&) { return g.defined() ? mul(g, x) : Tensor(); }
};
template <class P>
struct Times<ThirdX<P>> {
  static Tensor of(const Tensor& g, const Tensor& x, const Tensor& y) {
    return g.defined() ? scaled(g, P::template formula<Dual>(Dual{x, 1}, Dual{y, 0}).d) : Tensor();
  }
};
template <class P>
struct Times<ThirdY<P>> {
  static Tensor of(const Tensor& g, const Tensor& x, const Tensor& y) {
    return g.defined() ? scaled(g, P::template formula<Dual>(Dual{x, 0}, Dual{y, 1}).d) : Tensor();
  }
};

// Contributions to the gradients of q, x and y of a term q P(x, y) with cotangent c.
struct TermGrads {
  const Tensor &x, &y;
  bool wants_x, wants_y;
  Tensor by_x, by_y;

  template <class P>
  Tensor add(const Tensor& c, const Tensor& q, bool wants_q) {
    if (!c.defined()) return {};
    if (wants_x) add_to(by_x, Times<typename P::ByX>::of(mul(c, q), x, y));
    if (wants_y) add_to(by_y, Times<typename P::ByY>::of(mul(c, q), x, y));
    return wants_q ? Times<P>::of(c, x, y) : Tensor();
  }
};
// The tangent of a term q P(x, y).
template <class P>
Tensor term_tangent(const Tensor& q, const Tensor& tq, const Tensor& x, const Tensor& tx, const Tensor& y,
                    const Tensor& ty) {
  Tensor t = Times<P>::of(tq, x, y);
  if (tx.defined()) add_to(t, Times<typename P::ByX>::of(mul(q, tx), x, y));
  if (ty.defined()) add_to(t, Times<typename P::ByY>::of(mul(q, ty), x, y));
  return t;
}
void set_grads(VjpArgs& a, std::initializer_list<Tensor> grads) {
  std::size_t i = 0;
  for (const Tensor& t : grads) {
    if (a.wants(i) && t.defined()) a.grads[i] = sum_to(t, a.in_aval[i]->shape);
    ++i;
  }
}
void set_tangent(JvpArgs& a, std::size_t i, const Tensor& t) {
  if (t.defined()) a.out_tangents[i] = broadcast_to(t, a.out[i].shape());
}

// g P(x, y) summed to a shape.
template <class P>
Tensor times_summed(const Tensor& g, const Tensor& x, const Tensor& y, const Shape& shape) {
  constexpr bool of_x = std::is_same_v<P, PartialX<fn::Mul>>, of_y = std::is_same_v<P, PartialY<fn::Mul>>;
  const Shape* shapes[] = {&shape};
  Tensor out;
  if constexpr (of_x || of_y) {
    const Tensor in[] = {g, of_x ? y : x};
    apply_summed(*BinaryOps<fn::Mul>::op, in, shapes, {&out, 1});
  } else if constexpr (has_kernel<P>) {
    const Tensor in[] = {g, x, y};
    apply_summed(*P::op, in, shapes, {&out, 1});
  } else if (out = Times<P>::of(g, x, y); out.defined()) {
    out = sum_to(out, shape);
  }
  return out;
}

template <class F>
void vjp_binary(const Op&, VjpArgs& a) {
  const Tensor &g = a.cotangent(), &x = a.in[0], &y = a.in[1];
  if (BinaryOps<F>::vjp && a.wants(0) && a.wants(1)) {
    const Tensor in[] = {g, x, y};
    const Shape* shapes[] = {&a.in_aval[0]->shape, &a.in_aval[1]->shape};
    return apply_summed(*BinaryOps<F>::vjp, in, shapes, a.grads);
  }
  if (a.wants(0)) a.grads[0] = times_summed<PartialX<F>>(g, x, y, a.in_aval[0]->shape);
  if (a.wants(1)) a.grads[1] = times_summed<PartialY<F>>(g, x, y, a.in_aval[1]->shape);
}
template <class F>
void jvp_binary(const Op&, JvpArgs& a) {
  set_tangent(a, 0,
              add_cotangents(Times<PartialX<F>>::of(a.tangents[0], a.in[0], a.in[1]),
                             Times<PartialY<F>>::of(a.tangents[1], a.in[0], a.in[1])));
}

// Rules of g P(x, y).
template <class P>
void vjp_partial(const Op&, VjpArgs& a) {
  TermGrads t{a.in[1], a.in[2], a.wants(1), a.wants(2), {}, {}};
  const Tensor by_g = t.add<P>(a.cotangent(), a.in[0], a.wants(0));
  set_grads(a, {by_g, t.by_x, t.by_y});
}
template <class P>
void jvp_partial(const Op&, JvpArgs& a) {
  set_tangent(a, 0, term_tangent<P>(a.in[0], a.tangents[0], a.in[1], a.tangents[1], a.in[2], a.tangents[2]));
}

// Rules of F.vjp(g, x, y) = (g F_x, g F_y).
template <class F>
void vjp_vjp(const Op&, VjpArgs& args) {
  const Tensor &g = args.in[0], &x = args.in[1], &y = args.in[2], &a = args.cotangents[0], &b = args.cotangents[1];
  if (a.defined() && b.defined() && args.wants(0) && args.wants(1) && args.wants(2)) {
    const Tensor in[] = {a, b, g, x, y};
    const Shape* shapes[] = {&args.in_aval[0]->shape, &args.in_aval[1]->shape, &args.in_aval[2]->shape};
    return apply_summed(*BinaryOps<F>::vjp2, in, shapes, args.grads);
  }
  TermGrads t{x, y, args.wants(1), args.wants(2), {}, {}};
  Tensor by_g = t.add<PartialX<F>>(a, g, args.wants(0));
  add_to(by_g, t.add<PartialY<F>>(b, g, args.wants(0)));
  set_grads(args, {by_g, t.by_x, t.by_y});
}
template <class F>
void jvp_vjp(const Op&, JvpArgs& a) {
  const Tensor &g = a.in[0], &tg = a.tangents[0], &x = a.in[1], &tx = a.tangents[1], &y = a.in[2], &ty = a.tangents[2];
  set_tangent(a, 0, term_tangent<PartialX<F>>(g, tg, x, tx, y, ty));
  set_tangent(a, 1, term_tangent<PartialY<F>>(g, tg, x, tx, y, ty));
}

// Rules of F.vjp2(a, b, g, x, y) = (a F_x + b F_y, g a F_xx + g b F_xy, g a F_xy + g b F_yy).
template <class F>
void vjp_vjp2(const Op&, VjpArgs& args) {
  const Tensor &a = args.in[0], &b = args.in[1], &g = args.in[2], &x = args.in[3], &y = args.in[4];
  const Tensor &c0 = args.cotangents[0], &c1 = args.cotangents[1], &c2 = args.cotangents[2];
  const Tensor ga = mul(g, a), gb = mul(g, b);
  TermGrads t{x, y, args.wants(3), args.wants(4), {}, {}};
  const bool wants_a = args.wants(0), wants_b = args.wants(1), wants_g = args.wants(2);
  Tensor by_a = t.add<PartialX<F>>(c0, a, wants_a), by_b = t.add<PartialY<F>>(c0, b, wants_b);
  Tensor by_ga = t.add<PartialXX<F>>(c1, ga, wants_a || wants_g),
         by_gb = t.add<PartialXY<F>>(c1, gb, wants_b || wants_g);
  add_to(by_ga, t.add<PartialXY<F>>(c2, ga, wants_a || wants_g));
  add_to(by_gb, t.add<PartialYY<F>>(c2, gb, wants_b || wants_g));
  if (wants_a) add_to(by_a, times_if(by_ga, g));
  if (wants_b) add_to(by_b, times_if(by_gb, g));
  const Tensor by_g = wants_g ? add_cotangents(times_if(by_ga, a), times_if(by_gb, b)) : Tensor();
  set_grads(args, {by_a, by_b, by_g, t.by_x, t.by_y});
}
template <class F>
void jvp_vjp2(const Op&, JvpArgs& args) {
  const Tensor &a = args.in[0], &b = args.in[1], &g = args.in[2], &x = args.in[3], &y = args.in[4];
  const Tensor &ta = args.tangents[0], &tb = args.tangents[1], &tg = args.tangents[2], &tx = args.tangents[3],
               &ty = args.tangents[4];
  const Tensor ga = mul(g, a), gb = mul(g, b);
  const Tensor tga = add_cotangents(times_if(tg, a), times_if(g, ta)),
               tgb = add_cotangents(times_if(tg, b), times_if(g, tb));
  set_tangent(
      args, 0,
      add_cotangents(term_tangent<PartialX<F>>(a, ta, x, tx, y, ty), term_tangent<PartialY<F>>(b, tb, x, tx, y, ty)));
  set_tangent(args, 1,
              add_cotangents(term_tangent<PartialXX<F>>(ga, tga, x, tx, y, ty),
                             term_tangent<PartialXY<F>>(gb, tgb, x, tx, y, ty)));
  set_tangent(args, 2,
              add_cotangents(term_tangent<PartialXY<F>>(ga, tga, x, tx, y, ty),
                             term_tangent<PartialYY<F>>(gb, tgb, x, tx, y, ty)));
}

// Jets: F itself and some of its partial derivatives P..., where that of one by x or y may be another.
template <class F>
struct Primal {
  using ByX = PartialX<F>;
  using ByY = PartialY<F>;
  template <class V>
  static V formula(const V& x, const V& y) {
    return on_series(F{}, x, y);
  }
};
template <class... P>
struct Jet {
  // g Q(x, y), from the results where Q is among them.
  template <class Q>
  static Tensor times(const Tensor& g, std::span<const Tensor> in, std::span<const Tensor> out) {
    std::size_t i = 0;
    if constexpr ((std::is_same_v<Q, P> || ...)) {
      (void)((std::is_same_v<Q, P> || (++i, false)) || ...);
      return mul(g, out[i]);
    }
    return Times<Q>::of(g, in[0], in[1]);
  }
  static void vjp(const Op&, VjpArgs& a) {
    Tensor by_x, by_y;
    std::size_t i = 0;
    (
        [&] {
          const Tensor& c = a.cotangents[i++];
          if (!c.defined()) return;
          if (a.wants(0)) add_to(by_x, times<typename P::ByX>(c, a.in, a.out));
          if (a.wants(1)) add_to(by_y, times<typename P::ByY>(c, a.in, a.out));
        }(),
        ...);
    set_grads(a, {by_x, by_y});
  }
  static void jvp(const Op&, JvpArgs& a) {
    std::size_t i = 0;
    (
        [&] {
          Tensor t;
          if (a.tangents[0].defined()) add_to(t, times<typename P::ByX>(a.tangents[0], a.in, a.out));
          if (a.tangents[1].defined()) add_to(t, times<typename P::ByY>(a.tangents[1], a.in, a.out));
          set_tangent(a, i++, t);
        }(),
        ...);
  }
  static JetForm define(std::string name, int kernel, int by = 0, JetForm next = {}) {
    Op jet = elementwise_op(std::move(name), kernel, kDerivativeDoc);
    jet.infer = infer_same<sizeof...(P)>;
    jet.vjp = vjp;
    jet.jvp = jvp;
    jet.taylor = taylor_results<P...>;
    jet.saves_out = true;
    jet.jet[by] = next;
    return {&define_op(jet), sizeof...(P)};
  }
};
template <class F>
void define_jets(Op& op, int kernel) {
  using V = Primal<F>;
  using X = PartialX<F>;
  using Y = PartialY<F>;
  using XX = PartialXX<F>;
  using XY = PartialXY<F>;
  using YY = PartialYY<F>;
  const JetForm x2 = Jet<V, X, XX>::define(op.name + ".jet2x", kernel + 11);
  const JetForm y2 = Jet<V, Y, YY>::define(op.name + ".jet2y", kernel + 12);
  const JetForm both2 = Jet<V, X, Y, XX, XY, YY>::define(op.name + ".jet2", kernel + 13);
  op.jet = {JetForm{}, Jet<V, X>::define(op.name + ".jet1x", kernel + 8, 1, x2),
            Jet<V, Y>::define(op.name + ".jet1y", kernel + 9, 2, y2),
            Jet<V, X, Y>::define(op.name + ".jet1", kernel + 10, 3, both2)};
}

template <class P>
void define_partial(const std::string& name, int kernel) {
  if constexpr (has_kernel<P>) {
    Op op = elementwise_op(name, kernel + P::kernel_offset, kDerivativeDoc);
    op.vjp = vjp_partial<P>;
    op.jvp = jvp_partial<P>;
    op.taylor = taylor_partial<P>;
    op.linear_in = 1;
    P::op = &define_op(op);
  }
}

template <class F>
void define_binary(const char* name, int kernel, OpDoc doc) {
  Op op = elementwise_op(name, kernel, doc);
  op.vjp = vjp_binary<F>;
  op.jvp = jvp_binary<F>;
  op.taylor = kernel == kMaximum || kernel == kMinimum || kernel == kMod ? taylor_linear : taylor_binary<F>;
  if constexpr (!partial_varies<PartialX<F>> && !partial_varies<PartialY<F>>) op.saves_in = 0;
  if (kernel == kMul) op.linear_in = 3, op.shortcut = product_with_one;
  if (kernel == kDiv) op.linear_in = 1;
  if constexpr (has_jets<F>) define_jets<F>(op, kernel);
  BinaryOps<F>::op = &define_op(op);
  define_partial<PartialX<F>>(op.name + ".dx", kernel);
  define_partial<PartialY<F>>(op.name + ".dy", kernel);
  define_partial<PartialXX<F>>(op.name + ".dxx", kernel);
  define_partial<PartialXY<F>>(op.name + ".dxy", kernel);
  define_partial<PartialYY<F>>(op.name + ".dyy", kernel);
  if constexpr (!partial_varies<PartialX<F>> || !partial_varies<PartialY<F>>) return;
  Op vjp = elementwise_op(op.name + ".vjp", kernel + 6, kDerivativeDoc);
  vjp.infer = infer_same<2>;
  vjp.vjp = vjp_vjp<F>;
  vjp.jvp = jvp_vjp<F>;
  vjp.taylor = taylor_vjp<F>;
  vjp.linear_in = 1;
  if (kernel == kMul) vjp.shortcut = products_with_one;
  BinaryOps<F>::vjp = &define_op(vjp);
  Op vjp2 = elementwise_op(op.name + ".vjp2", kernel + 7, kDerivativeDoc);
  vjp2.infer = infer_same<3>;
  vjp2.vjp = vjp_vjp2<F>;
  vjp2.jvp = jvp_vjp2<F>;
  vjp2.taylor = taylor_vjp2<F>;
  BinaryOps<F>::vjp2 = &define_op(vjp2);
}

}  // namespace

}  // namespace evolute
