// The inner loop of every elementwise kernel for every dtype it takes; compiled once per instruction set.
//
// float and double run on Vec where the set has FMA. Integers, comparisons and the baseline run on Scalar.
#include <array>
#include <tuple>

#include "cpu/simd.h"
#include "cpu/simd/lanes.h"
#include "cpu/simd/math.h"
#include "math/elementwise.h"

#define EV_JOIN2(a, b) a##b
#define EV_JOIN(a, b) EV_JOIN2(a, b)

namespace evolute::cpu {
inline namespace EV_SIMD_LEVEL {

extern const GemmKernels<float> gemm_float;  // in gemm.cpp
extern const GemmKernels<double> gemm_double;
ReduceLoops reduce_loops(Reduction r, DType t);  // in reduce.cpp

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
using Value =
    std::conditional_t<kVectors && (std::is_same_v<T, float> || std::is_same_v<T, double>), Vec<T>, Scalar<T>>;

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
      *reinterpret_cast<Out*>(data[2] + k * step[2]) =
          f(read<T>(data[0] + k * step[0]), read<T>(data[1] + k * step[1]));
  }
}

// Kernels of further operands have no such cases. f gives an array with one element per output.
template <class T, int N, class F>
void scalar_loop(F f, char* const* data, const std::int64_t* step, std::int64_t n) {
  for (std::int64_t k = 0; k < n; ++k) {
    std::array<Scalar<T>, N> in;
    for (int i = 0; i < N; ++i) in[i] = read<T>(data[i] + k * step[i]);
    const auto out = std::apply(f, in);
    for (std::size_t o = 0; o < out.size(); ++o) *reinterpret_cast<T*>(data[N + o] + k * step[N + o]) = out[o].v;
  }
}

// ---- loops over vectors -------------------------------------------------------------------------------------------

// Bit i of `rows` says that input i is a row; the others are one element throughout.
template <class T, int rows, std::size_t N, class Load>
EV_INLINE std::array<Vec<T>, N> load_rows(char* const* data, std::int64_t k, Load load) {
  std::array<Vec<T>, N> in;
#pragma GCC unroll 8
  for (std::size_t i = 0; i < N; ++i) {
    const T* p = reinterpret_cast<const T*>(data[i]);
    in[i] = rows >> i & 1 ? Vec<T>(load(p + k)) : Vec<T>(*p);
  }
  return in;
}

// Memory is asked for this many bytes ahead of its use: where a function is long the processor sees one or two vectors
// ahead by itself, so that computing and waiting for memory would alternate. Short functions of several rows do better
// without. Never beyond the end: short rows are blocks of fused loops, and in the cache.
constexpr std::int64_t kAhead = 2048;

// How to loop over a function, which is here evaluated on values that count operations. That of several results is
// long.
struct Style {
  bool ahead;  // asks for memory ahead
  bool brief;  // may stand there twice, so that the loop over whole vectors is nothing else
};
template <int N, class F>
constexpr Style style_of(F f) {
  std::array<math::Cost, N> in;
  const auto out = std::apply(f, in);
  if constexpr (requires { out.n; })
    return {N == 1 || out.n > 8, out.n <= 8};
  else
    return {true, false};
}

// Inputs that walk as stated, and output rows, which go on for `more` elements after these n: whole vectors, and the
// rest where a part of a vector is as good. Gives the number of elements done. Not inlined: the functions inside are
// large, and for the same reason stand there once.
template <class T, int N, int M, int rows, Style style, class F>
__attribute__((noinline)) std::int64_t full_vectors(F f, char* const* data, std::int64_t n, std::int64_t more = 0) {
  constexpr std::int64_t lanes = Vec<T>::lanes;
  constexpr bool finishes = Part<T>::free;
  const std::int64_t reach = n + more - kAhead / static_cast<std::int64_t>(sizeof(T));
  char* p[N + M];  // in registers: the compiler must assume that results are written over `data`
#pragma GCC unroll 8
  for (int i = 0; i < N + M; ++i) p[i] = data[i];
  const auto whole = [&](std::int64_t k) { return load_rows<T, rows, N>(p, k, [](const T* x) { return load(x); }); };
  const auto part = [&](std::int64_t k) {
    return load_rows<T, rows, N>(p, k, [&](const T* x) { return Part<T>(n - k).load(x); });
  };
  const auto finish = [&](std::int64_t k, const auto& out) {
#pragma GCC unroll 8
    for (std::size_t o = 0; o < out.size(); ++o) Part<T>(n - k).store(out[o].v, reinterpret_cast<T*>(p[N + o]) + k);
    return n;
  };
  std::int64_t k = 0;
  for (; finishes && !style.brief ? k < n : k + lanes <= n; k += lanes) {
    if (style.ahead && k < reach) {
#pragma GCC unroll 8
      for (int i = 0; i < N; ++i)
        if (rows >> i & 1) __builtin_prefetch(p[i] + k * sizeof(T) + kAhead, 0);
#pragma GCC unroll 8
      for (int o = N; o < N + M; ++o) __builtin_prefetch(p[o] + k * sizeof(T) + kAhead, 1);
    }
    const bool last = finishes && !style.brief && k + lanes > n;
    const auto out = std::apply(f, last ? part(k) : whole(k));
    if (last) [[unlikely]]
      return finish(k, out);
#pragma GCC unroll 8
    for (std::size_t o = 0; o < out.size(); ++o) out[o].store(reinterpret_cast<T*>(p[N + o]) + k);
  }
  if constexpr (finishes && style.brief)
    if (k < n) return finish(k, std::apply(f, part(k)));
  return k;
}

