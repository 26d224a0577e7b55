// The kernels of math/elementwise.h as functions from arrays of operands to arrays of results.
#pragma once

#include "math/elementwise.h"

namespace evolute::cuda {

using math::Scalar;

// N inputs of type T, M results of type Out.
#define EV_FUNCTOR(Name, N_, M_, result, ...)                                                        \
  template <class F, class T>                                                                        \
  struct Name {                                                                                      \
    static constexpr int N = N_, M = M_;                                                             \
    using Out = result;                                                                              \
    using V = Scalar<T>;                                                                             \
    static __device__ __forceinline__ void apply([[maybe_unused]] const T* in, Out* out) __VA_ARGS__ \
  };
EV_FUNCTOR(Value1, 1, 1, T, { out[0] = F::template f<V>(V(in[0])).v; })
EV_FUNCTOR(Value2, 2, 1, T, { out[0] = F::template f<V>(V(in[0]), V(in[1])).v; })
EV_FUNCTOR(Compare, 2, 1, bool, { out[0] = F::template f<V>(V(in[0]), V(in[1])); })
EV_FUNCTOR(ScaledD1, 2, 1, T, { out[0] = (V(in[0]) * F::template d1<V>(V(in[1]))).v; })
EV_FUNCTOR(ScaledD2, 2, 1, T, { out[0] = (V(in[0]) * F::template d2<V>(V(in[1]))).v; })
EV_FUNCTOR(D1Vjp, 3, 2, T, {
  const V h(in[0]), g(in[1]), r(in[2]);
  out[0] = (h * F::template d1<V>(r)).v;
  out[1] = (h * g * F::template d2<V>(r)).v;
})
#define EV_SCALED(Name, part) \
  EV_FUNCTOR(Name, 3, 1, T, { out[0] = (V(in[0]) * F::template part<V>(V(in[1]), V(in[2]))).v; })
EV_SCALED(ScaledDx, dx)
EV_SCALED(ScaledDy, dy)
EV_SCALED(ScaledDxx, dxx)
EV_SCALED(ScaledDxy, dxy)
EV_SCALED(ScaledDyy, dyy)
#undef EV_SCALED
EV_FUNCTOR(Vjp, 3, 2, T, {
  const V g(in[0]), x(in[1]), y(in[2]);
  out[0] = (g * F::template dx<V>(x, y)).v;
  out[1] = (g * F::template dy<V>(x, y)).v;
})
EV_FUNCTOR(Vjp2, 5, 3, T, {
  const V a(in[0]), b(in[1]), g(in[2]), x(in[3]), y(in[4]);
  const V mixed = F::template dxy<V>(x, y);
  out[0] = (a * F::template dx<V>(x, y) + b * F::template dy<V>(x, y)).v;
  out[1] = (g * (a * F::template dxx<V>(x, y) + b * mixed)).v;
  out[2] = (g * (a * mixed + b * F::template dyy<V>(x, y))).v;
})
// A value and its derivatives: what the formulas have in common is computed once, by the compiler's own doing.
EV_FUNCTOR(Jet1, 1, 2, T, {
  const V x(in[0]), y = F::template f<V>(x), r = F::residual == Residual::x ? x : y;
  out[0] = y.v;
  out[1] = F::template d1<V>(r).v;
})
EV_FUNCTOR(Jet2, 1, 3, T, {
  const V x(in[0]), y = F::template f<V>(x), r = F::residual == Residual::x ? x : y;
  out[0] = y.v;
  out[1] = F::template d1<V>(r).v;
  out[2] = F::template d2<V>(r).v;
})
#define EV_JET(Name, count, ...)                              \
  EV_FUNCTOR(Name, 2, count, T, {                             \
    const V x(in[0]), y(in[1]);                               \
    const V values[] = {F::template f<V>(x, y), __VA_ARGS__}; \
    for (int k = 0; k < count; ++k) out[k] = values[k].v;     \
  })
#define EV_PART(part) F::template part<V>(x, y)
EV_JET(Jet1X, 2, EV_PART(dx))
EV_JET(Jet1Y, 2, EV_PART(dy))
EV_JET(Jet1XY, 3, EV_PART(dx), EV_PART(dy))
EV_JET(Jet2X, 3, EV_PART(dx), EV_PART(dxx))
EV_JET(Jet2Y, 3, EV_PART(dy), EV_PART(dyy))
EV_JET(Jet2XY, 6, EV_PART(dx), EV_PART(dy), EV_PART(dxx), EV_PART(dxy), EV_PART(dyy))
#undef EV_PART
#undef EV_JET
#undef EV_FUNCTOR

}  // namespace evolute::cuda
