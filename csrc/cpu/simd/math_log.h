// log, log1p, asinh, acosh and atanh on Vec. Coefficients are made by bench/minimax.py.
//
// x = m 2ᵉ with √½ ≤ m < √2 and log x = e ln 2 + log m: so nothing cancels near 1, where e = 0.
#pragma once

#include "cpu/simd/scale.h"

namespace evolute::math {
EV_LEVEL_BEGIN

// (log(1 + f) − f)/f² of f, √½ ≤ 1 + f ≤ √2.
inline constexpr float kLog1pF[] = {-0x1.fffff8p-2f, 0x1.55555p-2f,   -0x1.000438p-2f, 0x1.99a41cp-3f, -0x1.5423e8p-3f,
                                    0x1.226c84p-3f,  -0x1.0f5204p-3f, 0x1.0874eap-3f,  -0x1.381352p-4f};
inline constexpr double kLog1pD[] = {-0x1p-1,
                                     0x1.555555555556bp-2,
                                     -0x1.ffffffffffe85p-3,
                                     0x1.9999999994d9dp-3,
                                     -0x1.555555556ab4bp-3,
                                     0x1.249249275d0b7p-3,
                                     -0x1.fffffff3dda93p-4,
                                     0x1.c71c702e982d2p-4,
                                     -0x1.99999a991d7ecp-4,
                                     0x1.745d58ba2b46bp-4,
                                     -0x1.5555774e327aep-4,
                                     0x1.3b0d7af03e73cp-4,
                                     -0x1.248945969cfd6p-4,
                                     0x1.1169e286970f7p-4,
                                     -0x1.00cfc642f7ee3p-4,
                                     0x1.dc999545643d2p-5,
                                     -0x1.b45e80f9f1d19p-5,
                                     0x1.bba55269ac952p-5,
                                     -0x1.01041b8168d4fp-4,
                                     0x1.d2bc39ab351d5p-5,
                                     -0x1.8dd7c4f2a707ep-6};
// (atanh(s)/s − 1)/s² of s², |s| ≤ 1/3.
inline constexpr float kAtanhF[] = {0x1.555556p-2f, 0x1.9998fcp-3f, 0x1.24a93p-3f,
                                    0x1.c46c34p-4f, 0x1.824634p-4f, 0x1.53f3cap-4f};
inline constexpr double kAtanhD[] = {0x1.5555555555556p-2, 0x1.9999999999659p-3, 0x1.24924924ba277p-3,
                                     0x1.c71c71a9c7974p-4, 0x1.745d1d6c0bdeap-4, 0x1.3b12e43c551f2p-4,
                                     0x1.112262074d7e9p-4, 0x1.dff4e3084cfa7p-5, 0x1.c0fad3e341757p-5,
                                     0x1.20256cc39c689p-5, 0x1.4ff20ab7dec74p-4};

// Double: in halves for its latency; float: the sum of the halves would add to an error near the bound.
template <class T>
EV_INLINE Vec<T> log1p_polynomial(Vec<T> f) {
  if constexpr (sizeof(T) == 4)
    return horner(f, kLog1pF);
  else
    return horner_halves(f, kLog1pD);
}

// e ln 2 + log(1 + f) for integral e and √½ ≤ 1 + f ≤ √2.
template <class T>
EV_INLINE Vec<T> log_sum(Vec<T> e, Vec<T> f) {
  using V = Vec<T>;
  const V k = e * V(Ln2Short<T>::hi);
  const V hi = k + f, lo = k - hi + f;  // Fast2Sum
  return hi + fma(f * f, log1p_polynomial(f), fma(e, V(Ln2Short<T>::lo), lo));
}

// y, the logarithm of x, where 0 < x < inf; what IEEE says elsewhere.
template <class T>
EV_INLINE Vec<T> log_edges(Vec<T> y, Vec<T> x) {
  using V = Vec<T>;
#if defined(__AVX512F__)
  // By class of x, from the right: NaN, NaN → x; 0 → −inf; 1 → y; −inf → NaN; inf → inf; negative → NaN; positive → y.
  constexpr int response = 0x03530422;
  if constexpr (sizeof(T) == 4)
    return {(typename V::V)_mm512_fixupimm_ps((__m512)y.v, (__m512)x.v, _mm512_set1_epi32(response), 0)};
  else
    return {(typename V::V)_mm512_fixupimm_pd((__m512d)y.v, (__m512d)x.v, _mm512_set1_epi64(response), 0)};
#else
  using F = Format<T>;
  const V outside = select(x == 0, V(-F::infinity), select(x < 0, V(F::nan), x));
  return select(x > 0 && x < V(F::infinity), y, outside);
#endif
}

template <class T>
EV_INLINE Vec<T> log(Vec<T> x) {
  const auto [m, e] = split(x);
  return log_edges(log_sum(e, m - 1), x);
}

// log(1 + x), x > −1 and not inf, plus `more` ln 2. The rounding error of 1 + x goes into the argument of the
// polynomial.
template <class T>
EV_INLINE Vec<T> log1p_finite(Vec<T> x, Vec<T> u, Vec<T> more) {
  using V = Vec<T>;
  const auto [m, e] = split(u);
  const V error = x - (u - 1);
  return log_sum(e + more, fma(error, exp2_integer(-at_most(e, T(100))), m - 1));
}

template <class T>
EV_INLINE Vec<T> log1p(Vec<T> x) {
  const Vec<T> u = 1 + x;
  return copysign(log_edges(log1p_finite(x, u, Vec<T>(0)), u), x);
}

// log(x + √(x² + 1)) = log(1 + (x + x²/(1 + √(1 + x²)))); log 2x for large x.
template <class T>
EV_INLINE Vec<T> asinh(Vec<T> x) {
  using V = Vec<T>;
  const V a = abs(x);
  const auto large = a > V(sizeof(T) == 4 ? 0x1p30 : 0x1p60);
  const V s = a * a;
  const V t = select(large, a, a + s / (1 + sqrt(1 + s)));
  const V y = log1p_finite(t, 1 + t, select(large, V(1), V(0)));
  return copysign(select(a < V(Format<T>::infinity), y, a), x);
}

// log(x + √(x² − 1)) = log(1 + (y + √(y² + 2y))) with y = x − 1; log 2x for large x.
template <class T>
EV_INLINE Vec<T> acosh(Vec<T> x) {
  using V = Vec<T>;
  const auto large = x > V(sizeof(T) == 4 ? 0x1p30 : 0x1p60);
  const V y = x - 1;
  const V t = select(large, x, y + sqrt(fma(y, y, y + y)));
  const V z = log1p_finite(t, 1 + t, select(large, V(1), V(0)));
  return select(x >= 1, select(x < V(Format<T>::infinity), z, x), V(Format<T>::nan));
}

// ½ log(p/q) with p = 1 + |x| and q = 1 − |x|. With p/q between 2ᵉ and 2ᵉ⁺¹ that is ½ e ln 2 + atanh(s),
// s = (p − 2ᵉq)/(p + 2ᵉq), 0 ≤ s ≤ 1/3: two terms of one sign. The rounding errors of p, q and s are carried along.
template <class T>
EV_INLINE Vec<T> atanh(Vec<T> x) {
  using V = Vec<T>;
  using F = Format<T>;
  using U = typename V::U;
  const V a = abs(x);
  const V p = 1 + a, p_low = a - (p - 1);
  const V q = 1 - a, q_low = (1 - q) - a;
  // p ≥ q: the difference of their bits, without those of the fraction, is e.
  const U e_bits = ((U)p.bits() - (U)q.bits()) >> F::fraction;
  const V two_e = V::from_bits((e_bits + F::bias) << F::fraction);
  const V magic = kRoundMagic<T>;
  const V e = V::from_bits((U)magic.bits() + e_bits) - magic;
  const V d = two_e * q, d_low = two_e * q_low;
  const V num = p - d, num_low = p_low - d_low;  // num is exact
  const V den = p + d, den_low = (p - den) + d + (p_low + d_low);
  const V inverse = 1 / den;
  const V s = num * inverse;
  const V s_low = (fnma(s, den, num) + fnma(s, den_low, num_low)) * inverse;
  const V z = s * s;
  const V k = e * V(Ln2Short<T>::hi / 2);
  const V hi = k + s, lo = k - hi + s;  // Fast2Sum
  const V y = hi + fma(s * z, horner(z, kAtanhF, kAtanhD), fma(e, V(Ln2Short<T>::lo / 2), lo) + s_low);
  const V edge = select(a == 1, V(F::infinity), V(F::nan));
  return copysign(select(a < 1, y, edge), x);
}

EV_LEVEL_END
}  // namespace evolute::math
