// The elementwise functions as types, and the numbering of their kernels, both made from elementwise.def.
#pragma once

#include <cstdint>

#include "math/scalar.h"

namespace evolute {

enum class Operands : std::uint8_t { real, number, logical };
enum class Residual : std::uint8_t { x, y };

// For each unary function F: F::f(x), F::d1(r), F::d2(r), each a template over the value type; for each binary one:
// F::f(x, y), F::dx(x, y), F::dy(x, y).
namespace fn {

#define EV_UNARY(Name, fun, types, r, lo, hi, F, D1, D2, text)  \
  struct Name {                                                 \
    static constexpr Residual residual = Residual::r;           \
    template <class V>                                          \
    static V f([[maybe_unused]] V x) {                          \
      return F;                                                 \
    }                                                           \
    template <class V>                                          \
    static constexpr V d1([[maybe_unused]] V r) {                         \
      return D1;                                                \
    }                                                           \
    template <class V>                                          \
    static constexpr V d2([[maybe_unused]] V r) {                         \
      return D2;                                                \
    }                                                           \
  };
#define EV_UNARY_FLAT(Name, fun, types, lo, hi, F, text) \
  struct Name {                                          \
    template <class V>                                   \
    static V f(V x) {                                    \
      return F;                                          \
    }                                                    \
  };
#define EV_BINARY(Name, fun, types, lo, hi, F, DX, DY, text)       \
  struct Name {                                                    \
    template <class V>                                             \
    static V f(V x, V y) {                                         \
      return F;                                                    \
    }                                                              \
    template <class V>                                             \
    static constexpr V dx([[maybe_unused]] V x, [[maybe_unused]] V y) {      \
      return DX;                                                   \
    }                                                              \
    template <class V>                                             \
    static constexpr V dy([[maybe_unused]] V x, [[maybe_unused]] V y) {      \
      return DY;                                                   \
    }                                                              \
  };
#define EV_BINARY_FLAT(Name, fun, types, lo, hi, F, text) \
  struct Name {                                           \
    template <class V>                                    \
    static V f(V x, V y) {                                \
      return F;                                           \
    }                                                     \
  };
#define EV_COMPARE(Name, fun, types, lo, hi, F, text) \
  struct Name {                                       \
    template <class V>                                \
    static auto f(V x, V y) {                         \
      return F;                                       \
    }                                                 \
  };
#include "evolute/elementwise.def"

}  // namespace fn

// Kernels. A derivative kernel takes a cotangent or tangent g in front: Sin_d1(g, r) = g · p(r), Pow_dx(g, x, y) = g · ∂f/∂x.
enum ElementwiseKernel : int {
#define EV_UNARY(Name, ...) k##Name, k##Name##_d1, k##Name##_d2,
#define EV_UNARY_FLAT(Name, ...) k##Name,
#define EV_BINARY(Name, ...) k##Name, k##Name##_dx, k##Name##_dy,
#define EV_BINARY_FLAT(Name, ...) k##Name,
#define EV_COMPARE(Name, ...) k##Name,
#include "evolute/elementwise.def"
  kNumElementwiseKernels
};

}  // namespace evolute