// full_vectors of a kernel where all operands are rows.
using RowLoop = std::int64_t (*)(char* const* data, std::int64_t n, std::int64_t more);

constexpr int kMaxOperands = 8;

// Whole vectors of any mixture of rows and single elements, which become short rows that stay in the first-level cache.
template <class T>
__attribute__((noinline)) std::int64_t mixed_rows(RowLoop loop, int operands, char* const* data,
                                                  const std::int64_t* step, std::int64_t n) {
  constexpr std::int64_t lanes = Vec<T>::lanes, block = 1024 / sizeof(T);
  alignas(EV_SIMD_BYTES) T rows[kMaxOperands][block];
  char* row[kMaxOperands];
  const std::int64_t full = Part<T>::free ? n : n / lanes * lanes;
  for (int i = 0; i < operands; ++i) {
    row[i] = step[i] == 0 ? reinterpret_cast<char*>(rows[i]) : data[i];
    if (step[i] == 0)
      for (std::int64_t k = 0; k < block && k < full; ++k) rows[i][k] = *reinterpret_cast<const T*>(data[i]);
  }
  for (std::int64_t k = 0; k < full; k += block) {
    const std::int64_t count = full - k < block ? full - k : block;
    loop(row, count, full - k - count);
    for (int i = 0; i < operands; ++i) row[i] += step[i] * block;
  }
  return full;
}

// Elements that do not lie side by side, or do not fill a vector, go through rows of their own.
template <class T>
__attribute__((noinline)) void gathered_rows(RowLoop loop, int inputs, int operands, char* const* data,
                                             const std::int64_t* step, std::int64_t n) {
  constexpr std::int64_t lanes = Vec<T>::lanes, block = 8 * lanes;
  alignas(EV_SIMD_BYTES) T rows[kMaxOperands][block];
  char* row[kMaxOperands];
  for (int i = 0; i < operands; ++i) row[i] = reinterpret_cast<char*>(rows[i]);
  for (std::int64_t k = 0; k < n; k += block) {
    const std::int64_t count = n - k < block ? n - k : block;
    const std::int64_t full = (count + lanes - 1) / lanes * lanes;
    const bool part = count < lanes;
    for (int i = 0; i < inputs; ++i) {
      const char* from = data[i] + k * step[i];
      if (part && step[i] == sizeof(T)) {
        store(Part<T>(count).load(reinterpret_cast<const T*>(from)), rows[i]);
      } else if (part && step[i] == 0) {
        store(broadcast(*reinterpret_cast<const T*>(from)), rows[i]);
      } else {
        for (std::int64_t j = 0; j < full; ++j)  // beyond the end an element is repeated
          rows[i][j] = *reinterpret_cast<const T*>(from + (j < count ? j : 0) * step[i]);
      }
    }
    loop(row, full, 0);
    for (int o = inputs; o < operands; ++o) {
      char* to = data[o] + k * step[o];
      if (part && step[o] == sizeof(T)) {
        Part<T>(count).store(load(rows[o]), reinterpret_cast<T*>(to));
      } else {
        for (std::int64_t j = 0; j < count; ++j) *reinterpret_cast<T*>(to + j * step[o]) = rows[o][j];
      }
    }
  }
}

