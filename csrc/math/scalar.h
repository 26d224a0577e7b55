// Scalar<T>: the one-lane value type that the elementwise formulas are evaluated on, and the functions they call.
//
// A wrapper rather than a bare T, so that `0.5 * x` stays in T and integer arithmetic wraps instead of being undefined.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

// Functions that CUDA's compilers build for both sides.
#if defined(__CUDACC__)
#define EV_HD __host__ __device__
#else
#define EV_HD
#endif

// Code compiled for several instruction sets (cpu/simd.h) gets names of its own for each, or a linker would keep one
// copy of an inline function and use it for all.
#if defined(EV_SIMD_LEVEL)
#define EV_LEVEL_BEGIN inline namespace EV_SIMD_LEVEL {
#define EV_LEVEL_END }
#else
#define EV_LEVEL_BEGIN
#define EV_LEVEL_END
#endif

namespace evolute::math {
EV_LEVEL_BEGIN

inline constexpr double kTwoOverSqrtPi = 1.12837916709551257390;
inline constexpr double kSqrtTwo = 1.41421356237309504880;
inline constexpr double kSqrtHalf = 0.70710678118654752440;
inline constexpr double kInvSqrtTwoPi = 0.39894228040143267794;

template <class T>
struct Scalar {
  T v;

  Scalar() = default;
  template <class U>
    requires std::is_arithmetic_v<U>
  EV_HD constexpr Scalar(U u) : v(static_cast<T>(u)) {}

 private:
  // Integers are computed modulo 2ⁿ.
  using Wrap = std::conditional_t<std::is_floating_point_v<T>, T,
                                  std::make_unsigned_t<std::conditional_t<std::is_integral_v<T>, T, int>>>;
  EV_HD constexpr Wrap w() const { return static_cast<Wrap>(v); }

