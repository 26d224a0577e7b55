// exp, expm1, sinh, cosh and tanh on Vec. Coefficients are made by bench/minimax.py.
//
// x = n ln 2 + r with |r| ≤ ½ ln 2, ln 2 in two parts (Cody and Waite, Software Manual for the Elementary Functions,
// 1980); FMA makes the first difference exact. Then eˣ = 2ⁿ eʳ, scaled so that subnormal results are rounded once.
#pragma once

#include "cpu/simd/scale.h"

namespace evolute::math {
EV_LEVEL_BEGIN

// (eʳ − 1 − r)/r² of r; (sinh(r)/r − 1)/r² and (cosh(r) − 1)/r² of r²; |r| ≤ ½ ln 2.
inline constexpr float kExpm1F[] = {0x1.fffffep-2f, 0x1.5554b4p-3f, 0x1.5556f2p-5f, 0x1.12254ap-7f, 0x1.6b9c68p-10f};
inline constexpr double kExpm1D[] = {
    0x1.0000000000005p-1,  0x1.555555555554ep-3,  0x1.5555555552256p-5,  0x1.1111111115156p-7,  0x1.6c16c17ed1a9dp-10,
    0x1.a01a0185e936cp-13, 0x1.a019a7aceb18bp-16, 0x1.71de68f535173p-19, 0x1.28a19a417078ap-22, 0x1.ae9560a40f02ap-26};
inline constexpr float kSinhF[] = {0x1.555556p-3f, 0x1.110fbep-7f, 0x1.a2e31p-13f};
inline constexpr double kSinhD[] = {0x1.5555555555555p-3,  0x1.1111111111388p-7,  0x1.a01a019e9f6b5p-13,
                                    0x1.71de40881cc81p-19, 0x1.ae4cb7affe644p-26, 0x1.82df841a80f25p-33};
inline constexpr float kCoshF[] = {0x1p-1f, 0x1.5554e6p-5f, 0x1.6d4f14p-10f};
inline constexpr double kCoshD[] = {0x1p-1,
                                    0x1.5555555555558p-5,
                                    0x1.6c16c16c14ffap-10,
                                    0x1.a01a01ad81052p-16,
                                    0x1.27e4cc09084f5p-22,
                                    0x1.1f8bef1d3283ep-29};
// (tanh(r)/r − 1)/r² of r²; |r| ≤ 15/16 for float, 9/16 for double.
inline constexpr float kTanhF[] = {-0x1.55554ap-2f, 0x1.110e6p-3f,  -0x1.b9ad0ep-5f, 0x1.620d0cp-6f,
                                   -0x1.0b5a1ep-7f, 0x1.4550e6p-9f, -0x1.b67c28p-12f};
inline constexpr double kTanhD[] = {-0x1.555555555554bp-2,  0x1.1111111110246p-3,  -0x1.ba1ba1b92fa44p-5,
                                    0x1.664f4847f6ae7p-6,   -0x1.226e2cd624c33p-7, 0x1.d6d240b993aaap-9,
                                    -0x1.7d8b3f4f64a3ap-10, 0x1.345df2756c062p-11, -0x1.e7ef66e04ff5ep-13,
                                    0x1.59262c6055cbap-14,  -0x1.3c6feb34deb28p-16};

template <class T>
struct Ln2 {
  static constexpr T hi = 0x1.62e43p-1f, lo = -0x1.05c61p-29f;
};
template <>
struct Ln2<double> {
  static constexpr double hi = 0x1.62e42fefa39efp-1, lo = 0x1.abc9e3b39803fp-56;
};

// x = n ln 2 + r + low, n integral.
template <class T>
struct ExpArgument {
  Vec<T> n, r, low;
};
template <class T>
EV_INLINE ExpArgument<T> exp_reduce(Vec<T> x) {
  using V = Vec<T>;
  const V magic = kRoundMagic<T>, hi = -Ln2<T>::hi, lo = -Ln2<T>::lo;
  const V n = fma(x, V(0x1.71547652b82fep+0), magic) - magic;
  const V s = fma(n, hi, x);  // exact
  const V r = fma(n, lo, s);
  return {n, r, fma(n, lo, s - r)};
}

// (eʳ − 1)/r for |r| ≤ ½ ln 2.
template <class T>
EV_INLINE Vec<T> expm1_quotient(Vec<T> r) {
  return fma(r, horner(r, kExpm1F, kExpm1D), Vec<T>(1));
}
// eʳ − 1 with its relative accuracy.
template <class T>
EV_INLINE Vec<T> expm1_reduced(Vec<T> r) {
  return fma(r * r, horner(r, kExpm1F, kExpm1D), r);
}

template <class T>
EV_INLINE Vec<T> exp(Vec<T> x) {
#if !defined(__AVX512F__)  // where scale() takes any n
  constexpr bool f = sizeof(T) == 4;
  x = at_least(at_most(x, f ? T(89) : T(710)), f ? T(-104) : T(-746));
#endif
  const auto a = exp_reduce(x);
  const Vec<T> r = bounded(a.r);
  return scale(fma(r, expm1_quotient(r), Vec<T>(1)), a.n);
}

template <class T>
EV_INLINE Vec<T> expm1(Vec<T> x) {
  using V = Vec<T>;
  constexpr bool f = sizeof(T) == 4;
  const auto a = exp_reduce(at_least(at_most(x, f ? T(89) : T(710)), T(-40)));  // −1 below
  const V inverse = exp2_integer(-at_most(a.n, T(60)));
  return copysign(scale(expm1_reduced(a.r) + (1 - inverse), a.n), x);
}

// sinh and cosh of |x| by the addition theorem: with w = 4⁻ⁿ,
//   2 sinh(n ln 2 + r) = 2ⁿ ((1 − w) cosh r + (1 + w) sinh r),  2 cosh(n ln 2 + r) = 2ⁿ ((1 + w) cosh r + (1 − w) sinh
//   r).
// One polynomial in two halves, no division, nothing cancels at 0. The leading sum a + b r, a and b = 1 ± w, keeps its
// rounding error (Dekker's Fast2Sum), and a its own.
template <class T, bool odd>
EV_INLINE Vec<T> hyperbolic(Vec<T> x) {
  using V = Vec<T>;
  const auto [n, r, low] = exp_reduce(at_most(abs(x), sizeof(T) == 4 ? T(90) : T(711)));
  const V m = at_most(n, T(30));
  const V w = exp2_integer(-(m + m));
  const V a = odd ? 1 - w : 1 + w, b = odd ? 1 + w : 1 - w;
  const V a_low = odd ? (1 - a) - w : (1 - a) + w;
  const V s = r * r;
  const V hi = fma(b, r, a);
  const V lo = fma(b, low, fma(b, r, a - hi) + a_low);
  const V even = a * horner(s, kCoshF, kCoshD);
  return scale(hi + fma(s, fma(b * r, horner(s, kSinhF, kSinhD), even), lo), n - 1);
}
// y ≥ 0 with the sign of x.
template <class T>
EV_INLINE Vec<T> with_sign(Vec<T> y, Vec<T> x) {
  return Vec<T>::from_bits(y.bits() | (x.bits() & Vec<T>::sign_bit()));
}
template <class T>
EV_INLINE Vec<T> sinh(Vec<T> x) {
  return with_sign(hyperbolic<T, true>(x), x);
}
template <class T>
EV_INLINE Vec<T> cosh(Vec<T> x) {
  return hyperbolic<T, false>(x);
}

// 4 e/(1 + e)² with e = e^−2|x| = p 2ⁿ, scaled last for the sake of subnormal results.
template <class T>
EV_INLINE Vec<T> sech2(Vec<T> x) {
  using V = Vec<T>;
  const V a = at_most(abs(x), sizeof(T) == 4 ? T(53) : T(374));
  const auto [n, r, low] = exp_reduce(-2 * a);
  const V p = fma(r, expm1_quotient(r), V(1));
  const V e = p * exp2_integer(at_least(n, T(-100)));
  return scale(4 * p / fma(e, 2 + e, V(1)), n);
}

template <class T>
EV_INLINE Vec<T> sech2_d2(Vec<T> x) {
  const Vec<T> s = sech2(x);
  return 2 * s * fma(Vec<T>(-3), s, Vec<T>(2));
}

// What the logistic function and its derivatives are made of: e = e^−|x| = p 2ⁿ, 1 + e and its inverse.
template <class T>
struct Logistic {
  Vec<T> n, r, e, sum, inverse;
};
template <class T>
EV_INLINE Logistic<T> logistic(Vec<T> x) {
  using V = Vec<T>;
  V a = -abs(x);
#if !defined(__AVX512F__)  // where scale() takes any n
  a = at_least(a, sizeof(T) == 4 ? T(-104) : T(-746));
#endif
  const auto [n, reduced, low] = exp_reduce(a);
  const V r = bounded(reduced);
  const V e = scale(fma(r, expm1_quotient(r), V(1)), n), sum = 1 + e;
  return {n, r, e, sum, 1 / sum};
}
template <class T>
EV_INLINE Vec<T> sigmoid(Vec<T> x) {
  const auto l = logistic(x);
  return select(x < 0, l.e, Vec<T>(1)) * l.inverse;
}
// e/(1 + e)² and, up to the sign of x, −e (1 − e)/(1 + e)³, with the rounding error of 1 + e made up for.
template <class T>
EV_INLINE Vec<T> sigmoid_d1(Vec<T> x) {
  const auto l = logistic(x);
  const Vec<T> inverse = fma(l.inverse * l.inverse, (l.sum - 1) - l.e, l.inverse);
  return l.e * inverse * inverse;
}
template <class T>
EV_INLINE Vec<T> sigmoid_d2(Vec<T> x) {
  using V = Vec<T>;
  const auto l = logistic(x);
  const V two_n = exp2_integer(at_least(l.n, T(-100))), expm1 = two_n * expm1_reduced(l.r) - (1 - two_n);
  const V square = l.sum * l.sum, cube = fma(square, l.sum, 3 * square * (l.e - (l.sum - 1)));
  return flip_sign(l.e * expm1 / cube, x);
}
template <class T>
EV_INLINE Vec<T> silu_d1(Vec<T> x) {
  const auto l = logistic(x);
  const auto negative = x < 0;
  const Vec<T> rest = select(negative, Vec<T>(1), l.e) * l.inverse;
  return select(negative, l.e, Vec<T>(1)) * l.inverse * fma(x, rest, Vec<T>(1));
}

// 1 − 2/(e^2x + 1); for small x, where that cancels, a polynomial.
template <class T>
EV_INLINE Vec<T> tanh(Vec<T> x) {
  using V = Vec<T>;
  const V a = at_most(abs(x), T(20));
  const auto e = exp_reduce(a + a);
  const V two_n = exp2_integer(e.n);
  const V large = 1 - 2 / fma(two_n, expm1_reduced(e.r), two_n + 1);
  const V s = a * a;
  const V small = fma(a, s * horner(s, kTanhF, kTanhD), a);
  return with_sign(select(a < V(sizeof(T) == 4 ? 0.9375 : 0.5625), small, large), x);
}

#if defined(__AVX512F__)
// For AVX-512, which looks up tables of 32 floats in registers, |x| = c + d with c near the middle of its quarter
// octave (0 below 1/8): tanh |x| = tanh c + u tanh d/(1 + tanh c tanh d) with u = 1 − tanh² c. The c are such that tanh
// c is close to a float (Gal, Computing elementary functions: a new approach for achieving high accuracy and good
// performance, 1986).
inline constexpr float kTanhPoint[] = {
    0x1.1ffe24p+1f, 0x1.60023p+1f,  0x1.9ffd2cp+1f, 0x1.e002cep+1f, 0x1.2000dcp+2f, 0x1.6005f2p+2f, 0x1.9fef28p+2f,
    0x1.e0d5c4p+2f, 0x1.154246p+3f, 0x0p+0f,        0x0p+0f,        0x0p+0f,        0x0p+0f,        0x0p+0f,
    0x0p+0f,        0x0p+0f,        0x1.200278p-3f, 0x1.5fff58p-3f, 0x1.9fff9ap-3f, 0x1.e0074cp-3f, 0x1.1ffe3ap-2f,
    0x1.600068p-2f, 0x1.9ffe82p-2f, 0x1.e000eap-2f, 0x1.2000dcp-1f, 0x1.5ffe5ap-1f, 0x1.9ffd4p-1f,  0x1.e0029ap-1f,
    0x1.2007dcp+0f, 0x1.6002bp+0f,  0x1.9fff1p+0f,  0x1.e00076p+0f};
inline constexpr float kTanhValue[] = {
    0x1.f4bf84p-1f, 0x1.fbd52ep-1f, 0x1.fe7668p-1f, 0x1.ff6f1ep-1f, 0x1.ffdfa8p-1f, 0x1.fffbap-1f,  0x1.ffff68p-1f,
    0x1.ffffecp-1f, 0x1.fffffep-1f, 0x0p+0f,        0x0p+0f,        0x0p+0f,        0x0p+0f,        0x0p+0f,
    0x0p+0f,        0x0p+0f,        0x1.1e203cp-3f, 0x1.5c9264p-3f, 0x1.9a5ebap-3f, 0x1.d76d46p-3f, 0x1.18a1f6p-2f,
    0x1.52c322p-2f, 0x1.8a869cp-2f, 0x1.bfaf28p-2f, 0x1.050912p-1f, 0x1.3156dp-1f,  0x1.57877cp-1f, 0x1.77d96cp-1f,
    0x1.9e6222p-1f, 0x1.c279dcp-1f, 0x1.d9c6b6p-1f, 0x1.e878b4p-1f};
inline constexpr float kTanhSlope[] = {
    0x1.641aa8p-5f,  0x1.099ea4p-6f,  0x1.8900b8p-8f, 0x1.219bp-9f,   0x1.02b7d6p-11f, 0x1.17fed4p-14f, 0x1.2fffd4p-17f,
    0x1.3ffff4p-20f, 0x1.ffffecp-24f, 0x1p+0f,        0x1p+0f,        0x1p+0f,         0x1p+0f,         0x1p+0f,
    0x1p+0f,         0x1p+0f,         0x1.f601ap-1f,  0x1.f12b0ep-1f, 0x1.eb7164p-1f,  0x1.e4dee6p-1f,  0x1.d98baap-1f,
    0x1.c7f704p-1f,  0x1.b3ffacp-1f,  0x1.9e235cp-1f, 0x1.7aea4p-1f,  0x1.49e804p-1f,  0x1.1981d6p-1f,  0x1.d8314cp-2f,
    0x1.613e74p-2f,  0x1.ce9ebap-3f,  0x1.266032p-3f, 0x1.6fce64p-4f};
inline constexpr float kTanhStep[] = {-0x1.555484p-2f, 0x1.1068cep-3f, -0x1.84a262p-5f};

EV_INLINE Vec<float> look_up(const float (&table)[32], Vec<float>::I index) {
  return {(Vec<float>::V)_mm512_permutex2var_ps(_mm512_loadu_ps(table), (__m512i)index, _mm512_loadu_ps(table + 16))};
}

EV_INLINE Vec<float> tanh(Vec<float> x) {
  using V = Vec<float>;
  const V a = at_most(abs(x), 9.25f);
  const V::I index = (V::I)((V::U)at_least(a, 0.109375f).bits() >> 21);
  const V t = look_up(kTanhValue, index);
  const V d = a - look_up(kTanhPoint, index);
  const V s = d * d;
  const V y = fma(d, s * horner(s, kTanhStep), d);
  return with_sign(t + look_up(kTanhSlope, index) * y / fma(t, y, V(1)), x);
}
#endif

EV_LEVEL_END
}  // namespace evolute::math