template <class T, int N, int M, Style style, class F>
void vector_loop(F f, char* const* data, const std::int64_t* step, std::int64_t n) {
  static_assert(N + M <= kMaxOperands);
  constexpr std::int64_t s = sizeof(T);
  constexpr int all = (1 << N) - 1;
  constexpr RowLoop loop = [](char* const* p, std::int64_t count, std::int64_t more) {
    return full_vectors<T, N, M, all, style>(F(), p, count, more);
  };
  bool plain = true;
  int rows = 0;
  for (int i = 0; i < N; ++i) plain = plain && (step[i] == s || step[i] == 0), rows |= (step[i] == s) << i;
  for (int o = N; o < N + M; ++o) plain = plain && step[o] == s;
  std::int64_t done = 0;
  if (plain) {
    // The patterns that have loops of their own: all rows, and a scalar in front or behind.
    if (rows == all)
      done = loop(data, n, 0);
    else if (N == 2 && M == 1 && rows == all - 1)
      done = full_vectors<T, N, M, (N == 2 && M == 1 ? all - 1 : all), style>(f, data, n);
    else if (N == 2 && M == 1 && rows == all >> 1)
      done = full_vectors<T, N, M, (N == 2 && M == 1 ? all >> 1 : all), style>(f, data, n);
    else if (Part<T>::free || n >= Vec<T>::lanes)
      done = mixed_rows<T>(loop, N + M, data, step, n);
  }
  if (done == n) return;
  char* rest[N + M];
  for (int i = 0; i < N + M; ++i) rest[i] = data[i] + done * step[i];
  gathered_rows<T>(loop, N, N + M, rest, step, n - done);
}

// f(x...) gives one value, or an array of M.
template <class T, int N, auto f, Style style, int M = 1>
void arithmetic_loop(char* const* data, const std::int64_t* step, std::int64_t n) {
  using V = Value<T>;
  const auto g = [](auto... x) {
    if constexpr (M == 1)
      return std::array<V, 1>{f(x...)};
    else
      return f(x...);
  };
  if constexpr (std::is_same_v<V, Vec<T>>)
    vector_loop<T, N, M, style>(g, data, step, n);
  else if constexpr (N == 1 && M == 1)
    scalar_loop1<T, T>([](auto x) { return f(x).v; }, data, step, n);
  else if constexpr (N == 2 && M == 1)
    scalar_loop2<T, T>([](auto x, auto y) { return f(x, y).v; }, data, step, n);
  else
    scalar_loop<T, N>(g, data, step, n);
}
template <class T, auto f>
void compare_loop(char* const* data, const std::int64_t* step, std::int64_t n) {
  scalar_loop2<T, bool>(f, data, step, n);
}

// ---- kernels ------------------------------------------------------------------------------------------------------

// The kernels of F as values (math/elementwise.h).
template <class F, class V>
constexpr auto value1 = [](V x) { return F::template f<V>(x); };
template <class F, class V>
constexpr auto value2 = [](V x, V y) { return F::template f<V>(x, y); };
template <class F, class V>
constexpr auto scaled_d1 = [](V g, V r) { return g * F::template d1<V>(r); };
template <class F, class V>
constexpr auto scaled_d2 = [](V g, V r) { return g * F::template d2<V>(r); };
template <class F, class V>
constexpr auto d1_vjp =
    [](V h, V g, V r) { return std::array<V, 2>{h * F::template d1<V>(r), h * g * F::template d2<V>(r)}; };
// In jets what the formulas have in common is computed once, by the compiler's own doing.
template <class F, class V>
constexpr auto jet1 = [](V x) {
  const V y = F::template f<V>(x), r = F::residual == Residual::x ? x : y;
  return std::array<V, 2>{y, F::template d1<V>(r)};
};
template <class F, class V>
constexpr auto jet2 = [](V x) {
  const V y = F::template f<V>(x), r = F::residual == Residual::x ? x : y;
  return std::array<V, 3>{y, F::template d1<V>(r), F::template d2<V>(r)};
};
#define EV_SCALED(part)       \
  template <class F, class V> \
  constexpr auto scaled_##part = [](V g, V x, V y) { return g * F::template part<V>(x, y); };
EV_SCALED(dx)
EV_SCALED(dy)
EV_SCALED(dxx)
EV_SCALED(dxy)
EV_SCALED(dyy)
template <class F, class V>
constexpr auto vjp =
    [](V g, V x, V y) { return std::array<V, 2>{g * F::template dx<V>(x, y), g * F::template dy<V>(x, y)}; };
template <class F, class V>
constexpr auto vjp2 = [](V a, V b, V g, V x, V y) {
  const V mixed = F::template dxy<V>(x, y);
  return std::array<V, 3>{a * F::template dx<V>(x, y) + b * F::template dy<V>(x, y),
                          g * (a * F::template dxx<V>(x, y) + b * mixed),
                          g * (a * mixed + b * F::template dyy<V>(x, y))};
};

