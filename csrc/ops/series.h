// Truncated Taylor series as a value type: what moves along a polynomial in t. The formulas of elementwise.def are
// evaluated on it, and the functions of the table have their recurrences here.
//
// Most follow from a differential equation. With y' = p x', k y_k = Σ j x_j p_(k−j) over j = 1, …, k (Griewank and
// Walther, "Evaluating Derivatives", ch. 13): p is the derivative as the table states it, and a recurrence where that
// would lead back to y. So each function costs a few convolutions, k² products in all.
#pragma once

#include <functional>
#include <vector>

#include "ops/expr.h"

namespace evolute {

struct Series {
  Expr v;                 // at t = 0
  std::vector<Tensor> c;  // c[k − 1] t^k without k!; undefined or missing is zero

  Series(Expr v, std::vector<Tensor> c = {}) : v(std::move(v)), c(std::move(c)) {}
  template <class U>
    requires std::is_arithmetic_v<U>
  Series(U u) : v(u) {}

  std::size_t order() const { return c.size(); }
  bool is_constant() const {
    for (const Tensor& t : c)
      if (t.defined()) return false;
    return true;
  }
  Tensor at(std::size_t k) const { return k <= c.size() ? c[k - 1] : Tensor(); }
  // Terms up to t^order.
  Series truncated(std::size_t order) const {
    return {v, {c.begin(), c.begin() + static_cast<std::ptrdiff_t>(std::min(order, c.size()))}};
  }
};

// Products where 0 and 1 are structural; undefined is 0.
inline Tensor times(const Expr& a, const Tensor& b) {
  if (!b.defined() || a.is_constant(0)) return {};
  if (a.is_constant()) return a.c == 1 ? b : a.c == -1 ? neg(b) : mul(b, a.c);
  return mul(a.t, b);
}
inline Tensor times(const Tensor& a, const Tensor& b) { return a.defined() && b.defined() ? mul(a, b) : Tensor(); }
inline Tensor minus(const Tensor& a, const Tensor& b) {
  if (!b.defined()) return a;
  return a.defined() ? sub(a, b) : neg(b);
}
inline Tensor times_number(double factor, const Tensor& a) { return times(Expr(factor), a); }
inline double number(std::size_t k) { return static_cast<double>(k); }

// A series with these coefficients, computed one after the other: `next(k, c)` from those before.
inline Series built(Expr v, std::size_t order, const std::function<Tensor(std::size_t, const Series&)>& next) {
  Series y(std::move(v), std::vector<Tensor>(order));
  for (std::size_t k = 1; k <= order; ++k) y.c[k - 1] = next(k, y);
  return y;
}

// Σ a_j b_(k−j) over j = 1, …, k − 1: what is left of the coefficient of a product without the values at 0.
inline Tensor inner_terms(const Series& a, const Series& b, std::size_t k) {
  return sum_of_terms(1, k - 1, [&](std::size_t j) { return times(a.at(j), b.at(k - j)); });
}
// The same of a square, each product once.
inline Tensor inner_terms(const Series& a, std::size_t k) {
  const Tensor pairs =
      times_number(2, sum_of_terms(1, (k - 1) / 2, [&](std::size_t j) { return times(a.at(j), a.at(k - j)); }));
  return k % 2 ? pairs : add_cotangents(pairs, times(a.at(k / 2), a.at(k / 2)));
}
// j x_j, the coefficients of t x'.
inline std::vector<Tensor> slopes(const Series& x) {
  std::vector<Tensor> u;
  for (std::size_t j = 1; j <= x.order(); ++j) u.push_back(times_number(number(j), x.at(j)));
  return u;
}
// (1/k) Σ u_j p_(k−j) over j = 1, …, k: the next coefficient of y where y' = p x' and u = slopes(x).
inline Tensor integral_term(const std::vector<Tensor>& u, const Series& p, std::size_t k) {
  const Tensor terms =
      sum_of_terms(1, k, [&](std::size_t j) { return j == k ? times(p.v, u[j - 1]) : times(u[j - 1], p.at(k - j)); });
  return times_number(1 / number(k), terms);
}
// y with y(0) = v and y' = p x'. Where p is constant there is nothing to sum.
inline Series integral(Expr v, const Series& x, const Series& p) {
  if (p.is_constant()) return built(std::move(v), x.order(), [&](auto k, auto&) { return times(p.v, x.at(k)); });
  const std::vector<Tensor> u = slopes(x);
  return built(std::move(v), x.order(), [&](auto k, auto&) { return integral_term(u, p, k); });
}
// y with y(0) = v and q y' = x', given 1/q at 0; the value of q at 0 is not read.
inline Series integral_of_quotient(Expr v, const Series& x, const Series& q, const Expr& inverse) {
  return built(std::move(v), x.order(), [&](std::size_t k, const Series& y) {
    const Tensor known = sum_of_terms(
        1, k - 1, [&](std::size_t j) { return times_number(number(j) / number(k), times(y.at(j), q.at(k - j))); });
    return times(inverse, minus(x.at(k), known));
  });
}

// ---- Arithmetic

inline Series operator-(const Series& a) {
  return built(-a.v, a.order(), [&](auto k, auto&) { return times_number(-1, a.at(k)); });
}
inline Series operator+(const Series& a, const Series& b) {
  return built(a.v + b.v, std::max(a.order(), b.order()),
               [&](auto k, auto&) { return add_cotangents(a.at(k), b.at(k)); });
}
inline Series operator-(const Series& a, const Series& b) {
  return built(a.v - b.v, std::max(a.order(), b.order()), [&](auto k, auto&) { return minus(a.at(k), b.at(k)); });
}
inline Series operator*(const Series& a, const Series& b) {
  const Expr v = a.v.is_constant(0) || b.v.is_constant(0) ? Expr(0) : a.v * b.v;
  if (v.is_constant(0) && (a.is_constant() && b.is_constant())) return v;
  return built(v, std::max(a.order(), b.order()), [&](auto k, auto&) {
    return add_cotangents(add_cotangents(times(a.v, b.at(k)), times(b.v, a.at(k))), inner_terms(a, b, k));
  });
}
inline Series operator/(const Series& a, const Series& b) {
  const Expr v = a.v / b.v;
  if (a.is_constant() && b.is_constant()) return v;
  const Expr inverse = 1 / b.v;
  return built(v, std::max(a.order(), b.order()), [&](std::size_t k, const Series& q) {
    return times(inverse, minus(minus(a.at(k), times(v, b.at(k))), inner_terms(q, b, k)));
  });
}
inline Mask operator==(const Series& a, const Series& b) { return a.v == b.v; }
inline Mask operator!=(const Series& a, const Series& b) { return a.v != b.v; }
inline Mask operator<(const Series& a, const Series& b) { return a.v < b.v; }
inline Mask operator>(const Series& a, const Series& b) { return a.v > b.v; }
inline Tensor select(const Mask& m, const Tensor& a, const Tensor& b) {
  if (!a.defined() && !b.defined()) return {};
  if (m.is_constant()) return m.c ? a : b;
  const Tensor zero = scalar(0, (a.defined() ? a : b).dtype());
  return where(m.t, a.defined() ? a : zero, b.defined() ? b : zero);
}
inline Series select(const Mask& m, const Series& a, const Series& b) {
  return built(select(m, a.v, b.v), std::max(a.order(), b.order()),
               [&](auto k, auto&) { return select(m, a.at(k), b.at(k)); });
}

// ---- The functions of the table

#define EV_UNARY(Name, fun, ...) Series fun(const Series& x);
#define EV_UNARY_FLAT(Name, fun, ...) \
  inline Series fun(const Series& x) { return fun(x.v); }
#define EV_BINARY(Name, fun, ...) Series fun(const Series& x, const Series& y);
#define EV_BINARY_FLAT(Name, fun, ...) \
  inline Series fun(const Series& x, const Series& y) { return fun(x.v, y.v); }
#include "evolute/elementwise.def"

// F of a series that moves, where that is not the integral of the derivative in the table.
template <class F>
struct Recurrence : std::false_type {};
#define EV_RECURRENCE(Name)                      \
  template <>                                    \
  struct Recurrence<fn::Name> : std::true_type { \
    static Series of(const Series& x);           \
  };                                             \
  inline Series Recurrence<fn::Name>::of(const Series& x)

EV_RECURRENCE(Square) {
  return built(square(x.v), x.order(),
               [&](auto k, auto&) { return add_cotangents(times_number(2, times(x.v, x.at(k))), inner_terms(x, k)); });
}
EV_RECURRENCE(Sqrt) {
  const Expr y = sqrt(x.v), half_inverse = 0.5 / y;
  return built(y, x.order(), [&](auto k, auto& s) { return times(half_inverse, minus(x.at(k), inner_terms(s, k))); });
}
// x^a by x y' = a x' y.
inline Series power(const Expr& v, const Series& x, double a) {
  const Expr inverse = 1 / x.v;
  return built(v, x.order(), [&](std::size_t k, const Series& y) {
    const Tensor terms = sum_of_terms(1, k, [&](std::size_t j) {
      const Tensor product = j == k ? times(v, x.at(k)) : times(x.at(j), y.at(k - j));
      return times_number((a * number(j) - number(k - j)) / number(k), product);
    });
    return times(inverse, terms);
  });
}
EV_RECURRENCE(Rsqrt) { return power(rsqrt(x.v), x, -0.5); }
EV_RECURRENCE(Reciprocal) {
  const Expr y = reciprocal(x.v);
  return built(y, x.order(), [&](std::size_t k, const Series& q) {
    return times_number(-1, times(y, add_cotangents(times(y, x.at(k)), inner_terms(x, q, k))));
  });
}
EV_RECURRENCE(Exp) {
  const std::vector<Tensor> u = slopes(x);
  return built(exp(x.v), x.order(), [&](auto k, auto& y) { return integral_term(u, y, k); });
}
EV_RECURRENCE(Expm1) { return {expm1(x.v), exp(x).c}; }
EV_RECURRENCE(Log) { return integral_of_quotient(log(x.v), x, x, 1 / x.v); }
EV_RECURRENCE(Log1p) { return integral_of_quotient(log1p(x.v), x, x, 1 / (1 + x.v)); }
EV_RECURRENCE(Atan) { return integral_of_quotient(atan(x.v), x, square(x), fn::Atan::d1<Expr>(x.v)); }
EV_RECURRENCE(Atanh) { return integral_of_quotient(atanh(x.v), x, -square(x), fn::Atanh::d1<Expr>(x.v)); }

// y and z with y' = z x', z' = sign y x'.
inline std::pair<Series, Series> circular(const Expr& y0, const Expr& z0, const Series& x, double sign) {
  const std::vector<Tensor> u = slopes(x);
  Series y(y0, std::vector<Tensor>(x.order())), z(z0, std::vector<Tensor>(x.order()));
  for (std::size_t k = 1; k <= x.order(); ++k) {
    y.c[k - 1] = integral_term(u, z, k);
    z.c[k - 1] = times_number(sign, integral_term(u, y, k));
  }
  return {y, z};
}
EV_RECURRENCE(Sin) { return circular(sin(x.v), cos(x.v), x, -1).first; }
EV_RECURRENCE(Cos) { return circular(sin(x.v), cos(x.v), x, -1).second; }
EV_RECURRENCE(Sinh) { return circular(sinh(x.v), cosh(x.v), x, 1).first; }
EV_RECURRENCE(Cosh) { return circular(sinh(x.v), cosh(x.v), x, 1).second; }

// y and p with y' = p x', where p is a y + b y² but for a constant.
inline std::pair<Series, Series> riccati(const Expr& y0, const Expr& p0, const Series& x, double a, double b) {
  const std::vector<Tensor> u = slopes(x);
  Series y(y0, std::vector<Tensor>(x.order())), p(p0, std::vector<Tensor>(x.order()));
  const Expr slope = a + 2 * b * y0;
  for (std::size_t k = 1; k <= x.order(); ++k) {
    y.c[k - 1] = integral_term(u, p, k);
    p.c[k - 1] = add_cotangents(times(slope, y.at(k)), times_number(b, inner_terms(y, k)));
  }
  return {y, p};
}
EV_RECURRENCE(Tan) {
  const Expr y = tan(x.v);
  return riccati(y, 1 + y * y, x, 0, 1).first;
}
EV_RECURRENCE(Tanh) { return riccati(tanh(x.v), sech2(x.v), x, 0, -1).first; }
EV_RECURRENCE(Sech2) { return riccati(tanh(x.v), sech2(x.v), x, 0, -1).second; }
EV_RECURRENCE(Sigmoid) { return riccati(sigmoid(x.v), fn::Sigmoid::d1<Expr>(x.v), x, 1, -1).first; }
EV_RECURRENCE(SiLU) { return x * sigmoid(x); }
EV_RECURRENCE(GeLU) { return x * math::normal_cdf(x); }
#undef EV_RECURRENCE

template <class F>
Series moving(const Expr& v, const Series& x) {
  if constexpr (Recurrence<F>::value)
    return Recurrence<F>::of(x);
  else
    return integral(v, x, F::template d1<Series>(x.truncated(x.order() - 1)));
}
#define EV_UNARY(Name, fun, ...) \
  inline Series fun(const Series& x) { return x.is_constant() ? Series(fun(x.v)) : moving<fn::Name>(fun(x.v), x); }
#include "evolute/elementwise.def"

inline Series mul(const Series& x, const Series& y) { return x * y; }
inline Series div(const Series& x, const Series& y) { return x / y; }

// h² = x² + y². All is 0 at the origin, as the derivatives are.
inline Series hypot(const Series& x, const Series& y) {
  const Expr h = hypot(x.v, y.v);
  if (x.is_constant() && y.is_constant()) return h;
  const Mask origin = h == Expr(0);
  const Expr inverse = select(origin, Expr(0), 1 / select(origin, Expr(1), h)), u = x.v * inverse, v = y.v * inverse;
  return built(h, std::max(x.order(), y.order()), [&](std::size_t k, const Series& s) {
    const Tensor squares = minus(add_cotangents(inner_terms(x, k), inner_terms(y, k)), inner_terms(s, k));
    return add_cotangents(add_cotangents(times(u, x.at(k)), times(v, y.at(k))),
                          times_number(0.5, times(inverse, squares)));
  });
}

// The number that a constant is, if it is a single one and known.
inline std::optional<double> known_number(const Expr& e) {
  if (e.is_constant()) return e.c;
  if (e.t.value()->level() || e.t.size() != 1) return {};
  return e.t.item();
}

inline Series natural_power(const Series& x, std::int64_t n) {
  if (n == 1) return x;
  const Series half = square(natural_power(x, n / 2));
  return n % 2 ? half * x : half;
}

// x^a for a that does not move, right where x is 0: Σ (a choose m) x₀^(a−m) w^m with w = x − x₀.
inline Series binomial_power(const Expr& v, const Series& x, const Expr& a) {
  const std::size_t n = x.order();
  Series total(v, std::vector<Tensor>(n)), w(Expr(0), x.c), w_m = w;
  Expr choose = 1;
  for (std::size_t m = 1; m <= n; ++m) {
    if (m > 1) w_m = w_m * w;
    choose = choose * (a - number(m - 1)) / number(m);
    const Mask none = choose == Expr(0);
    const Expr factor = choose * pow(select(none, Expr(1), x.v), a - number(m));
    for (std::size_t k = m; k <= n; ++k)
      total.c[k - 1] = add_cotangents(total.c[k - 1], times(select(none, Expr(0), factor), w_m.at(k)));
  }
  return total;
}

inline Series pow(const Series& x, const Series& y) {
  constexpr std::int64_t kMostFactors = 64;
  if (x.is_constant() && y.is_constant()) return pow(x.v, y.v);
  if (!y.is_constant()) {  // exp(y log x), from the value that pow has
    const Series z = y * math::pow_log(x, y, 0);
    const std::vector<Tensor> u = slopes(z);
    return built(pow(x.v, y.v), z.order(), [&](auto k, auto& s) { return integral_term(u, s, k); });
  }
  const std::optional<double> a = known_number(y.v);
  if (!a) return binomial_power(pow(x.v, y.v), x, y.v);
  if (*a == 0) return Series(1);
  if (*a == std::floor(*a) && std::abs(*a) <= number(kMostFactors)) {
    const Series p = natural_power(x, static_cast<std::int64_t>(std::abs(*a)));
    return *a > 0 ? p : reciprocal(p);
  }
  if (*a < 0) return power(pow(x.v, y.v), x, *a);
  // Where x is 0, derivatives of an order below a are 0, and those above are infinite.
  const Mask zero = x.v == Expr(0);
  Series p = power(pow(x.v, y.v), {select(zero, Expr(1), x.v), x.c}, *a);
  for (std::size_t k = 1; k <= p.order(); ++k) {
    const double there = number(k) < *a ? 0 : std::numeric_limits<double>::infinity();
    if (p.c[k - 1].defined()) p.c[k - 1] = select(zero, times_number(there, ones_like(p.c[k - 1])), p.c[k - 1]);
  }
  return p;
}

// A function of two arguments is the integral of its partial derivatives.
#define EV_INTEGRAL2(Name, fun)                                                                                  \
  inline Series fun(const Series& x, const Series& y) {                                                          \
    const Expr v = fun(x.v, y.v);                                                                                \
    if (x.is_constant() && y.is_constant()) return v;                                                            \
    const std::size_t n = std::max(x.order(), y.order());                                                        \
    const Series a = x.truncated(n - 1), b = y.truncated(n - 1);                                                 \
    const Series s = integral(v, x, fn::Name::dx<Series>(a, b)), t = integral(v, y, fn::Name::dy<Series>(a, b)); \
    return built(v, n, [&](auto k, auto&) { return add_cotangents(s.at(k), t.at(k)); });                         \
  }
EV_INTEGRAL2(Atan2, atan2)
EV_INTEGRAL2(Maximum, maximum)
EV_INTEGRAL2(Minimum, minimum)
EV_INTEGRAL2(Mod, mod)
#undef EV_INTEGRAL2

}  // namespace evolute
