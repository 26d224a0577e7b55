// Vec<T>: a SIMD register of T (float or double) on GCC's and Clang's vector extensions, for instruction sets with FMA.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "math/scalar.h"

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__AVX512F__)
#define EV_SIMD_BYTES 64
#elif defined(__AVX2__)
#define EV_SIMD_BYTES 32
#else
#define EV_SIMD_BYTES 16
#endif
#define EV_INLINE inline __attribute__((always_inline))

namespace evolute::math {
EV_LEVEL_BEGIN

template <class T>
struct Vec;

#if defined(__AVX512F__)

// All lanes. GCC's intrinsics without a mask merge into an undefined register, a new one each time, so that it takes no
// two of them for the same value; those that zero the lanes outside of a mask have no such operand.
inline constexpr __mmask16 kAllF = 0xffff;
inline constexpr __mmask8 kAllD = 0xff;

// Result of a comparison, one bit per lane.
template <class T>
struct VecMask {
  using Int = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
  typedef Int I __attribute__((vector_size(EV_SIMD_BYTES)));
  using M = std::conditional_t<sizeof(T) == 4, __mmask16, __mmask8>;
  M m;

  // Lanes where bit n of x is set.
  template <int n>
  static EV_INLINE VecMask bit(I x) {
    if constexpr (sizeof(T) == 4)
      return {_mm512_test_epi32_mask((__m512i)x, _mm512_set1_epi32(1 << n))};
    else
      return {_mm512_test_epi64_mask((__m512i)x, _mm512_set1_epi64(std::int64_t{1} << n))};
  }

  friend EV_INLINE VecMask operator&&(VecMask a, VecMask b) { return {static_cast<M>(a.m & b.m)}; }
  friend EV_INLINE VecMask operator||(VecMask a, VecMask b) { return {static_cast<M>(a.m | b.m)}; }
  friend EV_INLINE VecMask operator!(VecMask a) { return {static_cast<M>(~a.m)}; }
  friend EV_INLINE VecMask operator==(VecMask a, VecMask b) { return {static_cast<M>(~(a.m ^ b.m))}; }
  friend EV_INLINE VecMask operator!=(VecMask a, VecMask b) { return {static_cast<M>(a.m ^ b.m)}; }
  friend EV_INLINE Vec<T> select(VecMask c, Vec<T> a, Vec<T> b) {
    using V = typename Vec<T>::V;
    if constexpr (sizeof(T) == 4)
      return {(V)_mm512_mask_blend_ps(c.m, (__m512)b.v, (__m512)a.v)};
    else
      return {(V)_mm512_mask_blend_pd(c.m, (__m512d)b.v, (__m512d)a.v)};
  }
  friend EV_INLINE bool any(VecMask a) { return a.m != 0; }
};

#else

// Result of a comparison: all bits of a lane set or none.
template <class T>
struct VecMask {
  using Int = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
  typedef Int I __attribute__((vector_size(EV_SIMD_BYTES)));
  I m;

  // Lanes where bit n of x is set.
  template <int n>
  static EV_INLINE VecMask bit(I x) {
    return {(x << (8 * sizeof(T) - 1 - n)) < 0};
  }

  friend EV_INLINE VecMask operator&&(VecMask a, VecMask b) { return {a.m & b.m}; }
  friend EV_INLINE VecMask operator||(VecMask a, VecMask b) { return {a.m | b.m}; }
  friend EV_INLINE VecMask operator!(VecMask a) { return {~a.m}; }
  friend EV_INLINE VecMask operator==(VecMask a, VecMask b) { return {~(a.m ^ b.m)}; }
  friend EV_INLINE VecMask operator!=(VecMask a, VecMask b) { return {a.m ^ b.m}; }
  friend EV_INLINE Vec<T> select(VecMask c, Vec<T> a, Vec<T> b) { return {c.m ? a.v : b.v}; }
  friend EV_INLINE bool any(VecMask a) {
#if defined(__AVX2__)
    return !_mm256_testz_si256((__m256i)a.m, (__m256i)a.m);
#else
    typedef std::int64_t L __attribute__((vector_size(EV_SIMD_BYTES)));
    const L l = (L)a.m;
    std::int64_t r = 0;
    for (unsigned i = 0; i < sizeof l / 8; ++i) r |= l[i];
    return r != 0;
#endif
  }
};

#endif

template <class T>
struct Vec {
  using Mask = VecMask<T>;
  using Int = typename Mask::Int;  // the integer of a lane's width
  using Uint = std::make_unsigned_t<Int>;
  typedef T V __attribute__((vector_size(EV_SIMD_BYTES)));
  typedef Int I __attribute__((vector_size(EV_SIMD_BYTES)));   // lanes as signed integers
  typedef Uint U __attribute__((vector_size(EV_SIMD_BYTES)));  // lanes as unsigned integers
  static constexpr int lanes = EV_SIMD_BYTES / sizeof(T);
  V v;

