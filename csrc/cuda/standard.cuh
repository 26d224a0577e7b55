// What the formulas need of the standard library, for compilers that have none: NVRTC, for which this stands in place
// of <cmath>, <cstddef>, <cstdint>, <limits> and <type_traits>.
#pragma once

namespace std {
using int8_t = signed char;
using uint8_t = unsigned char;
using int16_t = short;
using uint16_t = unsigned short;
using int32_t = int;
using uint32_t = unsigned int;
using int64_t = long;
using uint64_t = unsigned long;
using uintptr_t = unsigned long;
using size_t = unsigned long;
template <bool c, class A, class B>
struct conditional {
  using type = A;
};
template <class A, class B>
struct conditional<false, A, B> {
  using type = B;
};
template <bool c, class A, class B>
using conditional_t = typename conditional<c, A, B>::type;
template <class A, class B>
inline constexpr bool is_same_v = false;
template <class A>
inline constexpr bool is_same_v<A, A> = true;
template <class T>
inline constexpr bool is_floating_point_v = is_same_v<T, float> || is_same_v<T, double>;
template <class T>
inline constexpr bool is_integral_v =
    is_same_v<T, bool> || is_same_v<T, char> || is_same_v<T, signed char> || is_same_v<T, unsigned char> ||
    is_same_v<T, short> || is_same_v<T, unsigned short> || is_same_v<T, int> || is_same_v<T, unsigned> ||
    is_same_v<T, long> || is_same_v<T, unsigned long> || is_same_v<T, long long> || is_same_v<T, unsigned long long>;
template <class T>
inline constexpr bool is_arithmetic_v = is_integral_v<T> || is_floating_point_v<T>;
template <class T>
struct make_unsigned {
  using type = unsigned;
};
template <>
struct make_unsigned<long> {
  using type = unsigned long;
};
template <class T>
using make_unsigned_t = typename make_unsigned<T>::type;

// clang-format off
#define EV_STD(name)                                             \
  __device__ inline float name(float x) { return ::name##f(x); } \
  __device__ inline double name(double x) { return ::name(x); }
EV_STD(sqrt) EV_STD(exp) EV_STD(expm1) EV_STD(log) EV_STD(log1p) EV_STD(sin) EV_STD(cos) EV_STD(tan) EV_STD(asin)
EV_STD(acos) EV_STD(atan) EV_STD(sinh) EV_STD(cosh) EV_STD(tanh) EV_STD(asinh) EV_STD(acosh) EV_STD(atanh) EV_STD(erf)
EV_STD(erfc) EV_STD(fabs) EV_STD(floor) EV_STD(ceil) EV_STD(nearbyint) EV_STD(trunc)
#undef EV_STD
#define EV_STD(name)                                                         \
  __device__ inline float name(float x, float y) { return ::name##f(x, y); } \
  __device__ inline double name(double x, double y) { return ::name(x, y); }
EV_STD(hypot) EV_STD(atan2) EV_STD(pow) EV_STD(fmod) EV_STD(copysign)
#undef EV_STD
    // clang-format on
    __device__ inline float fma(float x, float y, float z) {
  return ::fmaf(x, y, z);
}
__device__ inline double fma(double x, double y, double z) { return ::fma(x, y, z); }
}  // namespace std
