// The functions that the formulas of elementwise.def call, on Vec. Accuracy is stated in docs/accuracy.md.
#pragma once

#include "cpu/simd/math_error.h"
#include "cpu/simd/math_exp.h"
#include "cpu/simd/math_inverse_trig.h"
#include "cpu/simd/math_log.h"
#include "cpu/simd/math_pow.h"
#include "cpu/simd/math_trig.h"
#include "cpu/simd/vec.h"

namespace evolute::math {
EV_LEVEL_BEGIN

template <class T, class S>
  requires std::is_arithmetic_v<S>
EV_INLINE Vec<T> hypot(S a, Vec<T> b) {
  return hypot(Vec<T>(a), b);
}

// max(x, 0) + log(1 + e), e = e^−|x| ≤ 1: (1 + e)/2 beyond √2, less 1 either way, is formed from e.
template <class T>
EV_INLINE Vec<T> softplus(Vec<T> x) {
  using V = Vec<T>;
  const V e = logistic(x).e;
  const auto high = e > V(T(0.41421356237309503));
  const V log1p = log_sum(select(high, V(1), V(0)), select(high, 0.5 * (e - 1), e));
  return select(x > 0 || x != x, x, V(0)) + log1p;
}

template <class T>
EV_INLINE Vec<T> sign(Vec<T> x) {  // NaN stays NaN
  return select(x > 0, Vec<T>(1), select(x < 0, Vec<T>(-1), x));
}

EV_LEVEL_END
}  // namespace evolute::math