  Vec() = default;
  EV_INLINE Vec(V v) : v(v) {}
  template <class S>
    requires std::is_arithmetic_v<S>
  EV_INLINE Vec(S s) : v(static_cast<T>(s) - V{}) {}  // broadcast (x - 0 keeps −0)

  static EV_INLINE Vec load(const T* p) {
    Vec r;
    std::memcpy(&r.v, p, sizeof r.v);
    return r;
  }
  EV_INLINE void store(T* p) const { std::memcpy(p, &v, sizeof v); }

  EV_INLINE I bits() const { return (I)v; }
  static EV_INLINE Vec from_bits(I i) { return Vec((V)i); }
  static EV_INLINE Vec from_bits(U u) { return Vec((V)u); }

  friend EV_INLINE Vec operator+(Vec a, Vec b) { return {a.v + b.v}; }
  friend EV_INLINE Vec operator-(Vec a, Vec b) { return {a.v - b.v}; }
  friend EV_INLINE Vec operator*(Vec a, Vec b) { return {a.v * b.v}; }
  friend EV_INLINE Vec operator/(Vec a, Vec b) { return {a.v / b.v}; }
  friend EV_INLINE Vec operator-(Vec a) { return {-a.v}; }
#if defined(__AVX512F__)
#define EV_COMPARISON(op, predicate)                                      \
  friend EV_INLINE Mask operator op(Vec a, Vec b) {                       \
    if constexpr (sizeof(T) == 4)                                         \
      return {_mm512_cmp_ps_mask((__m512)a.v, (__m512)b.v, predicate)};   \
    else                                                                  \
      return {_mm512_cmp_pd_mask((__m512d)a.v, (__m512d)b.v, predicate)}; \
  }
#else
#define EV_COMPARISON(op, predicate) \
  friend EV_INLINE Mask operator op(Vec a, Vec b) { return {a.v op b.v}; }
#endif
  EV_COMPARISON(==, _CMP_EQ_OQ)
  EV_COMPARISON(!=, _CMP_NEQ_UQ)
  EV_COMPARISON(<, _CMP_LT_OQ)
  EV_COMPARISON(<=, _CMP_LE_OQ)
  EV_COMPARISON(>, _CMP_GT_OQ)
  EV_COMPARISON(>=, _CMP_GE_OQ)
#undef EV_COMPARISON

  // a b + c, rounded once.
  friend EV_INLINE Vec fma(Vec a, Vec b, Vec c) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4)
      return {(V)_mm512_fmadd_ps((__m512)a.v, (__m512)b.v, (__m512)c.v)};
    else
      return {(V)_mm512_fmadd_pd((__m512d)a.v, (__m512d)b.v, (__m512d)c.v)};
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4)
      return {(V)_mm256_fmadd_ps((__m256)a.v, (__m256)b.v, (__m256)c.v)};
    else
      return {(V)_mm256_fmadd_pd((__m256d)a.v, (__m256d)b.v, (__m256d)c.v)};
#elif defined(__aarch64__)
    if constexpr (sizeof(T) == 4)
      return {(V)vfmaq_f32((float32x4_t)c.v, (float32x4_t)a.v, (float32x4_t)b.v)};
    else
      return {(V)vfmaq_f64((float64x2_t)c.v, (float64x2_t)a.v, (float64x2_t)b.v)};
#else
    Vec r;
    for (int i = 0; i < lanes; ++i)
      r.v[i] = sizeof(T) == 4 ? __builtin_fmaf(a.v[i], b.v[i], c.v[i]) : __builtin_fma(a.v[i], b.v[i], c.v[i]);
    return r;
