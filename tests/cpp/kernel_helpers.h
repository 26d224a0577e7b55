// What the tests of kernels share: arrays of every type and layout, and their values without the kernels' help.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "core/array.h"
#include "core/backend.h"

namespace evolute::test {

inline constexpr double kInf = std::numeric_limits<double>::infinity();
inline constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
inline constexpr DType kDTypes[] = {bool_, int32, int64, float32, float64};

inline Backend& device() { return backend(DeviceType::CPU); }

inline std::vector<double> values(const Array& a) {
  Ref<Array> out = empty({a.shape(), float64});
  for (std::int64_t i = 0; i < a.size(); ++i) {  // not by the copy kernel, which is under test
    std::int64_t rest = i, at = 0;
    for (int d = a.ndim() - 1; d >= 0; --d) {
      at += rest % a.shape()[d] * a.strides()[d];
      rest /= a.shape()[d];
    }
    dispatch(a.dtype(), [&](auto tag) {
      out->data<double>()[i] = static_cast<double>(a.data<typename decltype(tag)::type>()[at]);
    });
  }
  return {out->data<double>(), out->data<double>() + a.size()};
}

inline Ref<Array> filled(const Shape& shape, DType dtype, const std::vector<double>& v) {
  Ref<Array> a = empty({shape, dtype});
  for (std::int64_t i = 0; i < a->size(); ++i)
    dispatch(dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      a->data<T>()[i] = static_cast<T>(v[static_cast<std::size_t>(i)]);
    });
  return a;
}

// Small integers, so that every type holds them and sums are exact; or reals.
inline Ref<Array> random_array(const Shape& shape, DType dtype, bool integers = true, unsigned seed = 1) {
  std::mt19937 gen(seed);
  std::vector<double> v(static_cast<std::size_t>(shape.product()));
  for (double& x : v) x = integers ? static_cast<double>(static_cast<int>(gen() % 7) - 3) : gen() * 0x1p-32;
  return filled(shape, dtype, v);
}

// Views of a row-major array of `shape`, in every memory order of its axes, also reversed and with gaps.
inline std::vector<Ref<Array>> layouts(const Shape& shape, DType dtype, bool integers = true) {
  std::vector<Ref<Array>> out;
  Dims order;
  for (int i = 0; i < shape.size(); ++i) order.push_back(i);
  do {
    Shape stored;
    for (auto k : order) stored.push_back(shape[static_cast<int>(k)]);
    Ref<Array> a = random_array(stored, dtype, integers, static_cast<unsigned>(out.size()));
    Strides strides = shape;
    for (int i = 0; i < shape.size(); ++i) strides[static_cast<int>(order[i])] = a->strides()[i];
    out.push_back(view(*a, shape, strides));
  } while (std::next_permutation(order.begin(), order.end()));

  Shape padded = shape;
  for (auto& n : padded) n = 2 * n + 1;
  Ref<Array> a = random_array(padded, dtype, integers);
  Strides strides = a->strides();
  std::int64_t offset = 0;
  for (int i = 0; i < shape.size(); ++i) {
    if (i % 2 == 0) offset += (2 * shape[i] - 1) * strides[i];
    strides[i] *= i % 2 == 0 ? -2 : 2;
  }
  if (shape.product() > 0) out.push_back(view(*a, shape, strides, offset));
  return out;
}

inline bool same(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i] != b[i] && !(std::isnan(a[i]) && std::isnan(b[i]))) return false;
  return true;
}

inline Shape removed(const Shape& shape, const Axes& axes) {
  Shape out;
  for (int i = 0; i < shape.size(); ++i)
    if (!axes.contains(i)) out.push_back(shape[i]);
  return out;
}

}  // namespace evolute::test
