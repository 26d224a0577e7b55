// The elementwise kernels of every instruction set, against the same formulas in long double and the C library.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "cpu/simd.h"
#include "math/elementwise.h"

using namespace evolute;
using cpu::ElementwiseLoop;
using cpu::SimdKernels;
using math::Scalar;

namespace {

// ---- What each kernel computes ------------------------------------------------------------------------------------

template <class T>
using Exact = std::conditional_t<std::is_floating_point_v<T>, long double, T>;

template <class T>
struct Kernel {
  using R = Exact<T>;
  std::string name;
  int id, inputs, outputs;
  bool boolean;                   // gives bool
  double lo[5] = {}, hi[5] = {};  // of the inputs
  std::function<void(const R* in, R* out)> reference;
};

constexpr bool takes(Operands kind, DType t) {
  if (is_floating(t)) return kind != Operands::logical;
  return t == DType::Bool ? kind == Operands::logical : kind == Operands::number;
}

template <class T>
std::vector<Kernel<T>> all_kernels() {
  using R = Exact<T>;
  using V = Scalar<R>;
  using Formula = std::function<void(const R*, R*)>;
  [[maybe_unused]] constexpr bool real = std::is_floating_point_v<T>;
  std::vector<Kernel<T>> out;
  // `factors` operands in front are cotangents and tangents; the others are arguments from [lo, hi].
  [[maybe_unused]] auto add = [&](std::string name, int id, int factors, int arguments, int outputs, double lo,
                                  double hi, Formula f, bool boolean = false) {
    Kernel<T> k{name, id, factors + arguments, outputs, boolean, {}, {}, f};
    for (int i = 0; i < k.inputs; ++i) k.lo[i] = i < factors ? -2 : lo, k.hi[i] = i < factors ? 2 : hi;
    out.push_back(std::move(k));
  };

#define EV_UNARY(Name, fun, types, r, a, b, ...)                                                          \
  if constexpr (takes(Operands::types, dtype_of<T>)) {                                                    \
    using F = fn::Name;                                                                                   \
    add(#Name, k##Name, 0, 1, 1, a, b, [](const R* in, R* o) { o[0] = F::template f<V>(in[0]).v; });      \
    if constexpr (real) {                                                                                 \
      /* a residual that is the output lies where the function takes its values */                        \
      double lo = a, hi = b;                                                                              \
      if (F::residual == Residual::y) {                                                                   \
        lo = static_cast<double>(F::template f<V>(a).v), hi = static_cast<double>(F::template f<V>(b).v); \
        if (lo > hi) std::swap(lo, hi);                                                                   \
      }                                                                                                   \
      add(#Name "_d1", k##Name##_d1, 1, 1, 1, lo, hi,                                                     \
          [](const R* in, R* o) { o[0] = in[0] * F::template d1<V>(in[1]).v; });                          \
      add(#Name "_d2", k##Name##_d2, 1, 1, 1, lo, hi,                                                     \
          [](const R* in, R* o) { o[0] = in[0] * F::template d2<V>(in[1]).v; });                          \
      add(#Name "_d1_vjp", k##Name##_d1_vjp, 2, 1, 2, lo, hi, [](const R* in, R* o) {                     \
        o[0] = in[0] * F::template d1<V>(in[2]).v, o[1] = in[0] * in[1] * F::template d2<V>(in[2]).v;     \
      });                                                                                                 \
    }                                                                                                     \
  }
#define EV_UNARY_FLAT(Name, fun, types, a, b, ...)   \
  if constexpr (takes(Operands::types, dtype_of<T>)) \
    add(#Name, k##Name, 0, 1, 1, a, b, [](const R* in, R* o) { o[0] = fn::Name::template f<V>(in[0]).v; });
#define EV_PARTIAL(Name, part, a, b)                    \
  add(#Name "_" #part, k##Name##_##part, 1, 2, 1, a, b, \
      [](const R* in, R* o) { o[0] = in[0] * fn::Name::template part<V>(in[1], in[2]).v; });
#define EV_BINARY(Name, fun, types, a, b, ...)                                                              \
  if constexpr (takes(Operands::types, dtype_of<T>)) {                                                      \
    using F = fn::Name;                                                                                     \
    add(#Name, k##Name, 0, 2, 1, a, b, [](const R* in, R* o) { o[0] = F::template f<V>(in[0], in[1]).v; }); \
    if constexpr (real) {                                                                                   \
      EV_PARTIAL(Name, dx, a, b)                                                                            \
      EV_PARTIAL(Name, dy, a, b)                                                                            \
      EV_PARTIAL(Name, dxx, a, b)                                                                           \
      EV_PARTIAL(Name, dxy, a, b)                                                                           \
      EV_PARTIAL(Name, dyy, a, b)                                                                           \
      add(#Name "_vjp", k##Name##_vjp, 1, 2, 2, a, b, [](const R* in, R* o) {                               \
        o[0] = in[0] * F::template dx<V>(in[1], in[2]).v, o[1] = in[0] * F::template dy<V>(in[1], in[2]).v; \
      });                                                                                                   \
      add(#Name "_vjp2", k##Name##_vjp2, 3, 2, 3, a, b, [](const R* in, R* o) {                             \
        const V x = in[3], y = in[4];                                                                       \
        const R mixed = F::template dxy<V>(x, y).v;                                                         \
        o[0] = in[0] * F::template dx<V>(x, y).v + in[1] * F::template dy<V>(x, y).v;                       \
        o[1] = in[2] * (in[0] * F::template dxx<V>(x, y).v + in[1] * mixed);                                \
        o[2] = in[2] * (in[0] * mixed + in[1] * F::template dyy<V>(x, y).v);                                \
      });                                                                                                   \
    }                                                                                                       \
  }
#define EV_BINARY_FLAT(Name, fun, types, a, b, ...)  \
  if constexpr (takes(Operands::types, dtype_of<T>)) \
    add(#Name, k##Name, 0, 2, 1, a, b, [](const R* in, R* o) { o[0] = fn::Name::template f<V>(in[0], in[1]).v; });
#define EV_COMPARE(Name, fun, types, a, b, ...)      \
  if constexpr (takes(Operands::types, dtype_of<T>)) \
    add(                                             \
        #Name, k##Name, 0, 2, 1, a, b,               \
        [](const R* in, R* o) { o[0] = fn::Name::template f<V>(V(in[0]), V(in[1])) ? R(1) : R(0); }, true);
#include "evolute/elementwise.def"
  return out;
}

// ---- Comparing ----------------------------------------------------------------------------------------------------

// The error in units in the last place of the exact value; infinite for a wrong NaN, infinity or sign of zero.
template <class T>
double ulps(T got, long double want) {
  using L = std::numeric_limits<T>;
  const T rounded = static_cast<T>(want);
  if (std::isnan(want)) return std::isnan(got) ? 0 : INFINITY;
  if (std::isinf(rounded)) return got == rounded ? 0 : !std::isinf(want) && std::abs(got) == L::max() ? 1 : INFINITY;
  if (!std::isfinite(got)) return INFINITY;
  if (want == 0) return got == 0 && std::signbit(got) == std::signbit(want) ? 0 : INFINITY;
  int e;
  std::frexp(want, &e);
  return static_cast<double>(std::ldexp(std::abs(got - want), L::digits - std::max(e, L::min_exponent)));
}

// For any formula where it may cancel: an error beside the size of what it was made from.
template <class T>
bool close(T got, Exact<T> want) {
  if constexpr (std::is_floating_point_v<T>)
    return std::isnan(want) ? std::isnan(got)
                            : std::abs(got - want) <= 100 * std::numeric_limits<T>::epsilon() * (1 + std::abs(want));
  else
    return got == want;
}

// A row of elements `step` bytes apart inside memory of its own, with guards around that must not change.
struct Elements {
  std::vector<char> memory;
  std::int64_t step, first;
  Elements(std::int64_t n, std::int64_t step, std::int64_t size) : step(step), first(64) {
    const std::int64_t span = (n > 0 ? n - 1 : 0) * std::abs(step) + size;
    memory.assign(static_cast<std::size_t>(span + 128), '\x5a');
    if (step < 0) first += (n > 0 ? n - 1 : 0) * -step;
  }
  char* data() { return memory.data() + first; }
  template <class T>
  T get(std::int64_t i) {
    T x;
    std::memcpy(&x, data() + i * step, sizeof x);
    return x;
  }
  template <class T>
  void set(std::int64_t i, T x) {
    std::memcpy(data() + i * step, &x, sizeof x);
  }
  // As bytes: what was there need not be a value of the type.
  void restore(std::int64_t i, const Elements& from, std::size_t size) {
    std::memcpy(data() + i * step, from.memory.data() + from.first + i * step, size);
  }
};

template <class T>
T random_value(std::mt19937& gen, double lo, double hi) {
  const double x = lo + (hi - lo) * (gen() * 0x1p-32);
  if constexpr (std::is_same_v<T, bool>)
    return gen() % 2;
  else if constexpr (std::is_integral_v<T>)
    return static_cast<T>(std::nearbyint(x));
  else
    return static_cast<T>(x);
}

template <class T, class Out>
void run_layout(const SimdKernels& level, const Kernel<T>& k, const std::vector<std::int64_t>& steps, std::int64_t n) {
  const ElementwiseLoop loop = level.elementwise(k.id, dtype_of<T>);
  REQUIRE_MESSAGE(bool{loop != nullptr}, level.name << " " << k.name);
  std::mt19937 gen(static_cast<unsigned>(n + 1));
  std::vector<Elements> in, out;
  std::vector<char*> data;
  std::vector<std::int64_t> step = steps;
  for (int i = 0; i < k.inputs; ++i) {
    in.emplace_back(n, steps[i], sizeof(T));
    for (std::int64_t j = 0; j < n; ++j) in[i].set(j, random_value<T>(gen, k.lo[i], k.hi[i]));
  }
  for (int o = 0; o < k.outputs; ++o) out.emplace_back(n, steps[k.inputs + o], sizeof(Out));
  const std::vector<Elements> before = out;
  for (auto& e : in) data.push_back(e.data());
  for (auto& e : out) data.push_back(e.data());
  loop(data.data(), step.data(), n);

  std::string wrong;
  std::vector<Elements> clean = out;  // with the results taken out again
  for (std::int64_t j = 0; j < n; ++j) {
    Exact<T> x[5] = {}, want[3] = {};
    for (int i = 0; i < k.inputs; ++i) x[i] = in[i].template get<T>(j);
    k.reference(x, want);
    for (int o = 0; o < k.outputs; ++o) {
      const Out got = out[o].template get<Out>(j);
      const bool right = std::is_same_v<T, Out> ? close<T>(static_cast<T>(got), want[o]) : got == Out(want[o] != 0);
      if (!right && wrong.empty()) wrong = "element " + std::to_string(j) + " of " + std::to_string(n);
      clean[o].restore(j, before[o], sizeof(Out));
    }
  }
  for (int o = 0; o < k.outputs; ++o)
    if (clean[o].memory != before[o].memory && wrong.empty()) wrong = "wrote outside of its output";
  CHECK_MESSAGE(wrong.empty(), level.name << " " << k.name << " " << name_of(dtype_of<T>) << ": " << wrong);
}

template <class T, class Out>
void run_layouts(const SimdKernels& level, const Kernel<T>& k) {
  const std::int64_t s = sizeof(T), so = sizeof(Out);
  auto steps = [&](std::int64_t in, std::int64_t out) {
    std::vector<std::int64_t> v(k.inputs, in);
    v.insert(v.end(), k.outputs, out);
    return v;
  };
  for (std::int64_t n = 0; n <= 70; ++n) run_layout<T, Out>(level, k, steps(s, so), n);
  for (std::int64_t n : {1, 5, 40, 300}) {
    for (int i = 0; i < k.inputs; ++i) {  // all rows but one, one row alone
      auto v = steps(s, so);
      v[i] = 0;
      run_layout<T, Out>(level, k, v, n);
      v = steps(0, so);
      v[i] = s;
      run_layout<T, Out>(level, k, v, n);
    }
    run_layout<T, Out>(level, k, steps(0, so), n);
    run_layout<T, Out>(level, k, steps(3 * s, so), n);
    run_layout<T, Out>(level, k, steps(s, 2 * so), n);
    run_layout<T, Out>(level, k, steps(-2 * s, -so), n);
  }
}

template <class T>
void run_all_layouts() {
  const auto kernels = all_kernels<T>();
  for (const SimdKernels* level : cpu::simd_levels())
    for (const auto& k : kernels) k.boolean ? run_layouts<T, bool>(*level, k) : run_layouts<T, T>(*level, k);
}

// ---- Accuracy -----------------------------------------------------------------------------------------------------

template <class T>
std::vector<T> special_values() {
  using L = std::numeric_limits<T>;
  std::vector<T> v;
  for (T x : {T(0), L::denorm_min(), L::min() / 3, L::min(), T(1e-20), T(0.25), T(0.5), T(1),
              std::nextafter(T(1), T(0)), T(2), T(3), T(20), T(1e10), L::max(), L::infinity(), L::quiet_NaN()})
    v.push_back(x), v.push_back(-x);
  return v;
}

// Special values, then values of every magnitude and of the usual one.
template <class T>
std::vector<T> samples(int n, unsigned seed) {
  std::vector<T> v = special_values<T>();
  std::mt19937 gen(seed);
  for (int i = 0; i < n; ++i) {
    const T fraction = static_cast<T>(1 + gen() * 0x1p-32), sign = gen() % 2 ? T(1) : T(-1);
    const int wide = std::numeric_limits<T>::max_exponent;
    v.push_back(sign * std::ldexp(fraction, static_cast<int>(gen() % static_cast<unsigned>(2 * wide - 4)) - wide + 2));
    v.push_back(sign * std::ldexp(fraction, static_cast<int>(gen() % 24) - 18));
    v.push_back(sign * fraction * static_cast<T>(gen() % 40));
  }
  return v;
}

template <class T>
void check_unary(const char* name, int id, double limit) {
  const auto kernels = all_kernels<T>();
  const Kernel<T>* k = nullptr;
  for (const auto& candidate : kernels)
    if (candidate.id == id) k = &candidate;
  std::vector<T> x = samples<T>(1500, 1), y(x.size());
  for (const SimdKernels* level : cpu::simd_levels()) {
    char* data[] = {reinterpret_cast<char*>(x.data()), reinterpret_cast<char*>(y.data())};
    const std::int64_t step[] = {sizeof(T), sizeof(T)};
    level->elementwise(id, dtype_of<T>)(data, step, static_cast<std::int64_t>(x.size()));
    double worst = 0;
    T at = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const long double in = x[i];
      long double want;
      k->reference(&in, &want);
      const double e = ulps(y[i], want);
      if (e > worst) worst = e, at = x[i];
    }
    CHECK_MESSAGE(worst <= limit, std::string(level->name) << " " << std::string(name) << " " << name_of(dtype_of<T>)
                                                           << ": " << worst << " ulp at " << at);
  }
}

template <class T>
void check_binary(const char* name, int id, long double (*exact)(long double, long double), double limit) {
  std::vector<T> x, y;
  for (T a : special_values<T>())
    for (T b : special_values<T>()) x.push_back(a), y.push_back(b);
  const auto u = samples<T>(1500, 2), v = samples<T>(1500, 3);
  x.insert(x.end(), u.begin(), u.end()), y.insert(y.end(), v.begin(), v.end());
  for (std::size_t i = 0; i < u.size(); ++i) x.push_back(u[i]), y.push_back(u[i] * T(0.75));
  std::vector<T> z(x.size());
  for (const SimdKernels* level : cpu::simd_levels()) {
    char* data[] = {reinterpret_cast<char*>(x.data()), reinterpret_cast<char*>(y.data()),
                    reinterpret_cast<char*>(z.data())};
    const std::int64_t step[] = {sizeof(T), sizeof(T), sizeof(T)};
    level->elementwise(id, dtype_of<T>)(data, step, static_cast<std::int64_t>(x.size()));
    double worst = 0;
    std::size_t at = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double e = ulps(z[i], exact(x[i], y[i]));
      if (e > worst) worst = e, at = i;
    }
    CHECK_MESSAGE(worst <= limit, std::string(level->name)
                                      << " " << std::string(name) << " " << name_of(dtype_of<T>) << ": " << worst
                                      << " ulp at (" << x[at] << ", " << y[at] << ")");
  }
}

}  // namespace