#endif
  }
  // a b − c, rounded once.
  friend EV_INLINE Vec fms(Vec a, Vec b, Vec c) { return fma(a, b, -c); }
  // c − a b, rounded once.
  friend EV_INLINE Vec fnma(Vec a, Vec b, Vec c) { return fma(-a, b, c); }

  friend EV_INLINE Vec sqrt(Vec a) {
#if defined(__AVX512F__)
    // Newton's iteration from the estimate takes half or a third of the time of the instruction and is right to the
    // last bit too (Markstein, Computation of elementary functions on the IBM RISC System/6000 processor, 1990), but
    // for the smallest numbers, 0 and inf.
    const Vec small = sizeof(T) == 4 ? T(0x1p-90) : T(0x1p-900), infinity = T(__builtin_inf());
    if (any(!(a > small) || a == infinity)) [[unlikely]] {
      if constexpr (sizeof(T) == 4)
        return {(V)_mm512_maskz_sqrt_ps(kAllF, (__m512)a.v)};
      else
        return {(V)_mm512_maskz_sqrt_pd(kAllD, (__m512d)a.v)};
    }
    Vec y;
    if constexpr (sizeof(T) == 4)
      y.v = (V)_mm512_maskz_rsqrt14_ps(kAllF, (__m512)a.v);
    else
      y.v = (V)_mm512_maskz_rsqrt14_pd(kAllD, (__m512d)a.v);
    const Vec half = T(0.5);
    Vec g = a * y, h = y * half;
#pragma GCC unroll 2
    for (unsigned i = 0; i < sizeof(T) / 4; ++i) {
      const Vec e = fma(-h, g, half);
      g = fma(g, e, g), h = fma(h, e, h);
    }
    return fma(fma(-g, g, a), h, g);
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4)
      return {(V)_mm256_sqrt_ps((__m256)a.v)};
    else
      return {(V)_mm256_sqrt_pd((__m256d)a.v)};
#elif defined(__aarch64__)
    if constexpr (sizeof(T) == 4)
      return {(V)vsqrtq_f32((float32x4_t)a.v)};
    else
      return {(V)vsqrtq_f64((float64x2_t)a.v)};
#else
    Vec r;
    for (int i = 0; i < lanes; ++i) r.v[i] = __builtin_sqrt(a.v[i]);
    return r;
#endif
  }

  friend EV_INLINE Vec abs(Vec a) { return from_bits(a.bits() & ~sign_bit()); }
  // Magnitude of a with the sign of b.
  friend EV_INLINE Vec copysign(Vec a, Vec b) { return from_bits((a.bits() & ~sign_bit()) | (b.bits() & sign_bit())); }
  // a with its sign flipped where b is negative (b = −0 counts as negative).
  friend EV_INLINE Vec flip_sign(Vec a, Vec b) { return from_bits(a.bits() ^ (b.bits() & sign_bit())); }

  // To the nearest integer, halves to even; also for values beyond the range of integers.
  friend EV_INLINE Vec round(Vec a) { return rounded<0x8>(a); }
  friend EV_INLINE Vec floor(Vec a) { return rounded<0x9>(a); }
  friend EV_INLINE Vec ceil(Vec a) { return rounded<0xA>(a); }
  friend EV_INLINE Vec trunc(Vec a) { return rounded<0xB>(a); }

  // Every lane through a scalar function: for rare inputs off the fast path.
  template <class F>
  friend EV_INLINE Vec each_lane(Vec a, F f) {
    alignas(EV_SIMD_BYTES) T x[lanes];
    a.store(x);
    for (int i = 0; i < lanes; ++i) x[i] = f(x[i]);
    return load(x);
  }

  template <class F>
  friend EV_INLINE Vec each_lane(Vec a, Vec b, F f) {
    alignas(EV_SIMD_BYTES) T x[lanes], y[lanes];
    a.store(x);
    b.store(y);
    for (int i = 0; i < lanes; ++i) x[i] = f(x[i], y[i]);
    return load(x);
  }

  static EV_INLINE I sign_bit() { return (Int)((Uint)1 << (8 * sizeof(T) - 1)) - I{}; }

 private:
  template <int mode>
  static EV_INLINE Vec rounded(Vec a) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4)
      return {(V)_mm512_maskz_roundscale_ps(kAllF, (__m512)a.v, mode)};
    else
      return {(V)_mm512_maskz_roundscale_pd(kAllD, (__m512d)a.v, mode)};
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4)
      return {(V)_mm256_round_ps((__m256)a.v, mode)};
    else
      return {(V)_mm256_round_pd((__m256d)a.v, mode)};
