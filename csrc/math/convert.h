// Conversion of one element between types, defined for every value.
#pragma once

#include "math/scalar.h"  // EV_HD

namespace evolute::math {

// To bool: x != 0. Float to integer: truncation, NaN to 0, values out of range to the nearest end of the range.
template <class To, class From>
EV_HD inline To convert(From x) {
  if constexpr (std::is_same_v<To, bool>) {
    return x != From(0);
  } else if constexpr (std::is_integral_v<To> && std::is_floating_point_v<From>) {
    constexpr From lo = static_cast<From>(std::numeric_limits<To>::min()), hi = -lo;  // both are powers of two
    if (x >= hi) return std::numeric_limits<To>::max();
    if (x <= lo) return std::numeric_limits<To>::min();
    return x == x ? static_cast<To>(x) : To(0);
  } else {
    return static_cast<To>(x);
  }
}

}  // namespace evolute::math
