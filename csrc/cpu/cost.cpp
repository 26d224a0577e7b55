// Each formula of elementwise.def is evaluated on a value type that counts (math/cost.h).
#include "cpu/cost.h"

#include <array>

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
  // Jets share most of the work.
  t[kernel + 4] = {f + d1 / 2, 3};
  t[kernel + 5] = {f + (d1 + d2) / 2, 4};
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
  const int f = F::f(x, y).n;
  t[kernel + 8] = {f + dx / 4, 4};
  t[kernel + 9] = {f + dy / 4, 4};
  t[kernel + 10] = {f + (dx + dy) / 4, 5};
  t[kernel + 11] = {f + (dx + dxx) / 4, 5};
  t[kernel + 12] = {f + (dy + dyy) / 4, 5};
  t[kernel + 13] = {f + (dx + dy + dxx + dxy + dyy) / 4, 8};
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

const KernelCost& cost_of(int kernel) {
  static const CostTable table = make_table();
  return table[static_cast<std::size_t>(kernel)];
}

}  // namespace

double arithmetic_ns(int kernel, DType t) {
  constexpr double kOperationNs = 0.01;  // on one byte of each element
  return static_cast<double>(size_of(t)) * kOperationNs * cost_of(kernel).operations;
}

double elementwise_ns(int kernel, DType t) {
  return arithmetic_ns(kernel, t) + static_cast<double>(size_of(t)) * kNsPerByte * cost_of(kernel).operands / 2;
}

}  // namespace evolute::cpu