#elif defined(__aarch64__)
    if constexpr (sizeof(T) == 4) {
      const float32x4_t x = (float32x4_t)a.v;
      return {(V)(mode == 8 ? vrndnq_f32(x) : mode == 9 ? vrndmq_f32(x) : mode == 10 ? vrndpq_f32(x) : vrndq_f32(x))};
    } else {
      const float64x2_t x = (float64x2_t)a.v;
      return {(V)(mode == 8 ? vrndnq_f64(x) : mode == 9 ? vrndmq_f64(x) : mode == 10 ? vrndpq_f64(x) : vrndq_f64(x))};
    }
#else
    return each_lane(a, [](T x) -> T {
      return mode == 8    ? __builtin_nearbyint(x)
             : mode == 9  ? __builtin_floor(x)
             : mode == 10 ? __builtin_ceil(x)
                          : __builtin_trunc(x);
    });
#endif
  }
};

// Formulas call these by a qualified name, which does not find friends; the friend is the better match inside.
#define EV_QUALIFIED(fn)          \
  template <class T>              \
  EV_INLINE Vec<T> fn(Vec<T> x) { \
    return fn(x);                 \
  }
EV_QUALIFIED(abs)
EV_QUALIFIED(sqrt)
EV_QUALIFIED(round)
EV_QUALIFIED(floor)
EV_QUALIFIED(ceil)
EV_QUALIFIED(trunc)
#undef EV_QUALIFIED

// Polynomial c[0] + c[1] x + … by Horner's rule with FMA; coefficients in the lane type.
template <class T, std::size_t N>
EV_INLINE Vec<T> horner(Vec<T> x, const T (&c)[N]) {
  Vec<T> r = c[N - 1];
#pragma GCC unroll 32
  for (int i = static_cast<int>(N) - 2; i >= 0; --i) r = fma(r, x, Vec<T>(c[i]));
  return r;
}

// The same by Estrin's scheme: a few multiplications more, in a chain as long as the logarithm of N. For polynomials so
// long that the processor cannot look ahead to the next vector.
template <class T, std::size_t N>
EV_INLINE Vec<T> estrin(Vec<T> x, const T (&c)[N]) {
  Vec<T> r[(N + 1) / 2];
#pragma GCC unroll 32
  for (std::size_t i = 0; i < N / 2; ++i) r[i] = fma(Vec<T>(c[2 * i + 1]), x, Vec<T>(c[2 * i]));
  if constexpr (N % 2 == 1) r[N / 2] = c[N - 1];
  std::size_t n = (N + 1) / 2;
#pragma GCC unroll 8
  for (; n > 1; n = (n + 1) / 2) {
    x = x * x;
#pragma GCC unroll 32
    for (std::size_t i = 0; i < n / 2; ++i) r[i] = fma(r[2 * i + 1], x, r[2 * i]);
    if (n % 2 == 1) r[n / 2] = r[n - 1];
  }
  return r[0];
}

// The value nearest to n 1.5 2^m, m the bits of the fraction: its low bits are the integer nearest to n (|n| <
// 2^(m−2)).
template <class T>
inline constexpr T kRoundMagic = sizeof(T) == 4 ? T(12582912.0) : T(6755399441055744.0);

// 2ⁿ for an integral vector n of moderate size (the result must be a normal number).
template <class T>
EV_INLINE Vec<T> exp2_integer(Vec<T> n) {
  using V = Vec<T>;
  constexpr int fraction = sizeof(T) == 4 ? 23 : 52;
  constexpr int bias = sizeof(T) == 4 ? 127 : 1023;
  const auto i = (n + V(kRoundMagic<T> + bias)).bits();  // n + bias in the low bits
  return V::from_bits(i << fraction);
}

EV_LEVEL_END
}  // namespace evolute::math