 public:
  EV_HD friend constexpr Scalar operator+(Scalar a, Scalar b) { return a.w() + b.w(); }
  EV_HD friend constexpr Scalar operator-(Scalar a, Scalar b) { return a.w() - b.w(); }
  EV_HD friend constexpr Scalar operator*(Scalar a, Scalar b) { return a.w() * b.w(); }
  EV_HD friend constexpr Scalar operator/(Scalar a, Scalar b) { return a.v / b.v; }
  EV_HD friend constexpr Scalar operator-(Scalar a) { return std::is_integral_v<T> ? Scalar(T(0)) - a : Scalar(-a.v); }
  EV_HD friend constexpr bool operator==(Scalar a, Scalar b) { return a.v == b.v; }
  EV_HD friend constexpr bool operator!=(Scalar a, Scalar b) { return a.v != b.v; }
  EV_HD friend constexpr bool operator<(Scalar a, Scalar b) { return a.v < b.v; }
  EV_HD friend constexpr bool operator<=(Scalar a, Scalar b) { return a.v <= b.v; }
  EV_HD friend constexpr bool operator>(Scalar a, Scalar b) { return a.v > b.v; }
  EV_HD friend constexpr bool operator>=(Scalar a, Scalar b) { return a.v >= b.v; }
  EV_HD friend constexpr Scalar select(bool c, Scalar a, Scalar b) { return c ? a : b; }
  EV_HD friend Scalar hypot(Scalar a, Scalar b) { return std::hypot(a.v, b.v); }
};

// A boolean operand of a logical kernel.
template <>
struct Scalar<bool> {
  bool v;
  Scalar() = default;
  EV_HD constexpr Scalar(bool b) : v(b) {}
  EV_HD friend constexpr bool operator==(Scalar a, int b) { return a.v == (b != 0); }
  EV_HD friend constexpr bool operator!=(Scalar a, int b) { return a.v != (b != 0); }
};

#define EV_STD_FUNCTION(fn)         \
  template <class T>                \
  EV_HD Scalar<T> fn(Scalar<T> x) { \
    return std::fn(x.v);            \
  }
EV_STD_FUNCTION(sqrt)
EV_STD_FUNCTION(exp)
EV_STD_FUNCTION(expm1)
EV_STD_FUNCTION(log)
EV_STD_FUNCTION(log1p)
EV_STD_FUNCTION(sin)
EV_STD_FUNCTION(cos)
EV_STD_FUNCTION(tan)
EV_STD_FUNCTION(asin)
EV_STD_FUNCTION(acos)
EV_STD_FUNCTION(atan)
EV_STD_FUNCTION(sinh)
EV_STD_FUNCTION(cosh)
EV_STD_FUNCTION(tanh)
EV_STD_FUNCTION(asinh)
EV_STD_FUNCTION(acosh)
EV_STD_FUNCTION(atanh)
EV_STD_FUNCTION(erf)
EV_STD_FUNCTION(erfc)
#undef EV_STD_FUNCTION

template <class T>
EV_HD Scalar<T> hypot(Scalar<T> x, Scalar<T> y) {
  return std::hypot(x.v, y.v);
}
template <class T>
EV_HD Scalar<T> atan2(Scalar<T> y, Scalar<T> x) {
  return std::atan2(y.v, x.v);
}

template <class T>
EV_HD Scalar<T> abs(Scalar<T> x) {
  if constexpr (std::is_integral_v<T>)
    return x.v < 0 ? -x : x;
  else
    return std::fabs(x.v);
}
template <class T>
EV_HD Scalar<T> sign(Scalar<T> x) {  // NaN stays NaN
  return select(x > 0, Scalar<T>(1), select(x < 0, Scalar<T>(-1), x));
}

#define EV_ROUNDING(fn, std_fn)          \
  template <class T>                     \
  EV_HD Scalar<T> fn(Scalar<T> x) {      \
    if constexpr (std::is_integral_v<T>) \
      return x;                          \
    else                                 \
      return std::std_fn(x.v);           \
  }
EV_ROUNDING(floor, floor)
EV_ROUNDING(ceil, ceil)
EV_ROUNDING(round, nearbyint)
EV_ROUNDING(trunc, trunc)
#undef EV_ROUNDING

// Integer powers by squaring; a negative exponent gives 0 unless the base is ±1.
template <class T>
EV_HD Scalar<T> pow(Scalar<T> x, Scalar<T> y) {
  if constexpr (std::is_integral_v<T>) {
    if (y.v < 0) return x.v == 1 ? T(1) : x.v == -1 ? T(y.v % 2 ? -1 : 1) : T(0);
    Scalar<T> p = 1;
    for (T n = y.v; n; n /= 2) {
      if (n % 2) p = p * x;
      x = x * x;
    }
    return p;
  } else {
    return std::pow(x.v, y.v);
  }
}

// Integers: 0 for a zero divisor, as in NumPy.
template <class T>
EV_HD Scalar<T> floor_div(Scalar<T> x, Scalar<T> y) {
  if constexpr (std::is_integral_v<T>) {
    if (y.v == 0) return T(0);
    if (y.v == -1) return -x;
    const T q = x.v / y.v;
    return static_cast<T>(q - (x.v % y.v != 0 && (x.v < 0) != (y.v < 0)));
  } else {
    // As NumPy does: the fraction goes before the division, and the sign of a zero is that of the quotient.
    if (y.v == 0) return x.v / y.v;
    const T r = std::fmod(x.v, y.v), q = (x.v - r) / y.v - (r != 0 && (r < 0) != (y.v < 0));
    return q == 0 ? std::copysign(T(0), x.v / y.v) : std::nearbyint(q);
  }
}
template <class T>
EV_HD Scalar<T> mod(Scalar<T> x, Scalar<T> y) {
  if constexpr (std::is_integral_v<T>) {
    return y.v == 0 ? Scalar<T>(0) : x - y * floor_div(x, y);
  } else {
    const T r = std::fmod(x.v, y.v);
    return r == 0 ? std::copysign(T(0), y.v) : (r < 0) != (y.v < 0) ? r + y.v : r;
  }
}

template <class V>
EV_HD constexpr V square(V x) {
  return x * x;
}
template <class V>
EV_HD constexpr V rsqrt(V x) {
  return 1 / sqrt(x);
}
// 1 − x²; nothing cancels near ±1.
template <class V>
EV_HD constexpr V one_minus_square(V x) {
  return (1 - x) * (1 + x);
}
// x² − 1, likewise.
template <class V>
EV_HD constexpr V square_minus_one(V x) {
  return (x - 1) * (x + 1);
}
// 1 + x²
template <class V>
constexpr V one_plus_square(V x) {
  return 1 + x * x;
}
// y² − y
template <class V>
EV_HD constexpr V square_less(V y) {
  return y * (y - 1);
}
// k x^(y − j), and the logarithm as a part of k: terms of the derivatives of pow. Where a factor is 0 at x = 0, the
// other is made finite, so that the product is 0 and its own derivatives are.
template <class V>
EV_HD constexpr V pow_term(V k, V x, V y, int j) {
  return k * pow(x, select(x == 0 && k == 0, V(j), y) - j);
}
template <class V>
EV_HD constexpr V pow_log(V x, V y, int j) {
  return log(select(x == 0 && y > j, V(1), x));
}
// 1/(1 + x²), also where x² overflows.
template <class V>
EV_HD constexpr V inverse_one_plus_square(V x) {
  const auto large = abs(x) > 1e9;
  const V inverse = 1 / select(large, x, one_plus_square(x));
  return inverse * select(large, inverse, V(1));
}
// x/h, y/h and 1/h with h = hypot(x, y); 0, 0 and 1 at the origin.
template <class V>
struct Direction {
  V x, y, inverse;
};
template <class V>
EV_HD constexpr Direction<V> direction(V x, V y) {
  const V h = select(x == 0 && y == 0, V(1), hypot(x, y));
  return {x / h, y / h, 1 / h};
}
// x/h² and y/h².
template <class V>
struct Point {
  V x, y;
};
template <class V>
EV_HD constexpr Point<V> inversion(V x, V y) {
  const Direction<V> d = direction(x, y);
  return {d.x * d.inverse, d.y * d.inverse};
}
// 1/√(x² + 1), also where x² overflows.
template <class V>
EV_HD constexpr V asinh_d1(V x) {
  const auto large = abs(x) > 1e9;
  return select(large, abs(1 / x), rsqrt(one_plus_square(select(large, V(0), x))));
}
// 1/√(x² − 1), and −x/(x² − 1) times that.
template <class V>
EV_HD constexpr V acosh_d1(V x) {
  const auto large = x > 1e9;
  return select(large, 1 / x, rsqrt(square_minus_one(select(large, V(2), x))));
}
template <class V>
EV_HD constexpr V acosh_d2(V x) {
  const auto large = x > 1e9;
  return -(x * acosh_d1(x)) * select(large, (1 / x) * (1 / x), 1 / square_minus_one(select(large, V(2), x)));
}
// 1/cosh² through e = exp(−2|x|), which neither cancels nor overflows.
template <class V>
EV_HD constexpr V sech2(V x) {
  const V e = exp(-2 * abs(x));
  return 4 * e / (1 + e * (2 + e));
}
template <class V>
EV_HD constexpr V sech2_d1(V x) {
  return -2 * tanh(x) * sech2(x);
}
template <class V>
EV_HD constexpr V sech2_d2(V x) {
  return 2 * sech2(x) * (2 - 3 * sech2(x));
}
template <class V>
EV_HD constexpr V sigmoid(V x) {
  const V e = exp(-abs(x));
  return select(x < 0, e, V(1)) / (1 + e);
}
template <class V>
EV_HD constexpr V sigmoid_d1(V x) {
  return 0.25 * sech2(0.5 * x);
}
template <class V>
EV_HD constexpr V sigmoid_d2(V x) {
  return 0.125 * sech2_d1(0.5 * x);
}
template <class V>
EV_HD constexpr V silu_d1(V x) {
  return sigmoid(x) * (1 + x * sigmoid(-x));
}
template <class V>
EV_HD constexpr V softplus(V x) {
  return select(x > 0 || x != x, x, V(0)) + log1p(exp(-abs(x)));
}
template <class V>
EV_HD constexpr V normal_cdf(V x) {
  return 0.5 * erfc(-kSqrtHalf * x);
}
// The rounding error of x/√2, magnified by x², is made up for.
template <class T>
EV_HD Scalar<T> normal_cdf(Scalar<T> x) {
  using S = Scalar<T>;
  constexpr T c = static_cast<T>(kSqrtHalf),
              rest = static_cast<T>(kSqrtHalf - c + (sizeof(T) == 8 ? -4.833646656726457e-17 : 0));
  const T z = -x.v * c;
  const T error = std::fma(-x.v, c, -z) - x.v * rest;
  return 0.5 * (erfc(S(z)) - select(abs(x) < 40, kTwoOverSqrtPi * exp(S(-z * z)) * error, S(0)));
}
template <class V>
EV_HD constexpr V erf_d1(V x) {
  return kTwoOverSqrtPi * exp(-(x * x));
}
template <class V>
EV_HD constexpr V erf_d2(V x) {
  return -2 * (x * (kTwoOverSqrtPi * exp(-(x * x))));
}
template <class V>
EV_HD constexpr V gelu_d1(V x) {
  return normal_cdf(x) + x * (kInvSqrtTwoPi * exp(-0.5 * x * x));
}
template <class V>
EV_HD constexpr V gelu_d2(V x) {
  return (kSqrtTwo - x) * ((kSqrtTwo + x) * (kInvSqrtTwoPi * exp(-0.5 * x * x)));
}

EV_LEVEL_END
}  // namespace evolute::math
