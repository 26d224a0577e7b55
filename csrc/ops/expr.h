// The value types on which the formulas of elementwise.def become compositions of primitives.
//
// Expr is a tensor or a constant. Dual carries a derivative beside it: F::d2 evaluated on Dual{r, 1} is the next
// derivative of F, without anybody having written it down. Constants fold, and a derivative that is the constant 0 is a
// symbolic zero.
#pragma once

#include "evolute/ops.h"
#include "math/elementwise.h"

namespace evolute {

// Tells at compile time whether a formula depends on its argument.
struct Probe {
  bool varies;
  template <class U>
    requires std::is_arithmetic_v<U>
  constexpr Probe(U) : varies(false) {}
  static constexpr Probe variable() {
    Probe p(0);
    p.varies = true;
    return p;
  }
  static constexpr Probe join(Probe a, Probe b) { return a.varies ? a : b; }
  friend constexpr Probe operator-(Probe a) { return a; }
  friend constexpr Probe select(Probe c, Probe a, Probe b) { return join(c, join(a, b)); }
};
#define EV_PROBE(op) \
  constexpr Probe operator op(Probe a, Probe b) { return Probe::join(a, b); }
EV_PROBE(+)
EV_PROBE(-)
EV_PROBE(*)
EV_PROBE(/)
EV_PROBE(==)
EV_PROBE(!=)
EV_PROBE(<)
EV_PROBE(>)
EV_PROBE(&&)
EV_PROBE(||)
#undef EV_PROBE

struct Expr {
  Tensor t;  // undefined: the constant c
  double c = 0;

  Expr(Tensor t) : t(std::move(t)) {}
  template <class U>
    requires std::is_arithmetic_v<U>
  Expr(U u) : c(static_cast<double>(u)) {}

  bool is_constant() const { return !t.defined(); }
  bool is_constant(double value) const { return is_constant() && c == value; }
  // The value as a tensor; a constant takes the dtype of `like`.
  Tensor tensor(const Tensor& like) const { return is_constant() ? scalar(c, like.dtype()) : t; }
};

// A comparison; `dtype` remembers that of an operand, for selecting between constants.
struct Mask {
  Tensor t;  // undefined: the constant c
  DType dtype = DType::Float32;
  bool c = false;

  Mask(Tensor t, DType dtype) : t(std::move(t)), dtype(dtype) {}
  Mask(bool c) : c(c) {}
  bool is_constant() const { return !t.defined(); }
};

#define EV_EXPR_OP(symbol, fn)                                                         \
  inline Expr operator symbol(const Expr& a, const Expr& b) {                          \
    if (a.is_constant()) return b.is_constant() ? Expr(a.c symbol b.c) : fn(a.c, b.t); \
    return b.is_constant() ? fn(a.t, b.c) : fn(a.t, b.t);                              \
  }
EV_EXPR_OP(+, add)
EV_EXPR_OP(-, sub)
EV_EXPR_OP(*, mul)
EV_EXPR_OP(/, div)
#undef EV_EXPR_OP
inline Expr operator-(const Expr& a) { return a.is_constant() ? Expr(-a.c) : neg(a.t); }

#define EV_EXPR_COMPARE(symbol, fn)                                \
  inline Mask operator symbol(const Expr& a, const Expr& b) {      \
    if (a.is_constant() && b.is_constant()) return a.c symbol b.c; \
    const Tensor& like = a.is_constant() ? b.t : a.t;              \
    return {fn(a.tensor(like), b.tensor(like)), like.dtype()};     \
  }
EV_EXPR_COMPARE(==, equal)
EV_EXPR_COMPARE(!=, not_equal)
EV_EXPR_COMPARE(<, less)
EV_EXPR_COMPARE(>, greater)
#undef EV_EXPR_COMPARE
inline Mask operator&&(const Mask& a, const Mask& b) {
  if (a.is_constant()) return a.c ? b : a;
  if (b.is_constant()) return b.c ? a : b;
  return {logical_and(a.t, b.t), a.dtype};
}
inline Mask operator||(const Mask& a, const Mask& b) {
  if (a.is_constant()) return a.c ? a : b;
  if (b.is_constant()) return b.c ? b : a;
  return {logical_or(a.t, b.t), a.dtype};
}

inline Expr select(const Mask& m, const Expr& a, const Expr& b) {
  if (m.is_constant()) return m.c ? a : b;
  if (a.is_constant() && b.is_constant(a.c)) return a;
  return where(m.t, a.is_constant() ? scalar(a.c, m.dtype) : a.t, b.is_constant() ? scalar(b.c, m.dtype) : b.t);
}

struct Dual {
  Expr v;
  Expr d = 0;  // the constant 0 is a symbolic zero

