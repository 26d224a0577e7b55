// sin, cos and tan on Vec. Coefficients and constants are made by bench/minimax.py.
//
// The argument is reduced by a multiple of π/2 or π given in three parts (Cody and Waite, Software Manual for the
// Elementary Functions, 1980), with FMA so that the first difference is exact. Beyond the range of that, lanes are
// reduced one by one with as many digits of 1/π as they need (Payne and Hanek, Radian reduction for trigonometric
// functions, 1983).
//
// Results are formed as r − u with u a sum that is +0 for r = ±0, which keeps the sign of zero.
#pragma once

#include "cpu/simd/vec.h"

namespace evolute::math {
EV_LEVEL_BEGIN

namespace trig {

// ---- reduction ----------------------------------------------------------------------------------------------------

// π/2 for float: 12 bits in the second part, so that its product with |q| < 2^12 is exact.
inline constexpr float kHalfPiF[] = {0x1.921fb4p+0f, 0x1.444000p-24f, 0x1.68c234p-39f};
// π for double; all parts positive, for the sign of zero.
inline constexpr double kPiD[] = {0x1.921fb54442d18p+1, 0x1.1a62633145c06p-53, 0x1.c1cd129024e08p-106};
// π/2 for double; 29 bits in the second part, for q < 2^24.
inline constexpr double kHalfPiD[] = {0x1.921fb54442d18p+0, 0x1.1a62633p-54, 0x1.45c06e0e68948p-86};
inline constexpr double kInvPi = 0x1.45f306dc9c883p-2;

inline constexpr float kLimitF = 6000;     // q < 2^12
inline constexpr double kLimitD = 0x1p29;  // sin, cos: what the third part adds stays far below r
inline constexpr double kLimitTanD = 0x1p24;

// 1/π, 64 bits a word after 64 zeros.
inline constexpr std::uint64_t kInvPiBits[] = {
    0x0000000000000000, 0x517cc1b727220a94, 0xfe13abe8fa9a6ee0, 0x6db14acc9e21c820, 0xff28b1d5ef5de2b0,
    0xdb92371d2126e970, 0x0324977504e8c90e, 0x7f0ef58e5894d39f, 0x74411afa975da242, 0x74ce38135a2fbf20,
    0x9cc8eb1cc1a99cfa, 0x4e422fc5defc941d, 0x8ffc4bffef02cc07, 0xf79788c5ad05368f, 0xb69b3f6793e584db,
    0xa7a31fb34f2ff516, 0xba93dd63f5f2f8bd, 0x9e839cfbc5294975, 0x35fdafd88fc6ae84, 0x2b0198237e3db5d5,
    0xf867de104d7a1b0e};

// The argument x = r − minus_low + q π/parts, with q even or odd; 2q an odd integer and "odd" that of q + 1/2 where
// `half`.
struct Angle {
  double r, minus_low;
  std::int64_t odd;
};

__extension__ typedef unsigned __int128 Wide;
__extension__ typedef __int128 SignedWide;

inline Angle reduce_exactly(double x, int parts, bool half) {
  std::int64_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  const int exponent = static_cast<int>(bits >> 52 & 0x7ff);
  if (exponent == 0x7ff) return {x - x, 0, 0};  // NaN
  const std::uint64_t m = (static_cast<std::uint64_t>(bits) & ((1ull << 52) - 1)) | 1ull << 52;

  // x parts/π = m · 0.bits · 2^(e+…). Bits of weight 2 and more make multiples of 2, which do not matter: so the
  // product of m with 192 bits, of which the first has weight 1, is taken modulo 2.
  const int first = exponent - 1075 + (parts - 1) + 63;
  const int word = first / 64, shift = first % 64;
  std::uint64_t w[3];
  for (int i = 0; i < 3; ++i) {
    const std::uint64_t hi = kInvPiBits[word + i], lo = kInvPiBits[word + i + 1];
    w[i] = shift == 0 ? hi : hi << shift | lo >> (64 - shift);
  }
  Wide f = static_cast<Wide>(m) * w[1] + (static_cast<Wide>(m) * w[2] >> 64) + (static_cast<Wide>(m * w[0]) << 64);
  if (bits < 0) f = -f;
  if (half) f += static_cast<Wide>(1) << 126;

  // f = odd + fraction; the fraction moved to [−1/2, 1/2).
  const bool odd = ((f >> 127) ^ (f >> 126 & 1)) != 0;
  const auto fraction = static_cast<SignedWide>(f << 1);
  const double hi = static_cast<double>(fraction);
  const double lo = static_cast<double>(fraction - static_cast<SignedWide>(hi));
  const double scale = parts == 1 ? 0x1p-128 : 0x1p-129;
  const double r = hi * kPiD[0];
  const double low = __builtin_fma(hi, kPiD[0], -r) + (hi * kPiD[1] + lo * kPiD[0]);
  // Near the ends of the quadrant sin(r − minus_low) needs cos(r) times minus_low; near 0 it needs none if r is
  // rounded.
  const double sum = r + low;
  return {sum * scale, parts == 1 ? 0 : ((sum - r) - low) * scale, odd};
}

// Replaces the reduction of lanes beyond the limit.
template <int parts, bool half>
[[gnu::noinline, gnu::cold]] inline void patch_lanes(const double* x, double* r, double* minus_low, std::int64_t* odd) {
  constexpr double limit = parts == 1 ? kLimitD : kLimitTanD;
  for (int i = 0; i < Vec<double>::lanes; ++i) {
    if (!(x[i] > limit) && !(x[i] < -limit)) continue;
    const Angle a = reduce_exactly(x[i], parts, half);
    r[i] = a.r, minus_low[i] = a.minus_low, odd[i] = a.odd;
  }
}

template <int parts, bool half>
EV_INLINE void patch(Vec<double> x, Vec<double>& r, Vec<double>& minus_low, Vec<double>::I& odd) {
  alignas(EV_SIMD_BYTES) double xs[Vec<double>::lanes], rs[Vec<double>::lanes], ls[Vec<double>::lanes];
  alignas(EV_SIMD_BYTES) std::int64_t os[Vec<double>::lanes];
  x.store(xs), r.store(rs), minus_low.store(ls);
  std::memcpy(os, &odd, sizeof os);
  patch_lanes<parts, half>(xs, rs, ls, os);
  r = Vec<double>::load(rs), minus_low = Vec<double>::load(ls);
  std::memcpy(&odd, os, sizeof os);
}

// ---- float --------------------------------------------------------------------------------------------------------

// x = r − minus_low + q π/2 with |r| ≤ π/4; the low bits of j are q.
struct AngleF {
  Vec<float> r, minus_low;
  Vec<float>::I j;
};

EV_INLINE AngleF reduce(Vec<float> x) {
  using V = Vec<float>;
  const V magic = kRoundMagic<float>;
  const V j = fma(x, V(2 * kInvPi), magic);
  const V q = j - magic;
  const V r1 = fma(q, V(-kHalfPiF[0]), x);  // exact
  const V r = fma(q, V(-kHalfPiF[1]), r1);
  const V d = r - r1;  // exact: r1 lies on a coarser grid than the product (FastTwoSum)
  return {r, fma(q, V(kHalfPiF[2]), fma(q, V(kHalfPiF[1]), d)), j.bits()};
}

// Lanes beyond the limit of float arithmetic, through double.
template <class F>
[[gnu::noinline, gnu::cold]] inline void patch_wide(F f, const float* x, float* y) {
  constexpr int n = Vec<double>::lanes;
  for (int h = 0; h < 2; ++h) {
    alignas(EV_SIMD_BYTES) double t[n];
    for (int i = 0; i < n; ++i) t[i] = x[h * n + i];
    f(Vec<double>::load(t)).store(t);
    for (int i = 0; i < n; ++i)
      if (x[h * n + i] > kLimitF || x[h * n + i] < -kLimitF) y[h * n + i] = static_cast<float>(t[i]);
  }
}
template <class F>
EV_INLINE Vec<float> patched(F f, Vec<float> x, Vec<float> y) {
  alignas(EV_SIMD_BYTES) float xs[Vec<float>::lanes], ys[Vec<float>::lanes];
  x.store(xs), y.store(ys);
  patch_wide(f, xs, ys);
  return Vec<float>::load(ys);
}

// (1 − sin(r)/r)/r² and (cos(r) − 1 + r²/2)/r⁴ of r², |r| ≤ π/4.
inline constexpr float kSinF[] = {0x1.555546p-3f, -0x1.110776p-7f, 0x1.9952fap-13f};
inline constexpr float kCosF[] = {0x1.55554ap-5f, -0x1.6c0c1ap-10f, 0x1.99e0eep-16f};

// sin((q + shift) π/2 + r − minus_low): all but the last steps are the same for sin and cos.
template <int shift>
EV_INLINE Vec<float> sin_quadrant(AngleF a) {
  using V = Vec<float>;
  const V r = a.r, s = r * r;
  const V sine = r - fma(r * s, horner(s, kSinF), a.minus_low);
  // 1 − s/2 with its rounding error, which would count in the last place.
  const V c = fma(s, V(-0.5), V(1));
  const V e = fma(s, V(-0.5), V(1) - c);
  const V cosine = c + fma(r, a.minus_low, fma(s * s, horner(s, kCosF), e));
  const V y = shift == 0 ? select(V::Mask::bit<0>(a.j), cosine, sine) : select(V::Mask::bit<0>(a.j), sine, cosine);
  return V::from_bits(y.bits() ^ (((a.j + shift) << 30) & V::sign_bit()));
}

// ---- double -------------------------------------------------------------------------------------------------------

// (1 − sin(r)/r)/r² of r², |r| ≤ π/2.
inline constexpr double kSinD[] = {0x1.5555555555555p-3,   -0x1.11111111110c8p-7, 0x1.a01a01a014d6fp-13,
                                   -0x1.71de3a52a0b18p-19, 0x1.ae6454d4748c5p-26, -0x1.6123cd075a2b3p-33,
                                   0x1.ae43847d983bp-41,   -0x1.8832aa7b3f1b6p-49};

// sin(x) or, with half, cos(x).
template <bool half>
EV_INLINE Vec<double> sin_or_cos(Vec<double> x) {
  using V = Vec<double>;
  const V magic = kRoundMagic<double>;
  V j = half ? fma(x, V(kInvPi), V(0.5)) + magic : fma(x, V(kInvPi), magic);
  const V q = half ? (j - magic) - V(0.5) : j - magic;
  V r = fma(q, V(-kPiD[1]), fma(q, V(-kPiD[0]), x));  // the inner difference is exact
  V minus_low = q * V(kPiD[2]);
  V::I odd = j.bits();  // in the lowest bit
  if (any(abs(x) > V(kLimitD))) [[unlikely]]
    patch<1, half>(x, r, minus_low, odd);
  const V s = r * r;
  const V y = r - fma(r * s, horner(s, kSinD), minus_low);
  return V::from_bits(y.bits() ^ (odd << 63));
}

// ---- tan ----------------------------------------------------------------------------------------------------------

// (1 − r cot r)/r² of r², |r| ≤ π/4.
inline constexpr float kCotF[] = {0x1.555556p-2f, 0x1.6c15e8p-6f, 0x1.1593b2p-9f, 0x1.b3bd7p-13f, 0x1.b9ce4ap-16f};
inline constexpr double kCotD[] = {0x1.555555555556bp-2,  0x1.6c16c16c1164fp-6,  0x1.1566abc3bafbbp-9,
                                   0x1.bbd776be8ffdap-13, 0x1.66a969f863ef3p-16, 0x1.2272bcc4881aap-19,
                                   0x1.d8c424b49dc99p-23, 0x1.6938a6f8b25e3p-26, 0x1.aa8579da14a56p-29};

// tan(high − low) or, where odd, −cot(high − low); c: a table as above.
//
// With D = r cot r, which is smoother than tan r and so the shorter polynomial: tan r = r/D and −cot r = −D/r. What D
// and r lose in rounding makes up a small angle δ, by which the quotient y is put right: y' = y − δ (1 + y²).
template <class T, std::size_t N>
EV_INLINE Vec<T> tan_or_cot(Vec<T> high, Vec<T> low, VecMask<T> odd, const T (&c)[N]) {
  using V = Vec<T>;
  const V r = high - low, shift = r - high,
          minus_low = shift + low;  // near multiples of π/2 low may be large beside high
  const V s = high * high, p = horner(s, c);
  const V d = fma(-s, p, V(1)), d_low = fma(-s, p, V(1) - d);
  // D(r) is about D(high) − 0.7 r shift; sin²(r)/r², the factor in δ, is 0.81 at π/4 and 1 at 0.
  const V k = r * V(T(0.78)), delta = fma(k, fma(-k, shift, d_low), minus_low);
  const V num = select(odd, -d, r), den = select(odd, r, d);
  const V inverse = V(1) / den, y = num * inverse;  // and the quotient's own rounding
  return y - fma(fma(y, den, -num), inverse, delta * fma(y, y, V(1)));
}

}  // namespace trig

EV_INLINE Vec<double> sin(Vec<double> x) { return trig::sin_or_cos<false>(x); }
EV_INLINE Vec<double> cos(Vec<double> x) { return trig::sin_or_cos<true>(x); }

EV_INLINE Vec<float> sin(Vec<float> x) {
  Vec<float> y = trig::sin_quadrant<0>(trig::reduce(x));
  if (any(abs(x) > Vec<float>(trig::kLimitF))) [[unlikely]]
    y = trig::patched([](Vec<double> v) { return sin(v); }, x, y);
  return y;
}
EV_INLINE Vec<float> cos(Vec<float> x) {
  Vec<float> y = trig::sin_quadrant<1>(trig::reduce(x));
  if (any(abs(x) > Vec<float>(trig::kLimitF))) [[unlikely]]
    y = trig::patched([](Vec<double> v) { return cos(v); }, x, y);
  return y;
}

EV_INLINE Vec<double> tan(Vec<double> x) {
  using V = Vec<double>;
  const V j = fma(x, V(2 * trig::kInvPi), V(kRoundMagic<double>));
  const V q = j - V(kRoundMagic<double>);
  const V r1 = fma(q, V(-trig::kHalfPiD[0]), x);
  V r = fma(q, V(-trig::kHalfPiD[1]), r1);
  V minus_low = fma(q, V(trig::kHalfPiD[2]), fma(q, V(trig::kHalfPiD[1]), r - r1));
  V::I odd = j.bits();  // in the lowest bit
  if (any(abs(x) > V(trig::kLimitTanD))) [[unlikely]]
    trig::patch<2, false>(x, r, minus_low, odd);
  return trig::tan_or_cot(r, minus_low, V::Mask::bit<0>(odd), trig::kCotD);
}
EV_INLINE Vec<float> tan(Vec<float> x) {
  using V = Vec<float>;
  const trig::AngleF a = trig::reduce(x);
  V y = trig::tan_or_cot(a.r, a.minus_low, V::Mask::bit<0>(a.j), trig::kCotF);
  if (any(abs(x) > V(trig::kLimitF))) [[unlikely]]
    y = trig::patched([](Vec<double> v) { return tan(v); }, x, y);
  return y;
}

EV_LEVEL_END
}  // namespace evolute::math
