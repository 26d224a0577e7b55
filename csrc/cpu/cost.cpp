// Each formula of elementwise.def is evaluated on a value type that counts: additions and the like are 1, divisions and
// functions what they were measured to take beside an addition.
#include "cpu/cost.h"

#include <array>
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

// The formulas name some functions by their namespace, so those above must be there first.
#include "math/elementwise.h"

namespace evolute::cpu {
namespace {

using math::Cost;

struct KernelCost {
  int operations = 0, operands = 0;
};

using CostTable = std::array<KernelCost, kNumElementwiseKernels>;

template <class F>
void set_unary(CostTable& t, int kernel) {
  const int f = F::f(Cost()).n, d1 = F::d1(Cost()).n, d2 = F::d2(Cost()).n;
  t[kernel] = {f, 2};
  t[kernel + 1] = {d1 + 1, 3};
  t[kernel + 2] = {d2 + 1, 3};
  t[kernel + 3] = {d1 + d2 + 3, 5};
}
template <class F>
void set_binary(CostTable& t, int kernel) {
  const Cost x, y;
  const int dx = F::dx(x, y).n, dy = F::dy(x, y).n, dxx = F::dxx(x, y).n, dxy = F::dxy(x, y).n, dyy = F::dyy(x, y).n;
  t[kernel] = {F::f(x, y).n, 3};
  int k = kernel;
  for (const int d : {dx, dy, dxx, dxy, dyy}) t[++k] = {d + 1, 4};
  t[kernel + 6] = {dx + dy + 2, 5};
  t[kernel + 7] = {dx + dy + dxx + dxy + dyy + 11, 8};
}

CostTable make_table() {
  CostTable t{};
#define EV_UNARY(Name, ...) set_unary<fn::Name>(t, k##Name);
#define EV_UNARY_FLAT(Name, ...) t[k##Name] = {fn::Name::f(Cost()).n, 2};
#define EV_BINARY(Name, ...) set_binary<fn::Name>(t, k##Name);
#define EV_BINARY_FLAT(Name, ...) t[k##Name] = {fn::Name::f(Cost(), Cost()).n, 3};
#define EV_COMPARE(Name, ...) t[k##Name] = {fn::Name::f(Cost(), Cost()).n, 3};
#include "evolute/elementwise.def"
  return t;
}

}  // namespace

double elementwise_ns(int kernel, DType t) {
  static const CostTable table = make_table();
  constexpr double kOperationNs = 0.01;  // on one byte of each element
  const KernelCost& cost = table[static_cast<std::size_t>(kernel)];
  return static_cast<double>(size_of(t)) * (kOperationNs * cost.operations + kNsPerByte * cost.operands / 2);
}

}  // namespace evolute::cpu
