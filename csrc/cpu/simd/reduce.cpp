// The inner loops of reductions; compiled once per instruction set.
//
// The order of operations is the same for every set: the lanes are those of the widest one, and narrower ones take them
// in several registers. So results do not depend on the CPU.
#include "cpu/simd.h"
#include "math/monoid.h"

namespace evolute::cpu {
inline namespace EV_SIMD_LEVEL {
namespace {

using namespace math;  // the monoids

// Folds the upper half of the lanes onto the lower one, down to one lane.
template <class Op, int lanes, class T>
inline T fold(T* x) {
  if constexpr (lanes == 1) {
    return x[0];
  } else {
    for (int i = 0; i < lanes / 2; ++i) x[i] = Op::combine(x[i], x[i + lanes / 2]);
    return fold<Op, lanes / 2>(x);
  }
}

template <class Op, class T>
void reduce_row(const char* p, std::int64_t n, char* out) {
  constexpr int kLanes = 32;
  const T* x = reinterpret_cast<const T*>(p);
  T lanes[kLanes];
  for (int j = 0; j < kLanes; ++j) lanes[j] = Op::template identity<T>;
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int j = 0; j < kLanes; ++j) lanes[j] = Op::combine(lanes[j], x[i + j]);
  for (int j = 0; i < n; ++i, ++j) lanes[j] = Op::combine(lanes[j], x[i]);
  *reinterpret_cast<T*>(out) = fold<Op, kLanes>(lanes);
}

template <class Op, class T>
void reduce_rows(const char* p, std::int64_t pitch, std::int64_t n, std::int64_t width, char* out) {
  const auto row = [&](std::int64_t r) { return reinterpret_cast<const T*>(p + r * pitch); };
  T* __restrict acc = reinterpret_cast<T*>(out);
  for (std::int64_t i = 0; i < width; ++i) acc[i] = row(0)[i];
  std::int64_t r = 1;
  for (; r + 4 <= n; r += 4) {
    const T *a = row(r), *b = row(r + 1), *c = row(r + 2), *d = row(r + 3);
    for (std::int64_t i = 0; i < width; ++i) {
      const T ab = Op::combine(a[i], b[i]), cd = Op::combine(c[i], d[i]);
      acc[i] = Op::combine(acc[i], Op::combine(ab, cd));
    }
  }
  for (; r < n; ++r)
    for (std::int64_t i = 0; i < width; ++i) acc[i] = Op::combine(acc[i], row(r)[i]);
}

template <class Op>
ReduceLoops numbers(DType t) {
  switch (t) {
    case DType::Int32: return {reduce_row<Op, std::int32_t>, reduce_rows<Op, std::int32_t>};
    case DType::Int64: return {reduce_row<Op, std::int64_t>, reduce_rows<Op, std::int64_t>};
    case DType::Float32: return {reduce_row<Op, float>, reduce_rows<Op, float>};
    case DType::Float64: return {reduce_row<Op, double>, reduce_rows<Op, double>};
    default: return {};
  }
}

}  // namespace

ReduceLoops reduce_loops(Reduction r, DType t);
ReduceLoops reduce_loops(Reduction r, DType t) {
  switch (r) {
    case Reduction::Sum: return numbers<SumOf>(t);
    case Reduction::Prod: return numbers<ProdOf>(t);
    case Reduction::Max: return numbers<MaxOf>(t);
    case Reduction::Min: return numbers<MinOf>(t);
    case Reduction::Any: return {reduce_row<AnyOf, bool>, reduce_rows<AnyOf, bool>};
    case Reduction::All: return {reduce_row<AllOf, bool>, reduce_rows<AllOf, bool>};
  }
  return {};
}

}  // namespace EV_SIMD_LEVEL
}  // namespace evolute::cpu
