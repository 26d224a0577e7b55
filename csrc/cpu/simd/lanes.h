// Plain vectors: whole and partial loads and stores, and for the matrix product transposition within them.
#pragma once

#include <cstring>
#include <utility>

#include "cpu/simd/vec.h"

namespace evolute::cpu {
inline namespace EV_SIMD_LEVEL {
namespace {

using Index = std::int64_t;

template <class T>
struct Lanes {
  static constexpr int count = EV_SIMD_BYTES / sizeof(T);
  typedef T V __attribute__((vector_size(EV_SIMD_BYTES)));
  typedef T Quarter __attribute__((vector_size(16)));
};
template <class T>
using V = typename Lanes<T>::V;

template <class T>
EV_INLINE V<T> load(const T* p) {
  V<T> v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <class T>
EV_INLINE void store(V<T> v, T* p) {
  std::memcpy(p, &v, sizeof v);
}
template <class T>
EV_INLINE V<T> broadcast(T x) {
  return x - V<T>{};
}

// The first `n` elements of a vector, 0 < n <= lanes. Elements beyond are read as zero, without touching their memory.
template <class T>
struct Part {
#if defined(__AVX512F__)
  static constexpr bool free = true;  // masked accesses cost what plain ones cost
  unsigned mask;
  EV_INLINE explicit Part(Index n) : mask((1u << n) - 1) {}
  EV_INLINE V<T> load(const T* p) const {
    if constexpr (sizeof(T) == 4)
      return (V<T>)_mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), p);
    else
      return (V<T>)_mm512_maskz_loadu_pd(static_cast<__mmask8>(mask), p);
  }
  EV_INLINE void store(V<T> v, T* p) const {
    if constexpr (sizeof(T) == 4)
      _mm512_mask_storeu_ps(p, static_cast<__mmask16>(mask), (__m512)v);
    else
      _mm512_mask_storeu_pd(p, static_cast<__mmask8>(mask), (__m512d)v);
  }
#elif defined(__AVX2__)
  static constexpr bool free = false;
  __m256i mask;
  EV_INLINE explicit Part(Index n) {
    alignas(32) static constexpr std::int32_t ones[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    mask = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(ones + 8 - n * sizeof(T) / 4));
  }
  EV_INLINE V<T> load(const T* p) const {
    if constexpr (sizeof(T) == 4)
      return (V<T>)_mm256_maskload_ps(p, mask);
    else
      return (V<T>)_mm256_maskload_pd(p, mask);
  }
  EV_INLINE void store(V<T> v, T* p) const {
    if constexpr (sizeof(T) == 4)
      _mm256_maskstore_ps(p, mask, (__m256)v);
    else
      _mm256_maskstore_pd(p, mask, (__m256d)v);
  }
#else
  static constexpr bool free = false;
  int n;
  EV_INLINE explicit Part(Index n) : n(static_cast<int>(n)) {}
  EV_INLINE V<T> load(const T* p) const {
    V<T> v{};
    for (int i = 0; i < n; ++i) v[i] = p[i];
    return v;
  }
  EV_INLINE void store(V<T> v, T* p) const {
    for (int i = 0; i < n; ++i) p[i] = v[i];
  }
#endif
};

// ---- quads: what lies in 16 bytes, the unit within which x86 shuffles at full rate ---------------------------------

template <class T>
constexpr int kQuad = 16 / sizeof(T);

// Lane l of the result is lane l of a or of b, by turns: those of the lower (upper) half of each quad. `unit` elements
// move together.
template <class T, int unit, bool upper>
EV_INLINE V<T> interleave(V<T> a, V<T> b) {
  return [&]<int... l>(std::integer_sequence<int, l...>) __attribute__((always_inline)) {
    constexpr int L = Lanes<T>::count, Q = kQuad<T>;
    return __builtin_shufflevector(
        a, b, (l / Q * Q + (upper ? Q / 2 : 0) + l % Q / (2 * unit) * unit + l % unit + (l / unit % 2 ? L : 0))...);
  }(std::make_integer_sequence<int, Lanes<T>::count>{});
}

// Transposes the kQuad x kQuad matrices that lie side by side in v[0], v[1], ...
template <class T>
EV_INLINE void transpose_quads(V<T>* v) {
  if constexpr (sizeof(T) == 4) {
    const V<T> a = interleave<T, 1, false>(v[0], v[1]), b = interleave<T, 1, true>(v[0], v[1]);
    const V<T> c = interleave<T, 1, false>(v[2], v[3]), d = interleave<T, 1, true>(v[2], v[3]);
    v[0] = interleave<T, 2, false>(a, c);
    v[1] = interleave<T, 2, true>(a, c);
    v[2] = interleave<T, 2, false>(b, d);
    v[3] = interleave<T, 2, true>(b, d);
  } else {
    const V<T> a = interleave<T, 1, false>(v[0], v[1]), b = interleave<T, 1, true>(v[0], v[1]);
    v[0] = a;
    v[1] = b;
  }
}

// Quads from addresses `step` elements apart, side by side.
template <class T>
EV_INLINE V<T> load_quads(const T* p, Index step) {
#if defined(__AVX512F__)
  const auto quad = [&](int i) __attribute__((always_inline)) {
    return _mm_loadu_ps(reinterpret_cast<const float*>(p + i * step));
  };
  __m512 v = _mm512_castps128_ps512(quad(0));
  v = _mm512_insertf32x4(v, quad(1), 1);
  v = _mm512_insertf32x4(v, quad(2), 2);
  return (V<T>)_mm512_insertf32x4(v, quad(3), 3);
#elif defined(__AVX2__)
  const auto quad = [&](int i) __attribute__((always_inline)) {
    return _mm_loadu_ps(reinterpret_cast<const float*>(p + i * step));
  };
  return (V<T>)_mm256_insertf128_ps(_mm256_castps128_ps256(quad(0)), quad(1), 1);
#else
  (void)step;
  return load(p);
#endif
}

// out[i] = sum of the lanes of v[i].
template <class T>
EV_INLINE void sum_lanes(V<T>* v, T* out) {
  constexpr int Q = kQuad<T>;
  transpose_quads<T>(v);
  V<T> s = v[0];
  for (int i = 1; i < Q; ++i) s += v[i];
  typename Lanes<T>::Quarter quarter[EV_SIMD_BYTES / 16];
  std::memcpy(quarter, &s, sizeof s);
  for (int i = 1; i < EV_SIMD_BYTES / 16; ++i) quarter[0] += quarter[i];
  std::memcpy(out, &quarter[0], sizeof quarter[0]);
}

}  // namespace
}  // namespace EV_SIMD_LEVEL
}  // namespace evolute::cpu
