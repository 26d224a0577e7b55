// Instantiates the inner loop of every elementwise kernel for every dtype it takes.
#include <array>
#include <tuple>
#include <utility>

#include "cpu/elementwise.h"
#include "math/elementwise.h"

namespace evolute::cpu {

namespace {

using math::Scalar;

template <class T>
T load(const char* p) {
  return *reinterpret_cast<const T*>(p);
}

// One pass over n elements. The steps are compared once so that the common cases (rows, and a scalar beside a row) are
// loops the compiler can vectorise.
template <class In, class Out, class F, std::size_t... I>
void run(F f, char* const* data, const std::int64_t* step, std::int64_t n, std::index_sequence<I...>) {
  constexpr std::size_t N = sizeof...(I);
  Out* out = reinterpret_cast<Out*>(data[N]);
  if (step[N] == sizeof(Out) && ((step[I] == sizeof(In)) && ...)) {
    const std::tuple in{reinterpret_cast<const In*>(data[I])...};
    for (std::int64_t k = 0; k < n; ++k) out[k] = f(Scalar<In>(std::get<I>(in)[k])...);
    return;
  }
  if constexpr (N == 2) {
    if (step[2] == sizeof(Out) && step[0] == sizeof(In) && step[1] == 0) {
      const In* a = reinterpret_cast<const In*>(data[0]);
      const Scalar<In> b = load<In>(data[1]);
      for (std::int64_t k = 0; k < n; ++k) out[k] = f(Scalar<In>(a[k]), b);
      return;
    }
    if (step[2] == sizeof(Out) && step[0] == 0 && step[1] == sizeof(In)) {
      const Scalar<In> a = load<In>(data[0]);
      const In* b = reinterpret_cast<const In*>(data[1]);
      for (std::int64_t k = 0; k < n; ++k) out[k] = f(a, Scalar<In>(b[k]));
      return;
    }
  }
  for (std::int64_t k = 0; k < n; ++k)
    *reinterpret_cast<Out*>(data[N] + k * step[N]) = f(Scalar<In>(load<In>(data[I] + k * step[I]))...);
}

template <class T, int N, auto f>
void arithmetic_loop(char* const* data, const std::int64_t* step, std::int64_t n) {
  run<T, T>([](auto... x) { return f(x...).v; }, data, step, n, std::make_index_sequence<N>{});
}
template <class T, auto f>
void compare_loop(char* const* data, const std::int64_t* step, std::int64_t n) {
  run<T, bool>([](auto x, auto y) { return f(x, y); }, data, step, n, std::make_index_sequence<2>{});
}

// The kernels of F as values: the function and its derivatives times a factor g.
template <class F, class T>
constexpr auto value1 = [](Scalar<T> x) { return F::template f<Scalar<T>>(x); };
template <class F, class T>
constexpr auto value2 = [](Scalar<T> x, Scalar<T> y) { return F::template f<Scalar<T>>(x, y); };
template <class F, class T>
constexpr auto scaled_d1 = [](Scalar<T> g, Scalar<T> r) { return g * F::template d1<Scalar<T>>(r); };
template <class F, class T>
constexpr auto scaled_d2 = [](Scalar<T> g, Scalar<T> r) { return g * F::template d2<Scalar<T>>(r); };
template <class F, class T>
constexpr auto scaled_dx = [](Scalar<T> g, Scalar<T> x, Scalar<T> y) { return g * F::template dx<Scalar<T>>(x, y); };
template <class F, class T>
constexpr auto scaled_dy = [](Scalar<T> g, Scalar<T> x, Scalar<T> y) { return g * F::template dy<Scalar<T>>(x, y); };

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
    set(k##Name, arithmetic_loop<T, 1, value1<fn::Name, T>>);                             \
    if constexpr (real) {                                                                 \
      set(k##Name##_d1, arithmetic_loop<T, 2, scaled_d1<fn::Name, T>>);                   \
      set(k##Name##_d2, arithmetic_loop<T, 2, scaled_d2<fn::Name, T>>);                   \
    }                                                                                     \
  }
#define EV_UNARY_FLAT(Name, fun, types, ...) \
  if constexpr (takes(Operands::types, t)) set(k##Name, arithmetic_loop<T, 1, value1<fn::Name, T>>);
#define EV_BINARY(Name, fun, types, ...)                                                  \
  if constexpr (takes(Operands::types, t)) {                                              \
    set(k##Name, arithmetic_loop<T, 2, value2<fn::Name, T>>);                             \
    if constexpr (real) {                                                                 \
      set(k##Name##_dx, arithmetic_loop<T, 3, scaled_dx<fn::Name, T>>);                   \
      set(k##Name##_dy, arithmetic_loop<T, 3, scaled_dy<fn::Name, T>>);                   \
    }                                                                                     \
  }
#define EV_BINARY_FLAT(Name, fun, types, ...) \
  if constexpr (takes(Operands::types, t)) set(k##Name, arithmetic_loop<T, 2, value2<fn::Name, T>>);
#define EV_COMPARE(Name, fun, types, ...) \
  if constexpr (takes(Operands::types, t)) set(k##Name, compare_loop<T, value2<fn::Name, T>>);
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

}  // namespace

ElementwiseLoop elementwise_loop(int kernel, DType t) {
  static const LoopTable table = make_table();
  return table[kernel][static_cast<int>(t)];
}

}  // namespace evolute::cpu
