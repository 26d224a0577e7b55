// A value type that counts the operations of a formula: additions and the like are 1, divisions and functions what they
// were measured to take beside an addition.
#pragma once

#include <type_traits>

#include "math/scalar.h"

namespace evolute::math {
inline namespace counting {

struct Cost {
  int n;
  constexpr Cost() : n(0) {}
  template <class U>
    requires std::is_arithmetic_v<U>
  constexpr Cost(U) : n(0) {}
};
constexpr Cost sum(int n, Cost a, Cost b = {}, Cost c = {}) {
  Cost r;
  r.n = n + a.n + b.n + c.n;
  return r;
}
constexpr Cost operator-(Cost a) { return sum(1, a); }
constexpr Cost operator/(Cost a, Cost b) { return sum(6, a, b); }
#define EV_COST(op) \
  constexpr Cost operator op(Cost a, Cost b) { return sum(1, a, b); }
EV_COST(+)
EV_COST(-)
EV_COST(*)
EV_COST(==)
EV_COST(!=)
EV_COST(<)
EV_COST(<=)
EV_COST(>)
EV_COST(>=)
EV_COST(&&)
EV_COST(||)
EV_COST(&)
EV_COST(|)
#undef EV_COST
constexpr Cost select(Cost c, Cost a, Cost b) { return sum(1, c, a, b); }

#define EV_COST(fn, n) \
  constexpr Cost fn(Cost x) { return sum(n, x); }
EV_COST(abs, 1)
EV_COST(sign, 3)
EV_COST(floor, 1)
EV_COST(ceil, 1)
EV_COST(round, 1)
EV_COST(trunc, 1)
EV_COST(sqrt, 6)
EV_COST(exp, 15)
EV_COST(expm1, 25)
EV_COST(log, 20)
EV_COST(log1p, 30)
EV_COST(sin, 20)
EV_COST(cos, 20)
EV_COST(tan, 35)
EV_COST(asin, 25)
EV_COST(acos, 25)
EV_COST(atan, 30)
EV_COST(sinh, 30)
EV_COST(cosh, 25)
EV_COST(tanh, 30)
EV_COST(asinh, 40)
EV_COST(acosh, 40)
EV_COST(atanh, 40)
EV_COST(erf, 35)
EV_COST(erfc, 50)
#undef EV_COST
#define EV_COST(fn, n) \
  constexpr Cost fn(Cost x, Cost y) { return sum(n, x, y); }
EV_COST(pow, 80)
EV_COST(hypot, 20)
EV_COST(atan2, 40)
EV_COST(mod, 300)
EV_COST(floor_div, 300)
#undef EV_COST

}  // namespace counting
}  // namespace evolute::math
