// Taylor rules of the elementwise family, for elementwise.cpp alone: the formulas of elementwise.def on Series.
#pragma once

#include "ops/op.h"
#include "ops/series.h"

namespace evolute {

namespace {

#define EV_UNARY(Name, fun, ...) \
  inline Series on_series(fn::Name, const Series& x) { return fun(x); }
#define EV_BINARY(Name, fun, ...) \
  inline Series on_series(fn::Name, const Series& x, const Series& y) { return fun(x, y); }
#include "evolute/elementwise.def"

Series operand(const JvpArgs& a, std::size_t i) {
  if (!a.moves(i)) return Expr(a.in[i]);
  const auto c = a.series(i);
  return {a.in[i], {c.begin(), c.end()}};
}
void give_series(JvpArgs& a, std::size_t i, const Series& y) {
  for (std::size_t k = 1; k <= y.order(); ++k)
    if (y.at(k).defined()) a.out_series(i)[k - 1] = broadcast_to(y.at(k), a.out[i].shape());
}

template <class F>
void taylor_unary(const Op&, JvpArgs& a) {
  const Series x = operand(a, 0);
  if (a.order != 2 || x.at(2).defined()) return give_series(a, 0, on_series(F{}, x));
  // Along a line to second order, f' c and f'' c²/2: in Laplacians f'' is then a factor of the sum over all directions.
  const Expr r = F::residual == Residual::x ? a.in[0] : a.out[0];
  const Expr slope = F::template d1<Expr>(r), change = F::template d2<Expr>(r);
  const Expr curvature = 0.5 * (F::residual == Residual::x ? change : change * slope);
  give_series(a, 0, {a.out[0], {times(slope, x.at(1)), times(curvature, square(x.at(1)))}});
}
template <class F>
void taylor_binary(const Op&, JvpArgs& a) {
  give_series(a, 0, on_series(F{}, operand(a, 0), operand(a, 1)));
}

// g p(r) and g p'(r).
template <class F, int order>
void taylor_scaled(const Op& op, JvpArgs& a) {
  if (!a.moves(1)) return taylor_linear(op, a);
  const Series g = operand(a, 0), r = operand(a, 1);
  if constexpr (order == 1)
    give_series(a, 0, g * F::template d1<Series>(r));
  else
    give_series(a, 0, g * F::template d2<Series>(r));
}
// (h p, h g p')
template <class F>
void taylor_d1_vjp(const Op&, JvpArgs& a) {
  const Series h = operand(a, 0), g = operand(a, 1), r = operand(a, 2);
  give_series(a, 0, h * F::template d1<Series>(r));
  give_series(a, 1, h * g * F::template d2<Series>(r));
}
// (f, p(r), p'(r)) up to the order.
template <class F, int order>
void taylor_jet(const Op&, JvpArgs& a) {
  const Series x = operand(a, 0), y = on_series(F{}, x), &r = F::residual == Residual::x ? x : y;
  give_series(a, 0, y);
  give_series(a, 1, F::template d1<Series>(r));
  if constexpr (order == 2) give_series(a, 2, F::template d2<Series>(r));
}

// g P(x, y)
template <class P>
void taylor_partial(const Op& op, JvpArgs& a) {
  if (!a.moves(1) && !a.moves(2)) return taylor_linear(op, a);
  give_series(a, 0, operand(a, 0) * P::template formula<Series>(operand(a, 1), operand(a, 2)));
}
// (g F_x, g F_y)
template <class F>
void taylor_vjp(const Op&, JvpArgs& a) {
  const Series g = operand(a, 0), x = operand(a, 1), y = operand(a, 2);
  give_series(a, 0, g * F::template dx<Series>(x, y));
  give_series(a, 1, g * F::template dy<Series>(x, y));
}
// (a F_x + b F_y, g a F_xx + g b F_xy, g a F_xy + g b F_yy)
template <class F>
void taylor_vjp2(const Op&, JvpArgs& args) {
  const Series a = operand(args, 0), b = operand(args, 1), g = operand(args, 2), x = operand(args, 3),
               y = operand(args, 4);
  const Series xy = F::template dxy<Series>(x, y);
  give_series(args, 0, a * F::template dx<Series>(x, y) + b * F::template dy<Series>(x, y));
  give_series(args, 1, g * (a * F::template dxx<Series>(x, y) + b * xy));
  give_series(args, 2, g * (a * xy + b * F::template dyy<Series>(x, y)));
}
// The results P(x, y), …
template <class... P>
void taylor_results(const Op&, JvpArgs& a) {
  const Series x = operand(a, 0), y = operand(a, 1);
  std::size_t i = 0;
  (give_series(a, i++, P::template formula<Series>(x, y)), ...);
}

}  // namespace

}  // namespace evolute