  Dual(Expr v, Expr d) : v(std::move(v)), d(std::move(d)) {}
  template <class U>
    requires std::is_arithmetic_v<U>
  Dual(U u) : v(u) {}

  bool is_constant() const { return d.is_constant(0); }
};

// Arithmetic on derivative parts, where 0 and 1 are structural.
inline Expr times(const Expr& a, const Expr& b) {
  if (a.is_constant(0) || b.is_constant(0)) return 0;
  return a.is_constant(1) ? b : b.is_constant(1) ? a : a * b;
}
inline Expr plus(const Expr& a, const Expr& b) { return a.is_constant(0) ? b : b.is_constant(0) ? a : a + b; }

inline Dual operator-(const Dual& a) { return {-a.v, -a.d}; }
inline Dual operator+(const Dual& a, const Dual& b) { return {a.v + b.v, plus(a.d, b.d)}; }
inline Dual operator-(const Dual& a, const Dual& b) { return {a.v - b.v, plus(a.d, -b.d)}; }
inline Dual operator*(const Dual& a, const Dual& b) { return {a.v * b.v, plus(times(a.d, b.v), times(a.v, b.d))}; }
inline Dual operator/(const Dual& a, const Dual& b) {
  const Expr q = a.v / b.v;
  if (b.is_constant()) return {q, a.is_constant() ? Expr(0) : a.d / b.v};
  return {q, plus(a.is_constant() ? Expr(0) : a.d / b.v, -times(q / b.v, b.d))};
}
inline Mask operator==(const Dual& a, const Dual& b) { return a.v == b.v; }
inline Mask operator!=(const Dual& a, const Dual& b) { return a.v != b.v; }
inline Mask operator<(const Dual& a, const Dual& b) { return a.v < b.v; }
inline Mask operator>(const Dual& a, const Dual& b) { return a.v > b.v; }
inline Dual select(const Mask& m, const Dual& a, const Dual& b) { return {select(m, a.v, b.v), select(m, a.d, b.d)}; }

// The functions of the table on all three types. Declared first: their derivatives refer to each other.
#define EV_UNARY(Name, fun, ...)                                                        \
  constexpr Probe fun(Probe x) { return x; }                                            \
  inline Expr fun(const Expr& x) {                                                      \
    return x.is_constant() ? Expr(fn::Name::f(math::Scalar<double>(x.c)).v) : fun(x.t); \
  }                                                                                     \
  Dual fun(const Dual& x);
#define EV_UNARY_FLAT(Name, fun, ...)                                                   \
  constexpr Probe fun(Probe x) { return x; }                                            \
  inline Expr fun(const Expr& x) {                                                      \
    return x.is_constant() ? Expr(fn::Name::f(math::Scalar<double>(x.c)).v) : fun(x.t); \
  }                                                                                     \
  inline Dual fun(const Dual& x) { return {fun(x.v), 0}; }
#define EV_EXPR_BINARY(Name, fun)                                                 \
  constexpr Probe fun(Probe x, Probe y) { return Probe::join(x, y); }             \
  inline Expr fun(const Expr& x, const Expr& y) {                                 \
    if (x.is_constant()) {                                                        \
      if (!y.is_constant()) return fun(x.c, y.t);                                 \
      return fn::Name::f(math::Scalar<double>(x.c), math::Scalar<double>(y.c)).v; \
    }                                                                             \
    return y.is_constant() ? fun(x.t, y.c) : fun(x.t, y.t);                       \
  }
#define EV_BINARY(Name, fun, ...) EV_EXPR_BINARY(Name, fun) Dual fun(const Dual& x, const Dual& y);
#define EV_BINARY_FLAT(Name, fun, ...) \
  EV_EXPR_BINARY(Name, fun)            \
  inline Dual fun(const Dual& x, const Dual& y) { return {fun(x.v, y.v), 0}; }
#include "evolute/elementwise.def"
#undef EV_EXPR_BINARY

#define EV_UNARY(Name, fun, ...)                                 \
  inline Dual fun(const Dual& x) {                               \
    Expr y = fun(x.v);                                           \
    if (x.is_constant()) return {y, 0};                          \
    const Expr& r = fn::Name::residual == Residual::x ? x.v : y; \
    return {y, times(x.d, fn::Name::d1<Expr>(r))};               \
  }
#define EV_BINARY(Name, fun, ...)                                                         \
  inline Dual fun(const Dual& x, const Dual& y) {                                         \
    const Expr dx = x.is_constant() ? Expr(0) : times(x.d, fn::Name::dx<Expr>(x.v, y.v)); \
    const Expr dy = y.is_constant() ? Expr(0) : times(y.d, fn::Name::dy<Expr>(x.v, y.v)); \
    return {fun(x.v, y.v), plus(dx, dy)};                                                 \
  }
#include "evolute/elementwise.def"

}  // namespace evolute
