// pow, mod and floor_div on Vec. Coefficients are made by bench/minimax.py.
#pragma once

#include "cpu/simd/math_exp.h"
#include "cpu/simd/math_log.h"
#include "cpu/simd/scale.h"

namespace evolute::math {
EV_LEVEL_BEGIN

// An unevaluated sum.
template <class T>
struct Pair {
  Vec<T> hi, lo;
};

// ((atanh(s)/s − 1)/s² − 1/3)/s² of s², |s| ≤ (√2 − 1)/(√2 + 1).
inline constexpr float kPowF[] = {0x1.999ap-3f, 0x1.24527cp-3f, 0x1.dfa254p-4f};
inline constexpr double kPowD[] = {0x1.9999999999b3p-3,  0x1.2492492457d6dp-3, 0x1.c71c722d64b02p-4,
                                   0x1.745ce9e3f70b6p-4, 0x1.3b1eebeefde5ap-4, 0x1.0f7fec161890ep-4,
                                   0x1.0e429634f3352p-4};
// log x for finite x > 0 to a good 10 bits more than T has, so that y log x is accurate enough for exp: with x = m 2ᵉ
// and s = (m − 1)/(m + 1), log x = e ln 2 + 2 atanh s = e ln 2 + 2 (s + s (s²/3 + s⁴ (…))), where s, s², 1/3 and the
// sums have two parts (Dekker, A floating-point technique for extending the available precision, 1971; Tang,
// Table-driven implementation of the logarithm function, 1990, for the plan).
template <class T>
EV_INLINE Pair<T> log_pair(Vec<T> x) {
  using V = Vec<T>;
  constexpr T third = T(1) / 3, third_low = sizeof(T) == 4 ? T(-0x1.555556p-27) : T(0x1.5555555555555p-56);
  const auto [m, e] = split(x);
  const V f = m - 1, d = m + 1, d_low = m - (d - 1);
  const V inverse = 1 / d;
  const V s = f * inverse;
  const V s_low = fma(-s, d_low, fma(-s, d, f)) * inverse;
  const V z = s * s;
  const V z_low = fma(s, s_low + s_low, fma(s, s, -z));
  const V a = z * V(third);
  const V a_low = fma(z, V(third), -a) + fma(z, V(third_low), z_low * V(third));
  const V w = z * z * horner(z, kPowF, kPowD);
  const V u = a + w, u_low = a - u + w + a_low;
  const V p = s * u;
  const V p_low = fma(s, u, -p) + fma(s, u_low, s_low * u);
  const V t = s + p, t_low = s - t + p + (p_low + s_low);
  const V k = e * V(Ln2Short<T>::hi);
  const V hi = k + 2 * t;
  return {hi, k - hi + 2 * t + fma(e, V(Ln2Short<T>::lo), 2 * t_low)};
}

template <class T>
EV_INLINE Vec<T> square_less(Vec<T> y) {
  return fma(y, y, -y);
}

// k x^(y − j) for a small integer j. The power is p 2ⁿ until k has been multiplied in, and x^−j is a division by the
// fraction of x and a difference of exponents: so only the result can overflow, underflow, or be rounded as a subnormal
// number, and y − j is not formed, whose rounding error would be magnified by log x.
template <class T>
EV_INLINE Vec<T> pow_term(Vec<T> k, Vec<T> x, Vec<T> y, int j) {
  using V = Vec<T>;
  constexpr T inf = Format<T>::infinity;
  constexpr T end = 2 * Format<T>::bias;  // beyond 2^±end results are 0 or inf
  const V a = abs(x);
  const auto [l, l_low] = log_pair(a);
  const V exponent = select(a == 1, V(0), y);  // 1 also for infinite y
  V hi = exponent * l, lo = fma(exponent, l, -hi) + exponent * l_low;
#if !defined(__AVX512F__)
  constexpr T bound = sizeof(T) == 4 ? T(500) : T(3500);
  lo = select(abs(hi) < V(bound), lo, V(0));
  hi = at_least(at_most(hi, bound), -bound);
#endif
  const V magic = kRoundMagic<T>;
  V n = fma(hi, V(0x1.71547652b82fep+0), magic) - magic;
  const V r = bounded(fma(n, V(-Ln2<T>::hi), hi) + fma(n, V(-Ln2<T>::lo), lo));
  V p = k * fma(r, expm1_quotient(r), V(1));
  if (j != 0) {
    const auto [m, e] = split(a);
    p = j == 1 ? p * (1 / m) : p / (m * m);
    n = n - e * V(j);
  }
  p = select(n < V(2 - end), V(0), p);  // even if k is infinite
#if !defined(__AVX512F__)
  n = at_least(at_most(n, end), 2 - end);
#endif
  V size = scale(p, n);

  const auto edge = a == 0 || a == V(inf);
  if (any(edge)) [[unlikely]] {
    const V power = select(y == V(j), V(1), select((y > V(j)) == (a > 1), V(inf), V(0)));
    size = select(edge, select(k == 0 || power == 0, V(0), k * power), size);
  }
  const V half = 0.5 * y;
  const auto integer = floor(y) == y, even = floor(half) == half;
  const auto odd = j % 2 != 0 ? even || !integer : integer && !even;  // if not an integer: beside an infinity only
  const auto none = (x < 0 && !integer && a < V(inf)) || x != x || y != y;
  return select(none, V(Format<T>::nan), select(odd, flip_sign(size, x), size));
}

template <class T>
EV_INLINE Vec<T> pow(Vec<T> x, Vec<T> y) {
  return select(y == 0 || x == 1, Vec<T>(1), pow_term(Vec<T>(1), x, y, 0));
}

// log x from the same steps.
template <class T>
EV_INLINE Vec<T> pow_log(Vec<T> x, Vec<T>, int) {
  const auto [hi, lo] = log_pair(abs(x));
  return log_edges(hi + lo, x);
}

// ⌊x / y⌋ and what is left over. The quotient is rounded, perhaps up to an integer: a remainder of the wrong sign
// tells. It is exact while the quotient has no more bits than T, by FMA; else, and for what is not finite, lanes go one
// by one.
template <class T>
struct Division {
  Vec<T> q, r;
  bool reliable;
};
template <class T>
EV_INLINE Division<T> divide_down(Vec<T> x, Vec<T> y) {
  using V = Vec<T>;
  const V q = floor(x / y);
  const V r = fma(-q, y, x);
  const auto wrong = r != 0 && (r < 0) != (y < 0);
  const V mod = select(wrong, r + y, r);
  const bool reliable =
      !any(!(abs(q) < V(T(std::int64_t{1} << (Format<T>::fraction - 1)))) || abs(y) == V(Format<T>::infinity));
  return {select(wrong, q - 1, q), select(mod == 0, copysign(V(0), y), mod), reliable};
}

template <class T>
EV_INLINE Vec<T> mod(Vec<T> x, Vec<T> y) {
  const auto d = divide_down(x, y);
  if (d.reliable) [[likely]]
    return d.r;
  return each_lane(x, y, [](T a, T b) { return mod(Scalar<T>(a), Scalar<T>(b)).v; });
}
template <class T>
EV_INLINE Vec<T> floor_div(Vec<T> x, Vec<T> y) {
  const auto d = divide_down(x, y);
  if (d.reliable) [[likely]]
    return d.q;
  return each_lane(x, y, [](T a, T b) { return floor_div(Scalar<T>(a), Scalar<T>(b)).v; });
}

EV_LEVEL_END
}  // namespace evolute::math
