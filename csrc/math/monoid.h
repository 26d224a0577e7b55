// The operations that reductions are made of: each has an identity and may be applied in any order.
#pragma once

#include <cstdint>
#include <limits>
#include <type_traits>

#include "math/scalar.h"  // EV_LEVEL_BEGIN

namespace evolute::math {
EV_LEVEL_BEGIN

struct SumOf {
  template <class T>
  static constexpr T identity = 0;
  template <class T>
  EV_HD static T combine(T a, T b) {
    if constexpr (std::is_integral_v<T>)
      return static_cast<T>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));  // modulo 2^64
    else
      return a + b;
  }
};

struct ProdOf {
  template <class T>
  static constexpr T identity = 1;
  template <class T>
  EV_HD static T combine(T a, T b) {
    if constexpr (std::is_integral_v<T>)
      return static_cast<T>(static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b));
    else
      return a * b;
  }
};

// NaN wins.
struct MaxOf {
  template <class T, class L = std::numeric_limits<T>>
  static constexpr T identity = L::has_infinity ? -L::infinity() : L::lowest();
  template <class T>
  EV_HD static T combine(T a, T b) {
    const T larger = a > b ? a : b;
    return a != a ? a : larger;
  }
};

struct MinOf {
  template <class T, class L = std::numeric_limits<T>>
  static constexpr T identity = L::has_infinity ? L::infinity() : L::max();
  template <class T>
  EV_HD static T combine(T a, T b) {
    const T smaller = a < b ? a : b;
    return a != a ? a : smaller;
  }
};

struct AnyOf {
  template <class>
  static constexpr bool identity = false;
  EV_HD static bool combine(bool a, bool b) { return a | b; }
};

struct AllOf {
  template <class>
  static constexpr bool identity = true;
  EV_HD static bool combine(bool a, bool b) { return a & b; }
};

EV_LEVEL_END
}  // namespace evolute::math
