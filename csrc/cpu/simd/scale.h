// Exponents and fractions of Vec: bounds that keep NaN, products with powers of two, splitting into both.
#pragma once

#include "cpu/simd/vec.h"

namespace evolute::math {
EV_LEVEL_BEGIN

template <class T>
struct Format;
template <>
struct Format<float> {
  static constexpr int fraction = 23, bias = 127;
  static constexpr float smallest = 0x1p-126f, infinity = __builtin_inff(), nan = __builtin_nanf("");
};
template <>
struct Format<double> {
  static constexpr int fraction = 52, bias = 1023;
  static constexpr double smallest = 0x1p-1022, infinity = __builtin_inf(), nan = __builtin_nan("");
};

// ln 2 in two parts, with few enough bits in the first part that its product with an exponent is exact.
template <class T>
struct Ln2Short {
  static constexpr T hi = 0x1.62e4p-1f, lo = 0x1.7f7d1cp-20f;
};
template <>
struct Ln2Short<double> {
  static constexpr double hi = 0x1.62e42fefap-1, lo = 0x1.cf79abc9e3b3ap-40;
};

// The polynomial whose coefficients are given for float and for double.
template <class T, std::size_t N, std::size_t M>
EV_INLINE Vec<T> horner(Vec<T> x, const float (&f)[N], const double (&d)[M]) {
  if constexpr (sizeof(T) == 4)
    return horner(x, f);
  else
    return horner(x, d);
}

// The same as P(x²) + x Q(x²): half the latency, for long ones.
template <class T, std::size_t N>
EV_INLINE Vec<T> horner_halves(Vec<T> x, const T (&c)[N]) {
  const Vec<T> s = x * x;
  Vec<T> p[2] = {c[N - 1], c[N - 2]};
#pragma GCC unroll 32
  for (int i = static_cast<int>(N) - 3; i >= 0; --i) {
    Vec<T>& q = p[(N - 1 - i) % 2];
    q = fma(q, s, Vec<T>(c[i]));
  }
  return fma(p[N % 2], x, p[(N - 1) % 2]);
}
// The smaller and the larger of x and a bound; x where it is NaN. (x86 gives the second operand if one is NaN.)
template <class T>
EV_INLINE Vec<T> at_most(Vec<T> x, T bound) {
  using V = Vec<T>;
  const V b = bound;
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)
    return {(typename V::V)_mm512_maskz_min_ps(kAllF, (__m512)b.v, (__m512)x.v)};
  else
    return {(typename V::V)_mm512_maskz_min_pd(kAllD, (__m512d)b.v, (__m512d)x.v)};
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4)
    return {(typename V::V)_mm256_min_ps((__m256)b.v, (__m256)x.v)};
  else
    return {(typename V::V)_mm256_min_pd((__m256d)b.v, (__m256d)x.v)};
#else
  return select(x > b, b, x);
#endif
}
template <class T>
EV_INLINE Vec<T> at_least(Vec<T> x, T bound) {
  using V = Vec<T>;
  const V b = bound;
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)
    return {(typename V::V)_mm512_maskz_max_ps(kAllF, (__m512)b.v, (__m512)x.v)};
  else
    return {(typename V::V)_mm512_maskz_max_pd(kAllD, (__m512d)b.v, (__m512d)x.v)};
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4)
    return {(typename V::V)_mm256_max_ps((__m256)b.v, (__m256)x.v)};
  else
    return {(typename V::V)_mm256_max_pd((__m256d)b.v, (__m256d)x.v)};
#else
  return select(x < b, b, x);
#endif
}

// The reduced argument of what scale() takes to 0 or inf, which may be anything: made harmless. Only for AVX-512;
// elsewhere arguments are bounded before.
template <class T>
EV_INLINE Vec<T> bounded(Vec<T> r) {
#if defined(__AVX512F__)
  // The lesser magnitude with its sign; +1/2 where r is NaN.
  using W = typename Vec<T>::V;
  if constexpr (sizeof(T) == 4)
    return {(W)_mm512_range_ps((__m512)r.v, _mm512_set1_ps(0.5f), 6)};
  else
    return {(W)_mm512_range_pd((__m512d)r.v, _mm512_set1_pd(0.5), 6)};
#else
  return r;
#endif
}

