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

// The polynomial whose coefficients are given for float and for double.
template <class T, std::size_t N, std::size_t M>
EV_INLINE Vec<T> horner(Vec<T> x, const float (&f)[N], const double (&d)[M]) {
  if constexpr (sizeof(T) == 4) return horner(x, f);
  else return horner(x, d);
}

// The smaller and the larger of x and a bound; x where it is NaN. (x86 gives the second operand if one is NaN.)
template <class T>
EV_INLINE Vec<T> at_most(Vec<T> x, T bound) {
  using V = Vec<T>;
  const V b = bound;
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) return {(typename V::V)_mm512_min_ps((__m512)b.v, (__m512)x.v)};
  else return {(typename V::V)_mm512_min_pd((__m512d)b.v, (__m512d)x.v)};
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4) return {(typename V::V)_mm256_min_ps((__m256)b.v, (__m256)x.v)};
  else return {(typename V::V)_mm256_min_pd((__m256d)b.v, (__m256d)x.v)};
#else
  return select(x > b, b, x);
#endif
}
template <class T>
EV_INLINE Vec<T> at_least(Vec<T> x, T bound) {
  using V = Vec<T>;
  const V b = bound;
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) return {(typename V::V)_mm512_max_ps((__m512)b.v, (__m512)x.v)};
  else return {(typename V::V)_mm512_max_pd((__m512d)b.v, (__m512d)x.v)};
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4) return {(typename V::V)_mm256_max_ps((__m256)b.v, (__m256)x.v)};
  else return {(typename V::V)_mm256_max_pd((__m256d)b.v, (__m256d)x.v)};
#else
  return select(x < b, b, x);
#endif
}

// x 2ⁿ, rounded once, for integral n of magnitude below twice the exponent bias.
template <class T>
EV_INLINE Vec<T> scale(Vec<T> x, Vec<T> n) {
  using V = Vec<T>;
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) return {(typename V::V)_mm512_scalef_ps((__m512)x.v, (__m512)n.v)};
  else return {(typename V::V)_mm512_scalef_pd((__m512d)x.v, (__m512d)n.v)};
#else
  // Two steps, so that each factor is a normal number; only the second can round.
  const V magic = kRoundMagic<T>;
  const V half = fma(n, V(0.5), magic) - magic;
  return x * exp2_integer(half) * exp2_integer(n - half);
#endif
}

// x = m 2ᵉ with 3/4 ≤ m < 3/2, for finite x > 0 (subnormal ones too). Some finite m and any e for other x.
template <class T>
struct Split {
  Vec<T> m, e;
};
template <class T>
EV_INLINE Split<T> split(Vec<T> x) {
  using V = Vec<T>;
#if defined(__AVX512F__)
  // The exponent of m is 0 or −1.
  if constexpr (sizeof(T) == 4) {
    const __m512 m = _mm512_getmant_ps((__m512)x.v, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_zero);
    return {{(typename V::V)m}, {(typename V::V)(_mm512_getexp_ps((__m512)x.v) - _mm512_getexp_ps(m))}};
  } else {
    const __m512d m = _mm512_getmant_pd((__m512d)x.v, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_zero);
    return {{(typename V::V)m}, {(typename V::V)(_mm512_getexp_pd((__m512d)x.v) - _mm512_getexp_pd(m))}};
  }
#else
  using F = Format<T>;
  using U = typename V::U;
  using Uint = typename V::Uint;
  constexpr int up = F::fraction + 1;
  const auto tiny = x < V(F::smallest);
  x = select(tiny, x * exp2_integer(V(up)), x);
  // From 3/4 on, the exponent field of x + 1/4 (as integers) is that of 1.
  constexpr Uint quarter = (Uint{1} << F::fraction) / 2;
  const U biased = ((U)x.bits() + quarter) >> F::fraction;
  const V m = V::from_bits((U)x.bits() - ((biased - Uint{F::bias}) << F::fraction));
  const V magic = kRoundMagic<T>;
  const V e = V::from_bits((U)magic.bits() + biased) - (magic + V(F::bias));
  return {m, select(tiny, e - V(up), e)};
#endif
}

EV_LEVEL_END
}  // namespace evolute::math
