// Results of elementwise ops that need no kernel.
#pragma once

#include "core/array.h"

namespace evolute {

// Whether `t` is the constant 1: one element in all places. Cotangents of sums are.
inline bool is_one(const Tensor& t) {
  const Array& a = t.array();
  return a.is_host_constant() && dispatch(a.dtype(), [&](auto tag) {
           using T = typename decltype(tag)::type;
           return *a.data<T>() == T(1);
         });
}
// x y for x = 1 or y = 1, and (g y, g x) for g = 1: nothing to compute, so nothing is read or written.
inline bool product_with_one(std::span<const Tensor> in, const Aval& result, std::span<Tensor> out) {
  for (std::size_t i = 0; i < 2; ++i)
    if (in[1 - i].aval() == result && is_one(in[i])) {
      out[0] = in[1 - i];
      return true;
    }
  return false;
}
inline bool products_with_one(std::span<const Tensor> in, const Aval& result, std::span<Tensor> out) {
  if (in[1].aval() != result || in[2].aval() != result || !is_one(in[0])) return false;
  out[0] = in[2];
  out[1] = in[1];
  return true;
}

}  // namespace evolute