// 1/√x to about an ulp. Newton's iteration from an estimate takes a fraction of the time of the instructions; where it
// makes NaN of 0 and inf, `bounded` keeps the estimate, which is right.
template <class T>
EV_INLINE Vec<T> rsqrt(Vec<T> x) {
  using V = Vec<T>;
#if defined(__AVX512F__)
  V y;
  if constexpr (sizeof(T) == 4) {
    y = (typename V::V)_mm512_maskz_rsqrt14_ps(kAllF, (__m512)x.v);
  } else {
    y = (typename V::V)_mm512_maskz_rsqrt14_pd(kAllD, (__m512d)x.v);
    y = fma(y, bounded(fma(x * y, V(T(-0.5)) * y, V(T(0.5)))), y);
  }
  return fma(y, bounded(fma(x * y, V(T(-0.5)) * y, V(T(0.5)))), y);
#else
  return V(1) / sqrt(x);
#endif
}

template <class T>
EV_INLINE Vec<T> one_minus_square(Vec<T> x) {
  return fma(-x, x, Vec<T>(1));
}
template <class T>
EV_INLINE Vec<T> one_plus_square(Vec<T> x) {
  return fma(x, x, Vec<T>(1));
}
template <class T>
EV_INLINE Vec<T> square_minus_one(Vec<T> x) {
  return fma(x, x, Vec<T>(-1));
}

// x 2ⁿ, rounded once, for integral n of magnitude below twice the exponent bias.
template <class T>
EV_INLINE Vec<T> scale(Vec<T> x, Vec<T> n) {
  using V = Vec<T>;
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)
    return {(typename V::V)_mm512_maskz_scalef_ps(kAllF, (__m512)x.v, (__m512)n.v)};
  else
    return {(typename V::V)_mm512_maskz_scalef_pd(kAllD, (__m512d)x.v, (__m512d)n.v)};
#else
  // Two steps, so that each factor is a normal number; only the second can round.
  const V magic = kRoundMagic<T>;
  const V half = fma(n, V(0.5), magic) - magic;
  return x * exp2_integer(half) * exp2_integer(n - half);
#endif
}

// x = m 2ᵉ with √½ ≤ m < √2, for finite x > 0 (subnormal ones too). Some finite m and any e for other x.
template <class T>
struct Split {
  Vec<T> m, e;
};
template <class T>
EV_INLINE Split<T> split(Vec<T> x) {
  using V = Vec<T>;
  constexpr T root2 = T(1.4142135623730951);
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) {
    const __m512 m = _mm512_maskz_getmant_ps(kAllF, (__m512)x.v, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_zero);
    const __m512 e = _mm512_maskz_getexp_ps(kAllF, (__m512)x.v);
    const auto high = (V(m) > V(root2)).m;
    return {_mm512_mask_mul_ps(m, high, m, _mm512_set1_ps(0.5f)), _mm512_mask_add_ps(e, high, e, _mm512_set1_ps(1))};
  } else {
    const __m512d m = _mm512_maskz_getmant_pd(kAllD, (__m512d)x.v, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_zero);
    const __m512d e = _mm512_maskz_getexp_pd(kAllD, (__m512d)x.v);
    const auto high = (V(m) > V(root2)).m;
    return {_mm512_mask_mul_pd(m, high, m, _mm512_set1_pd(0.5)), _mm512_mask_add_pd(e, high, e, _mm512_set1_pd(1))};
  }
#else
  using F = Format<T>;
  using U = typename V::U;
  using Uint = typename V::Uint;
  constexpr int up = F::fraction + 1;
  const auto tiny = x < V(F::smallest);
  x = select(tiny, x * exp2_integer(V(up)), x);
  // As integers: what is added makes numbers from √2 on reach the next exponent.
  const U next = (U)(V(2).bits() - V(root2).bits());
  const U biased = ((U)x.bits() + next) >> F::fraction;
  const V m = V::from_bits((U)x.bits() - ((biased - Uint{F::bias}) << F::fraction));
  const V magic = kRoundMagic<T>;
  const V e = V::from_bits((U)magic.bits() + biased) - (magic + V(F::bias));
  return {m, select(tiny, e - V(up), e)};
#endif
}

EV_LEVEL_END
}  // namespace evolute::math
