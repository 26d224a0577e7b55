/// \file
/// Element types and their promotion.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "evolute/export.h"

namespace evolute {

/// Element type of a tensor. The order is the order of promotion.
enum class DType : std::uint8_t { Bool, Int32, Int64, Float32, Float64 };

inline constexpr DType bool_ = DType::Bool;
inline constexpr DType int32 = DType::Int32;
inline constexpr DType int64 = DType::Int64;
inline constexpr DType float32 = DType::Float32;
inline constexpr DType float64 = DType::Float64;
inline constexpr int kNumDTypes = 5;

/// Size of one element in bytes.
constexpr std::size_t size_of(DType t) {
  constexpr std::size_t sizes[kNumDTypes] = {1, 4, 8, 4, 8};
  return sizes[static_cast<int>(t)];
}
constexpr bool is_floating(DType t) { return t >= DType::Float32; }
constexpr bool is_integer(DType t) { return t == DType::Int32 || t == DType::Int64; }

/// Name as printed in `repr`: `Float32`, `Int64`, `Bool`.
EVOLUTE_API std::string_view name_of(DType t);

/// The smallest type both convert to; a float of any width wins over any integer (int64 with float32 is float32).
constexpr DType promote(DType a, DType b) { return a > b ? a : b; }

/// `promote` for a tensor beside a Python scalar: the scalar's kind counts, its width does not.
constexpr DType promote_weak(DType tensor, DType scalar) {
  if (is_floating(scalar)) return is_floating(tensor) ? tensor : DType::Float32;
  return promote(tensor, scalar == DType::Bool || tensor != DType::Bool ? DType::Bool : scalar);
}

/// C++ type of each DType: the one list that dispatch is made from.
template <class T>
inline constexpr DType dtype_of = DType::Float32;
template <>
inline constexpr DType dtype_of<bool> = DType::Bool;
template <>
inline constexpr DType dtype_of<std::int32_t> = DType::Int32;
template <>
inline constexpr DType dtype_of<std::int64_t> = DType::Int64;
template <>
inline constexpr DType dtype_of<double> = DType::Float64;

template <class T>
struct TypeTag {
  using type = T;
};

/// Calls `f(TypeTag<T>{})` with the C++ type of `t`.
template <class F>
decltype(auto) dispatch(DType t, F&& f) {
  switch (t) {
    case DType::Bool: return f(TypeTag<bool>{});
    case DType::Int32: return f(TypeTag<std::int32_t>{});
    case DType::Int64: return f(TypeTag<std::int64_t>{});
    case DType::Float32: return f(TypeTag<float>{});
    default: return f(TypeTag<double>{});
  }
}

/// `dispatch` over the floating types only; the caller has checked.
template <class F>
decltype(auto) dispatch_floating(DType t, F&& f) {
  return t == DType::Float32 ? f(TypeTag<float>{}) : f(TypeTag<double>{});
}

}  // namespace evolute
