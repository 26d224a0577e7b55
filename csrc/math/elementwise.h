// The elementwise functions as types, and the numbering of their kernels, both made from elementwise.def.
#pragma once

#include <cstdint>

#include "math/cost.h"
#include "math/scalar.h"

namespace evolute {

enum class Operands : std::uint8_t { real, number, logical };
enum class Residual : std::uint8_t { x, y };

// For each unary function F: F::f(x), F::d1(r), F::d2(r), each a template over the value type; for each binary one:
// F::f(x, y), F::dx(x, y), F::dy(x, y).
namespace fn {

#define EV_UNARY(Name, fun, types, r, lo, hi, F, D1, D2, text) \
  struct Name {                                                \
    static constexpr Residual residual = Residual::r;          \
    template <class V>                                         \
    EV_HD static constexpr V f([[maybe_unused]] V x) {         \
      return F;                                                \
    }                                                          \
    template <class V>                                         \
    EV_HD static constexpr V d1([[maybe_unused]] V r) {        \
      return D1;                                               \
    }                                                          \
    template <class V>                                         \
    EV_HD static constexpr V d2([[maybe_unused]] V r) {        \
      return D2;                                               \
    }                                                          \
  };
#define EV_UNARY_FLAT(Name, fun, types, lo, hi, F, text) \
  struct Name {                                          \
    template <class V>                                   \
    EV_HD static constexpr V f(V x) {                    \
      return F;                                          \
    }                                                    \
  };
#define EV_BINARY(Name, fun, types, lo, hi, F, DX, DY, DXX, DXY, DYY, text)    \
  struct Name {                                                                \
    template <class V>                                                         \
    EV_HD static constexpr V f(V x, V y) {                                     \
      return F;                                                                \
    }                                                                          \
    template <class V>                                                         \
    EV_HD static constexpr V dx([[maybe_unused]] V x, [[maybe_unused]] V y) {  \
      return DX;                                                               \
    }                                                                          \
    template <class V>                                                         \
    EV_HD static constexpr V dy([[maybe_unused]] V x, [[maybe_unused]] V y) {  \
      return DY;                                                               \
    }                                                                          \
    template <class V>                                                         \
    EV_HD static constexpr V dxx([[maybe_unused]] V x, [[maybe_unused]] V y) { \
      return DXX;                                                              \
    }                                                                          \
    template <class V>                                                         \
    EV_HD static constexpr V dxy([[maybe_unused]] V x, [[maybe_unused]] V y) { \
      return DXY;                                                              \
    }                                                                          \
    template <class V>                                                         \
    EV_HD static constexpr V dyy([[maybe_unused]] V x, [[maybe_unused]] V y) { \
      return DYY;                                                              \
    }                                                                          \
  };
#define EV_BINARY_FLAT(Name, fun, types, lo, hi, F, text) \
  struct Name {                                           \
    template <class V>                                    \
    EV_HD static constexpr V f(V x, V y) {                \
      return F;                                           \
    }                                                     \
  };
#define EV_COMPARE(Name, fun, types, lo, hi, F, text) \
  struct Name {                                       \
    template <class V>                                \
    EV_HD static auto f(V x, V y) {                   \
      return F;                                       \
    }                                                 \
  };
#include "evolute/elementwise.def"

}  // namespace fn

// Functions whose derivatives are so costly that they are computed along with the value, where they will be wanted:
// that shares exponentials and the like, and costs a result to be written and kept.
constexpr int kCostlyDerivative = 15;
template <class F>
constexpr bool has_jets = F::d1(math::Cost()).n >= kCostlyDerivative;
template <class F>
  requires requires { F::dxy(math::Cost(), math::Cost()); }
constexpr bool has_jets<F> = F::dx(math::Cost(), math::Cost()).n >= kCostlyDerivative &&
                             F::dy(math::Cost(), math::Cost()).n >= kCostlyDerivative;

// Kernels. Derivative kernels take their factors in front. For unary f with residual r, f' = p(r):
//   f_d1(g, r) = g p        f_d2(g, r) = g p'        f_d1_vjp(h, g, r) = (h p, h g p')
//   f_jet1(x) = (f, p)      f_jet2(x) = (f, p, p')   where has_jets
// For binary f:
//   f_dx(g, x, y) = g f_x, likewise dy, dxx, dxy, dyy
//   f_vjp(g, x, y) = (g f_x, g f_y)
//   f_vjp2(a, b, g, x, y) = (a f_x + b f_y, g (a f_xx + b f_xy), g (a f_xy + b f_yy)), the reverse rule of f_vjp
//   f_jet1(x, y) = (f, f_x, f_y)    f_jet2(x, y) = (f, f_x, f_y, f_xx, f_xy, f_yy)    where has_jets
//   f_jet1x(x, y) = (f, f_x)        f_jet2x(x, y) = (f, f_x, f_xx)                    likewise jet1y, jet2y
enum ElementwiseKernel : int {
#define EV_UNARY(Name, ...) k##Name, k##Name##_d1, k##Name##_d2, k##Name##_d1_vjp, k##Name##_jet1, k##Name##_jet2,
#define EV_UNARY_FLAT(Name, ...) k##Name,
#define EV_BINARY(Name, ...)                                                                                       \
  k##Name, k##Name##_dx, k##Name##_dy, k##Name##_dxx, k##Name##_dxy, k##Name##_dyy, k##Name##_vjp, k##Name##_vjp2, \
      k##Name##_jet1x, k##Name##_jet1y, k##Name##_jet1, k##Name##_jet2x, k##Name##_jet2y, k##Name##_jet2,
#define EV_BINARY_FLAT(Name, ...) k##Name,
#define EV_COMPARE(Name, ...) k##Name,
#include "evolute/elementwise.def"
  kNumElementwiseKernels
};

}  // namespace evolute