#define EV_JET(part)                                                                                                   \
  template <class F, class V>                                                                                          \
  constexpr auto jet1##part =                                                                                          \
      [](V x, V y) { return std::array<V, 2>{F::template f<V>(x, y), F::template d##part<V>(x, y)}; };                 \
  template <class F, class V>                                                                                          \
  constexpr auto jet2##part = [](V x, V y) {                                                                           \
    return std::array<V, 3>{F::template f<V>(x, y), F::template d##part<V>(x, y), F::template d##part##part<V>(x, y)}; \
  };
EV_JET(x)
EV_JET(y)
template <class F, class V>
constexpr auto jet1xy =
    [](V x, V y) { return std::array<V, 3>{F::template f<V>(x, y), F::template dx<V>(x, y), F::template dy<V>(x, y)}; };
template <class F, class V>
constexpr auto jet2xy = [](V x, V y) {
  return std::array<V, 6>{F::template f<V>(x, y),   F::template dx<V>(x, y),  F::template dy<V>(x, y),
                          F::template dxx<V>(x, y), F::template dxy<V>(x, y), F::template dyy<V>(x, y)};
};

using Row = std::array<ElementwiseLoop, kNumDTypes>;
using LoopTable = std::array<Row, kNumElementwiseKernels>;

constexpr bool takes(Operands kind, DType t) {
  if (kind == Operands::logical || is_floating(t)) return true;
  return t != DType::Bool && kind == Operands::number;
}

template <class T>
void fill(LoopTable& table) {
  constexpr DType t = dtype_of<T>;
  auto set = [&](int kernel, ElementwiseLoop loop) { table[kernel][static_cast<int>(t)] = loop; };
#define EV_SET(kernel, N, value, Name, ...)                    \
  set(kernel, arithmetic_loop<T, N, value<fn::Name, Value<T>>, \
                              style_of<N>(value<fn::Name, math::Cost>) __VA_OPT__(, ) __VA_ARGS__>);
#define EV_UNARY(Name, fun, types, ...)            \
  if constexpr (takes(Operands::types, t)) {       \
    EV_SET(k##Name, 1, value1, Name)               \
    if constexpr (is_floating(t)) {                \
      EV_SET(k##Name##_d1, 2, scaled_d1, Name)     \
      EV_SET(k##Name##_d2, 2, scaled_d2, Name)     \
      EV_SET(k##Name##_d1_vjp, 3, d1_vjp, Name, 2) \
      if constexpr (has_jets<fn::Name>) {          \
        EV_SET(k##Name##_jet1, 1, jet1, Name, 2)   \
        EV_SET(k##Name##_jet2, 1, jet2, Name, 3)   \
      }                                            \
    }                                              \
  }
#define EV_UNARY_FLAT(Name, fun, types, ...) \
  if constexpr (takes(Operands::types, t)) EV_SET(k##Name, 1, value1, Name)
#define EV_BINARY(Name, fun, types, ...)           \
  if constexpr (takes(Operands::types, t)) {       \
    EV_SET(k##Name, 2, value2, Name)               \
    if constexpr (is_floating(t)) {                \
      EV_SET(k##Name##_dx, 3, scaled_dx, Name)     \
      EV_SET(k##Name##_dy, 3, scaled_dy, Name)     \
      EV_SET(k##Name##_dxx, 3, scaled_dxx, Name)   \
      EV_SET(k##Name##_dxy, 3, scaled_dxy, Name)   \
      EV_SET(k##Name##_dyy, 3, scaled_dyy, Name)   \
      EV_SET(k##Name##_vjp, 3, vjp, Name, 2)       \
      EV_SET(k##Name##_vjp2, 5, vjp2, Name, 3)     \
      if constexpr (has_jets<fn::Name>) {          \
        EV_SET(k##Name##_jet1x, 2, jet1x, Name, 2) \
        EV_SET(k##Name##_jet1y, 2, jet1y, Name, 2) \
        EV_SET(k##Name##_jet1, 2, jet1xy, Name, 3) \
        EV_SET(k##Name##_jet2x, 2, jet2x, Name, 3) \
        EV_SET(k##Name##_jet2y, 2, jet2y, Name, 3) \
        EV_SET(k##Name##_jet2, 2, jet2xy, Name, 6) \
      }                                            \
    }                                              \
  }
#define EV_BINARY_FLAT(Name, fun, types, ...) \
  if constexpr (takes(Operands::types, t)) EV_SET(k##Name, 2, value2, Name)
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
const SimdKernels EV_JOIN(simd_kernels_, EV_SIMD_LEVEL) = {EV_STRING(EV_SIMD_LEVEL), elementwise, reduce_loops,
                                                           &gemm_float, &gemm_double};

}  // namespace evolute::cpu
