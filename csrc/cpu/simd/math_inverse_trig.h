// asin, acos, atan, atan2 and hypot on Vec. Coefficients are made by bench/minimax.py.
//
// The inverse functions are K π/4 + m (s + w) with an integer K ≤ 4, a small factor m, a main part s and a small one w.
// π/4 is split into a number of so few bits that K times it is exact, and a rest; the sum's rounding error is added
// back (Dekker, A floating-point technique for extending the available precision, 1971).
#pragma once

#include "cpu/simd/scale.h"

namespace evolute::math {
EV_LEVEL_BEGIN

namespace trig {

template <class T>
inline constexpr T kQuarterPi = sizeof(T) == 4 ? T(0x1.921fbp-1) : T(0x1.921fb54442d18p-1);
template <class T>
inline constexpr T kQuarterPiRest = sizeof(T) == 4 ? T(0x1.5110b4p-23) : T(0x1.1a62633145c06p-55);

// base + m (s + w), where base stands for the multiple of π/4 whose rounded value it is, and |base| ≥ |m s| or base =
// 0.
template <class T>
EV_INLINE Vec<T> add_to_multiple(Vec<T> base, Vec<T> m, Vec<T> s, Vec<T> w) {
  using V = Vec<T>;
  const V t = fma(m, s, base);
  const V e = fma(m, s, base - t);
  return t + fma(m, w, fma(base, V(kQuarterPiRest<T> / kQuarterPi<T>), e));
}

// ---- asin, acos ---------------------------------------------------------------------------------------------------

// (asin(s)/s − 1)/s² of s², |s| ≤ ½.
inline constexpr float kAsinF[] = {0x1.5555c8p-3f, 0x1.3301fcp-4f, 0x1.747d04p-5f, 0x1.8c2daep-6f, 0x1.596d2cp-5f};
inline constexpr double kAsinD[] = {0x1.555555555538ep-3, 0x1.333333336ec41p-4, 0x1.6db6db424b82cp-5,
                                    0x1.f1c72c48f1c45p-6, 0x1.6e89f2af8c107p-6, 0x1.1c6bfa289c17fp-6,
                                    0x1.c6fbcd67c9dfbp-7, 0x1.8ed0318815243p-7, 0x1.ab5a1f8b47e18p-8,
                                    0x1.4046cb3f14da7p-6, -0x1.0a56e0dafa26p-6, 0x1.059b7dcb77a8dp-5};

// √z as high + low; NaN for z < 0.
template <class T>
struct Root {
  Vec<T> high, low;
};
template <class T>
EV_INLINE Root<T> root(Vec<T> z) {
  using V = Vec<T>;
#if defined(__AVX512F__)
  // Of double the instruction takes as long as all of asin; Newton's iteration from the reciprocal's estimate does not.
  if constexpr (sizeof(T) == 8) {
    const V y =
        at_most(V((typename V::V)_mm512_maskz_rsqrt14_pd(kAllD, (__m512d)z.v)), T(0x1p100));  // 0 has the root 0
    const V g = z * y, h = y * V(0.5);
    const V r = fma(-h, g, V(0.5));
    const V g1 = fma(g, r, g), h1 = fma(h, r, h);
    const V g2 = fma(fma(-g1, g1, z), h1, g1);
    return {g2, fma(-g2, g2, z) * h1};
  }
#endif
  return {sqrt(z), V(0)};
}

// For a = |x|: asin(a) = s + w, or π/2 − 2 (s + w) where a is large.
template <class T>
struct Arc {
  Vec<T> s, w;
  VecMask<T> large;
};
template <class T>
EV_INLINE Arc<T> arc(Vec<T> a) {
  using V = Vec<T>;
  const auto large = a > V(T(0.5));
  const V z = select(large, fma(a, V(T(-0.5)), V(T(0.5))), a * a);
  const Root<T> q = root(z);
  const V s = select(large, q.high, a);
  V p;
  if constexpr (sizeof(T) == 4)
    p = horner(z, kAsinF);
  else
    p = horner_halves(z, kAsinD);
  return {s, fma(s * z, p, select(large, q.low, V(0))), large};
}

// ---- atan, atan2 --------------------------------------------------------------------------------------------------

// (atan(r)/r − 1)/r² of r²; |r| ≤ 1 for float, ½ for double.
inline constexpr float kAtanF[] = {-0x1.55553ep-2f, 0x1.9991e4p-3f,  -0x1.242086p-3f, 0x1.c08c4ap-4f,  -0x1.5808eep-4f,
                                   0x1.da28a6p-5f,  -0x1.fd7916p-6f, 0x1.641c8p-7f,   -0x1.d344ecp-10f};
inline constexpr double kAtanD[] = {-0x1.5555555555516p-2, 0x1.9999999991116p-3,  -0x1.249249215c7a5p-3,
                                    0x1.c71c7090566cbp-4,  -0x1.745cf4bb5bb87p-4, 0x1.3b113cb7f528bp-4,
                                    -0x1.10f314087fe7ep-4, 0x1.dfe8dcaa75b75p-5,  -0x1.a395a179c95eep-5,
                                    0x1.56edd63a77709p-5,  -0x1.c165df40b3ebfp-6, 0x1.4b5f2ac337f15p-7};

// atan(r) − r
template <class T>
EV_INLINE Vec<T> atan_excess(Vec<T> r) {
  const Vec<T> z = r * r;
  if constexpr (sizeof(T) == 4)
    return (r * z) * horner_halves(z, kAtanF);
  else
    return (r * z) * horner_halves(z, kAtanD);
}

}  // namespace trig

template <class T>
EV_INLINE Vec<T> asin(Vec<T> x) {
  using V = Vec<T>;
  const trig::Arc<T> a = trig::arc(abs(x));
  const V base = select(a.large, V(2 * trig::kQuarterPi<T>), V(0)), m = select(a.large, V(-2), V(1));
  return flip_sign(trig::add_to_multiple(base, m, a.s, a.w), x);
}

// π/2 − asin(x), 2 (s + w) or π − 2 (s + w).
template <class T>
EV_INLINE Vec<T> acos(Vec<T> x) {
  using V = Vec<T>;
  const trig::Arc<T> a = trig::arc(abs(x));
  const V m = flip_sign(select(a.large, V(2), V(-1)), x);
  constexpr T quarter = trig::kQuarterPi<T>;
  const V base = select(a.large, select(x < V(0), V(4 * quarter), V(0)), V(2 * quarter));
  return trig::add_to_multiple(base, m, a.s, a.w);
}

template <class T>
EV_INLINE Vec<T> atan(Vec<T> x) {
  using V = Vec<T>;
  constexpr T quarter = trig::kQuarterPi<T>;
  const V a = abs(x);
  V base, r;
  if constexpr (sizeof(T) == 4) {  // π/2 − atan(1/a)
    const auto large = a > V(1);
    r = select(large, V(-1), a) / select(large, a, V(1));
    base = select(large, V(2 * quarter), V(0));
  } else {  // in between, π/4 + atan((a − 1)/(a + 1))
    const auto middle = a > V(0.5), large = a > V(2);
    r = select(large, V(-1), select(middle, a - V(1), a)) / select(large, a, select(middle, a + V(1), V(1)));
    base = select(large, V(2 * quarter), select(middle, V(quarter), V(0)));
  }
  return flip_sign(trig::add_to_multiple(base, V(1), r, trig::atan_excess(r)), x);
}

template <class T>
EV_INLINE Vec<T> atan2(Vec<T> y, Vec<T> x) {
  using V = Vec<T>;
  constexpr T quarter = trig::kQuarterPi<T>;
  constexpr int sign = 8 * sizeof(T) - 1;
  const V ay = abs(y), ax = abs(x);
  const auto steep = ay > ax;
  V small = select(steep, ax, ay), large = select(steep, ay, ax);  // both keep NaN
  const auto zero = large == V(0), diagonal = small == large && !zero;
  V base, r;
  if constexpr (sizeof(T) == 4) {
    r = select(diagonal, V(1), small / select(zero, V(1), large));  // also ∞/∞
    base = 0;
  } else {
    const V shrink = select(large > V(0x1p1000), V(0.25), V(1));  // for the sum
    small = small * shrink;
    large = large * shrink;
    const auto middle = small + small > large;
    const V num = select(middle, small - large, small);
    const V den = select(middle, small + large, select(zero, V(1), large));
    r = select(diagonal, V(0), num / den);
    base = select(middle || diagonal, V(quarter), V(0));
  }
  // Mirrored at the diagonal, then at the vertical axis; −0 lies left of it.
  const auto left = V::Mask::template bit<sign>(x.bits());
  base = select(steep, V(2 * quarter) - base, base);
  base = select(left, V(4 * quarter) - base, base);
  r = flip_sign(select(steep, -r, r), x);
  return flip_sign(trig::add_to_multiple(base, V(1), r, trig::atan_excess(r)), y);
}

// |x| and |y| as large ≥ small, multiplied by a power of two that keeps their squares in range; both keep NaN.
template <class T>
struct Sides {
  static constexpr T far = sizeof(T) == 4 ? T(0x1p100) : T(0x1p600);
  Vec<T> large, small;  // multiplied by up · down, one of which is 1
  Vec<T> up, down;
  VecMask<T> huge, tiny;
};
template <class T>
EV_INLINE Sides<T> sides(Vec<T> x, Vec<T> y) {
  using V = Vec<T>;
  constexpr T high = sizeof(T) == 4 ? T(0x1p60) : T(0x1p500), far = Sides<T>::far;
  const V ax = abs(x), ay = abs(y);
  const auto steep = ay > ax;
  const V small = select(steep, ax, ay), large = select(steep, ay, ax);
  const auto huge = large > V(high), tiny = large < V(1 / high);
  const V up = select(tiny, V(far), V(1)), down = select(huge, V(1 / far), V(1)), by = up * down;
  return {large * by, small * by, up, down, huge, tiny};
}

template <class T>
EV_INLINE Vec<T> hypot(Vec<T> x, Vec<T> y) {
  using V = Vec<T>;
  constexpr T far = Sides<T>::far;
  const auto [a, b, up, down, huge, tiny] = sides(x, y);
  const V h = sqrt(fma(a, a, b * b)) * select(huge, V(far), select(tiny, V(1 / far), V(1)));
  const V infinity = Format<T>::infinity;
  return select(abs(x) == infinity || abs(y) == infinity, infinity, h);  // even beside NaN
}

// 1/√(a² + b²) in two parts, for a ≥ b ≥ 0 with squares in range; of some finite number if both are 0.
template <class T>
struct InverseRadius {
  Vec<T> high, low;
};
template <class T>
EV_INLINE InverseRadius<T> inverse_radius(Vec<T> a, Vec<T> b) {
  using V = Vec<T>;
  const V q = select(a == 0, V(1), a * a), s = fma(b, b, q);
  const V s_low = fma(b, b, q - s) + fma(a, a, -q);
  const V r = rsqrt(s);
  const V p = s * r, p_low = fma(s, r, -p) + s_low * r;
  return {r, V(T(0.5)) * r * (fma(-p, r, V(1)) - p_low * r)};
}

template <class T>
EV_INLINE Direction<Vec<T>> direction(Vec<T> x, Vec<T> y) {
  using V = Vec<T>;
  const V infinity = Format<T>::infinity;
  const auto far_x = abs(x) == infinity, far_y = abs(y) == infinity, far = far_x || far_y;
  if (any(far)) [[unlikely]] {  // the same direction at a finite distance
    x = select(far, select(far_x, copysign(V(1), x), V(0)), x);
    y = select(far, select(far_y, copysign(V(1), y), V(0)), y);
  }
  const auto s = sides(x, y);
  const auto [r, r_low] = inverse_radius(s.large, s.small);
  const V a = x * s.up, b = y * s.up, inverse = (r + r_low) * (s.up * s.down);
  return {fma(a, r, a * r_low) * s.down, fma(b, r, b * r_low) * s.down, select(far, V(0), inverse)};
}

template <class T>
EV_INLINE Point<Vec<T>> inversion(Vec<T> x, Vec<T> y) {
  const auto s = sides(x, y);
  const auto [r, r_low] = inverse_radius(s.large, s.small);
  const Vec<T> by = s.up * s.down, a = x * by, b = y * by;
  const Vec<T> square = r * r, low = fma(r, r, -square) + (r + r) * r_low;
  return {fma(a, square, a * low) * by, fma(b, square, b * low) * by};
}

EV_LEVEL_END
}  // namespace evolute::math
