/// \file
/// Shapes, strides and axis lists: up to eight integers, held inline.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <span>

#include "evolute/export.h"

namespace evolute {

/// A short list of integers without heap storage; at most `kMaxDims` long.
class EVOLUTE_API Dims {
 public:
  static constexpr int kMaxDims = 8;

  Dims() noexcept = default;
  Dims(std::initializer_list<std::int64_t> v) : Dims(std::span(v.begin(), v.size())) {}
  explicit Dims(std::span<const std::int64_t> v) {
    for (auto x : v) push_back(x);
  }
  static Dims filled(int n, std::int64_t value) {
    Dims d;
    for (int i = 0; i < n; ++i) d.push_back(value);
    return d;
  }

  int size() const noexcept { return n_; }
  bool empty() const noexcept { return n_ == 0; }
  std::int64_t& operator[](int i) noexcept { return v_[i]; }
  std::int64_t operator[](int i) const noexcept { return v_[i]; }
  std::int64_t* begin() noexcept { return v_.data(); }
  std::int64_t* end() noexcept { return v_.data() + n_; }
  const std::int64_t* begin() const noexcept { return v_.data(); }
  const std::int64_t* end() const noexcept { return v_.data() + n_; }
  std::int64_t back() const noexcept { return v_[n_ - 1]; }
  bool contains(std::int64_t x) const noexcept { return std::find(begin(), end(), x) != end(); }

  /// Appends; throws ShapeError beyond eight.
  void push_back(std::int64_t x) {
    if (n_ == kMaxDims) overflow();
    v_[n_++] = x;
  }
  void insert(int at, std::int64_t x) {
    push_back(x);
    std::rotate(begin() + at, end() - 1, end());
  }
  void erase(int at) noexcept {
    std::copy(begin() + at + 1, end(), begin() + at);
    --n_;
  }

  bool operator==(const Dims& o) const noexcept { return n_ == o.n_ && std::equal(begin(), end(), o.begin()); }

  /// Product of the entries; 1 when empty.
  std::int64_t product() const noexcept {
    std::int64_t p = 1;
    for (auto x : *this) p *= x;
    return p;
  }

 private:
  [[noreturn]] static void overflow();

  std::array<std::int64_t, kMaxDims> v_;
  std::int32_t n_ = 0;
};

using Shape = Dims;
using Strides = Dims;  ///< in elements
using Axes = Dims;

/// Prints `(2, 3)`, `(3,)`, `()`.
EVOLUTE_API std::ostream& operator<<(std::ostream& s, const Dims& d);

}  // namespace evolute
