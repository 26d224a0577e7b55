// The inner loop of every elementwise kernel for every dtype it takes; compiled once per instruction set.
//
// float and double run on Vec where the set has FMA. Integers, comparisons and the baseline run on Scalar.
#include <array>
#include <tuple>

#include "cpu/simd.h"
#include "cpu/simd/math.h"
#include "math/elementwise.h"

#define EV_JOIN2(a, b) a##b
#define EV_JOIN(a, b) EV_JOIN2(a, b)

namespace evolute::cpu {
inline namespace EV_SIMD_LEVEL {
namespace {

using math::Scalar;
using math::Vec;

#if defined(__FMA__) || defined(__aarch64__)
constexpr bool kVectors = true;
#else
constexpr bool kVectors = false;
#endif

// The value type on which kernels of T are evaluated.
template <class T>
using Value = std::conditional_t<kVectors && (std::is_same_v<T, float> || std::is_same_v<T, double>), Vec<T>, Scalar<T>>;

// ---- loops over scalars -------------------------------------------------------------------------------------------

template <class T>
Scalar<T> read(const char* p) {
  return *reinterpret_cast<const T*>(p);
}

// The steps are compared once, so that the common cases (rows, and a scalar beside a row) are loops that compilers
// vectorise by themselves.
template <class T, class Out, class F>
void scalar_loop1(F f, char* const* data, const std::int64_t* step, std::int64_t n) {
  if (step[0] == sizeof(T) && step[1] == sizeof(Out)) {
    const T* x = reinterpret_cast<const T*>(data[0]);
    Out* out = reinterpret_cast<Out*>(data[1]);
    for (std::int64_t k = 0; k < n; ++k) out[k] = f(Scalar<T>(x[k]));
    return;
  }
  for (std::int64_t k = 0; k < n; ++k)
    *reinterpret_cast<Out*>(data[1] + k * step[1]) = f(read<T>(data[0] + k * step[0]));
}

template <class T, class Out, class F>
void scalar_loop2(F f, char* const* data, const std::int64_t* step, std::int64_t n) {
  constexpr std::int64_t s = sizeof(T);
  const T *x = reinterpret_cast<const T*>(data[0]), *y = reinterpret_cast<const T*>(data[1]);
  Out* out = reinterpret_cast<Out*>(data[2]);
  const bool row = step[2] == sizeof(Out);
  if (row && step[0] == s && step[1] == s) {
    for (std::int64_t k = 0; k < n; ++k) out[k] = f(Scalar<T>(x[k]), Scalar<T>(y[k]));
  } else if (row && step[0] == s && step[1] == 0) {
    const Scalar<T> b(y[0]);
    for (std::int64_t k = 0; k < n; ++k) out[k] = f(Scalar<T>(x[k]), b);
  } else if (row && step[0] == 0 && step[1] == s) {
    const Scalar<T> a(x[0]);
    for (std::int64_t k = 0; k < n; ++k) out[k] = f(a, Scalar<T>(y[k]));
  } else {
    for (std::int64_t k = 0; k < n; ++k)
      *reinterpret_cast<Out*>(data[2] + k * step[2]) = f(read<T>(data[0] + k * step[0]), read<T>(data[1] + k * step[1]));
  }
}

template <class T, class F>
void scalar_loop3(F f, char* const* data, const std::int64_t* step, std::int64_t n) {
  for (std::int64_t k = 0; k < n; ++k)
    *reinterpret_cast<T*>(data[3] + k * step[3]) =
        f(read<T>(data[0] + k * step[0]), read<T>(data[1] + k * step[1]), read<T>(data[2] + k * step[2]));
}

// ---- loops over vectors -------------------------------------------------------------------------------------------

// Up to one vector of elements that do not lie side by side, or do not fill one. Unused lanes repeat the first element,
// so that they raise nothing the others do not.
template <class T>
Vec<T> load_some(const char* p, std::int64_t step, int count) {
  alignas(EV_SIMD_BYTES) T x[Vec<T>::lanes];
  for (int i = 0; i < Vec<T>::lanes; ++i) x[i] = *reinterpret_cast<const T*>(p + (i < count ? i : 0) * step);
  return Vec<T>::load(x);
}
template <class T>
void store_some(Vec<T> v, char* p, std::int64_t step, int count) {
  alignas(EV_SIMD_BYTES) T x[Vec<T>::lanes];
  v.store(x);
  for (int i = 0; i < count; ++i) *reinterpret_cast<T*>(p + i * step) = x[i];
}

enum class Walk { Row, Same };  // consecutive elements, or one element throughout

template <class T, Walk w>
EV_INLINE Vec<T> load_full(const char* p, std::int64_t k) {
  if constexpr (w == Walk::Same) return Vec<T>(*reinterpret_cast<const T*>(p));
  else return Vec<T>::load(reinterpret_cast<const T*>(p) + k);
}

// Whole vectors of inputs that walk as stated and an output row; gives the number of elements done.
template <class T, Walk... w, class F>
EV_INLINE std::int64_t full_vectors(F f, char* const* data, std::int64_t n) {
  constexpr std::int64_t lanes = Vec<T>::lanes;
  T* out = reinterpret_cast<T*>(data[sizeof...(w)]);
  std::int64_t k = 0;
  for (; k + lanes <= n; k += lanes) {
    int i = 0;
    const std::array<Vec<T>, sizeof...(w)> in{load_full<T, w>(data[i++], k)...};
    std::apply(f, in).store(out + k);
  }
  return k;
}

template <class T, int N, class F>
void vector_loop(F f, char* const* data, const std::int64_t* step, std::int64_t n) {
  constexpr std::int64_t s = sizeof(T), lanes = Vec<T>::lanes;
  std::int64_t done = 0;
  bool plain = step[N] == s;
  int rows = 0;  // bit i: input i is a row
  for (int i = 0; i < N; ++i) plain = plain && (step[i] == s || step[i] == 0), rows |= (step[i] == s) << i;
  if (plain) {
    constexpr Walk R = Walk::Row, S = Walk::Same;
    if constexpr (N == 1) {
      if (rows == 1) done = full_vectors<T, R>(f, data, n);
    } else if constexpr (N == 2) {
      if (rows == 3) done = full_vectors<T, R, R>(f, data, n);
      else if (rows == 1) done = full_vectors<T, R, S>(f, data, n);
      else if (rows == 2) done = full_vectors<T, S, R>(f, data, n);
    } else {
      if (rows == 7) done = full_vectors<T, R, R, R>(f, data, n);
      else if (rows == 3) done = full_vectors<T, R, R, S>(f, data, n);
      else if (rows == 5) done = full_vectors<T, R, S, R>(f, data, n);
      else if (rows == 2) done = full_vectors<T, S, R, S>(f, data, n);
      else if (rows == 6) done = full_vectors<T, S, R, R>(f, data, n);
    }
  }
  for (std::int64_t k = done; k < n; k += lanes) {
    const int count = static_cast<int>(n - k < lanes ? n - k : lanes);
    std::array<Vec<T>, N> in;
    for (int i = 0; i < N; ++i) in[i] = load_some<T>(data[i] + k * step[i], step[i], count);
    store_some(std::apply(f, in), data[N] + k * step[N], step[N], count);
  }
}

template <class T, int N, auto f>
void arithmetic_loop(char* const* data, const std::int64_t* step, std::int64_t n) {
  if constexpr (std::is_same_v<Value<T>, Vec<T>>) {
    vector_loop<T, N>(f, data, step, n);
  } else {
    const auto g = [](auto... x) { return f(x...).v; };
    if constexpr (N == 1) scalar_loop1<T, T>(g, data, step, n);
    else if constexpr (N == 2) scalar_loop2<T, T>(g, data, step, n);
    else scalar_loop3<T>(g, data, step, n);
  }
}
template <class T, auto f>
void compare_loop(char* const* data, const std::int64_t* step, std::int64_t n) {
  scalar_loop2<T, bool>(f, data, step, n);
}

// ---- kernels ------------------------------------------------------------------------------------------------------

// The kernels of F as values: the function and its derivatives times a factor g.
template <class F, class V>
constexpr auto value1 = [](V x) { return F::template f<V>(x); };
template <class F, class V>
constexpr auto value2 = [](V x, V y) { return F::template f<V>(x, y); };
template <class F, class V>
constexpr auto scaled_d1 = [](V g, V r) { return g * F::template d1<V>(r); };
template <class F, class V>
constexpr auto scaled_d2 = [](V g, V r) { return g * F::template d2<V>(r); };
template <class F, class V>
constexpr auto scaled_dx = [](V g, V x, V y) { return g * F::template dx<V>(x, y); };
template <class F, class V>
constexpr auto scaled_dy = [](V g, V x, V y) { return g * F::template dy<V>(x, y); };

using Row = std::array<ElementwiseLoop, kNumDTypes>;
using LoopTable = std::array<Row, kNumElementwiseKernels>;

constexpr bool takes(Operands kind, DType t) {
  if (is_floating(t)) return kind != Operands::logical;
  return t == DType::Bool ? kind == Operands::logical : kind == Operands::number;
}

template <class T>
void fill(LoopTable& table) {
  constexpr DType t = dtype_of<T>;
  auto set = [&](int kernel, ElementwiseLoop loop) { table[kernel][static_cast<int>(t)] = loop; };
  constexpr bool real = is_floating(t);
#define EV_UNARY(Name, fun, types, ...)                                                   \
  if constexpr (takes(Operands::types, t)) {                                              \
    set(k##Name, arithmetic_loop<T, 1, value1<fn::Name, Value<T>>>);                             \
    if constexpr (real) {                                                                 \
      set(k##Name##_d1, arithmetic_loop<T, 2, scaled_d1<fn::Name, Value<T>>>);                   \
      set(k##Name##_d2, arithmetic_loop<T, 2, scaled_d2<fn::Name, Value<T>>>);                   \
    }                                                                                     \
  }
#define EV_UNARY_FLAT(Name, fun, types, ...) \
  if constexpr (takes(Operands::types, t)) set(k##Name, arithmetic_loop<T, 1, value1<fn::Name, Value<T>>>);
#define EV_BINARY(Name, fun, types, ...)                                                  \
  if constexpr (takes(Operands::types, t)) {                                              \
    set(k##Name, arithmetic_loop<T, 2, value2<fn::Name, Value<T>>>);                             \
    if constexpr (real) {                                                                 \
      set(k##Name##_dx, arithmetic_loop<T, 3, scaled_dx<fn::Name, Value<T>>>);                   \
      set(k##Name##_dy, arithmetic_loop<T, 3, scaled_dy<fn::Name, Value<T>>>);                   \
    }                                                                                     \
  }
#define EV_BINARY_FLAT(Name, fun, types, ...) \
  if constexpr (takes(Operands::types, t)) set(k##Name, arithmetic_loop<T, 2, value2<fn::Name, Value<T>>>);
#define EV_COMPARE(Name, fun, types, ...) \
  if constexpr (takes(Operands::types, t)) set(k##Name, compare_loop<T, value2<fn::Name, Scalar<T>>>);
#include "evolute/elementwise.def"
}

LoopTable make_table() {
  LoopTable table{};
  fill<bool>(table);
  fill<std::int32_t>(table);
  fill<std::int64_t>(table);
  fill<float>(table);
  fill<double>(table);
  return table;
}

ElementwiseLoop elementwise(int kernel, DType t) {
  static const LoopTable table = make_table();
  return table[kernel][static_cast<int>(t)];
}

#define EV_STRING2(x) #x
#define EV_STRING(x) EV_STRING2(x)

}  // namespace
}  // namespace EV_SIMD_LEVEL

extern const SimdKernels EV_JOIN(simd_kernels_, EV_SIMD_LEVEL);
const SimdKernels EV_JOIN(simd_kernels_, EV_SIMD_LEVEL) = {EV_STRING(EV_SIMD_LEVEL), elementwise};

}  // namespace evolute::cpu
