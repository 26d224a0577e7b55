// The functions that the formulas of elementwise.def call, on Vec. Accuracy is stated in docs/accuracy.md.
#pragma once

#include <cmath>

#include "cpu/simd/math_exp.h"
#include "cpu/simd/math_log.h"
#include "cpu/simd/math_pow.h"
#include "cpu/simd/vec.h"

namespace evolute::math {
EV_LEVEL_BEGIN

// Not yet vectorised: lane by lane through the C library.
#define EV_LANES(fn)                                                   \
  EV_INLINE Vec<float> fn(Vec<float> x) {                              \
    return each_lane(x, [](float v) { return __builtin_##fn##f(v); }); \
  }                                                                    \
  EV_INLINE Vec<double> fn(Vec<double> x) {                            \
    return each_lane(x, [](double v) { return __builtin_##fn(v); });   \
  }
EV_LANES(sin)
EV_LANES(cos)
EV_LANES(tan)
EV_LANES(asin)
EV_LANES(acos)
EV_LANES(atan)
EV_LANES(erf)
EV_LANES(erfc)
#undef EV_LANES

#define EV_LANES2(fn)                                                                 \
  EV_INLINE Vec<float> fn(Vec<float> x, Vec<float> y) {                               \
    return each_lane(x, y, [](float a, float b) { return __builtin_##fn##f(a, b); }); \
  }                                                                                   \
  EV_INLINE Vec<double> fn(Vec<double> x, Vec<double> y) {                            \
    return each_lane(x, y, [](double a, double b) { return __builtin_##fn(a, b); });  \
  }
EV_LANES2(atan2)
EV_LANES2(hypot)
#undef EV_LANES2

template <class T, class S>
  requires std::is_arithmetic_v<S>
EV_INLINE Vec<T> hypot(S a, Vec<T> b) {
  return hypot(Vec<T>(a), b);
}

template <class T>
EV_INLINE Vec<T> sign(Vec<T> x) {  // NaN stays NaN
  return select(x > 0, Vec<T>(1), select(x < 0, Vec<T>(-1), x));
}

EV_LEVEL_END
}  // namespace evolute::math