TEST_CASE("elementwise kernels in every layout and length: real numbers") {
  run_all_layouts<float>();
  run_all_layouts<double>();
}

TEST_CASE("elementwise kernels in every layout and length: integers and booleans") {
  run_all_layouts<std::int32_t>();
  run_all_layouts<std::int64_t>();
  run_all_layouts<bool>();
}

TEST_CASE("functions of one variable are accurate everywhere") {
#define EV_CHECK(Name, limit_float, limit_double)  \
  check_unary<float>(#Name, k##Name, limit_float); \
  check_unary<double>(#Name, k##Name, limit_double);
  EV_CHECK(Sin, 1, 2)
  EV_CHECK(Cos, 1, 2)
  EV_CHECK(Tan, 1, 2)
  EV_CHECK(Asin, 2, 2)
  EV_CHECK(Acos, 2, 2)
  EV_CHECK(Atan, 2, 2)
  EV_CHECK(Erf, 3, 2)
  EV_CHECK(Erfc, 4, 4)
#undef EV_CHECK
}

TEST_CASE("functions of two variables are accurate everywhere") {
#define EV_CHECK(Name, exact, limit)                 \
  check_binary<float>(#Name, k##Name, exact, limit); \
  check_binary<double>(#Name, k##Name, exact, limit);
  EV_CHECK(Atan2, std::atan2, 2)
  EV_CHECK(Hypot, std::hypot, 2)
#undef EV_CHECK
}

TEST_CASE("arguments near multiples of half pi, small and huge") {
  // The double nearest to a multiple of π/2, and others that come near one.
  std::vector<double> x = {0x1.6ac5b262ca1ffp+849, 0x1.921fb54442d18p+0, 0x1.921fb54442d18p+1, 0x1.6cbe4bf3a0b7ep+4};
  for (int i = 1; i < 2000; ++i) x.push_back(i * i * 1.57079632679489661923);
  for (int i = 1; i < 900; ++i) x.push_back(std::ldexp(1.57079632679489661923 * (i % 7 + 1), i));
  std::vector<double> y(x.size());
  constexpr std::pair<int, long double (*)(long double)> functions[] = {
      {kSin, std::sin}, {kCos, std::cos}, {kTan, std::tan}};
  for (const SimdKernels* level : cpu::simd_levels())
    for (const auto& [id, f] : functions) {
      char* data[] = {reinterpret_cast<char*>(x.data()), reinterpret_cast<char*>(y.data())};
      const std::int64_t step[] = {8, 8};
      level->elementwise(id, DType::Float64)(data, step, static_cast<std::int64_t>(x.size()));
      double worst = 0;
      double at = 0;
      for (std::size_t i = 0; i < x.size(); ++i)
        if (const double e = ulps(y[i], f(x[i])); e > worst) worst = e, at = x[i];
      const double limit = std::string(level->name) == "v2" ? 16 : 2;  // glibc at the double closest to a multiple
      CHECK_MESSAGE(worst <= limit, std::string(level->name) << " kernel " << id << ": " << worst << " ulp at " << at);
    }
}
