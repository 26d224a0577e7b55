#include <cstdlib>
#include <limits>

#include "core/thread_pool.h"
#include "cpu/cost.h"
#include "cpu/cpu_backend.h"
#include "cpu/simd.h"
#include "math/monoid.h"

namespace evolute::cpu {
namespace {

using namespace math;  // the monoids

// ---- Loop nests -----------------------------------------------------------------------------------------------------

struct LoopAxis {
  std::int64_t length, in, out;  // strides in bytes
};

// Axes with the smallest stride of the input first, merged where they can be.
struct AxisList {
  std::array<LoopAxis, Dims::kMaxDims + 1> axis;
  int size = 0;

  void add(const LoopAxis& a) { axis[size++] = a; }
  void simplify() {
    for (int i = 1; i < size; ++i)
      for (int j = i; j > 0 && std::abs(axis[j].in) < std::abs(axis[j - 1].in); --j) std::swap(axis[j], axis[j - 1]);
    int top = 0;
    for (int i = 1; i < size; ++i) {
      LoopAxis& inner = axis[top];
      if (axis[i].in == inner.length * inner.in && axis[i].out == inner.length * inner.out)
        inner.length *= axis[i].length;
      else
        axis[++top] = axis[i];
    }
    size = std::min(size, top + 1);
  }

  // The positions along the axes from `first` on.
  std::int64_t positions(int first) const {
    std::int64_t n = 1;
    for (int k = first; k < size; ++k) n *= axis[k].length;
    return n;
  }
};

// A position along the axes from `first` on, counted with the first of them fastest.
class Position {
 public:
  Position(const AxisList& axes, int first, std::int64_t index, const char* in, char* out)
      : axes_(axes), first_(first), in_(in), out_(out) {
    for (int k = first; k < axes.size && index > 0; ++k) {
      const LoopAxis& a = axes.axis[k];
      at_[k] = index % a.length;
      index /= a.length;
      in_ += at_[k] * a.in;
      out_ += at_[k] * a.out;
    }
  }
  const char* in() const { return in_; }
  char* out() const { return out_; }
  void next() {
    for (int k = first_; k < axes_.size; ++k) {
      const LoopAxis& a = axes_.axis[k];
      in_ += a.in;
      out_ += a.out;
      if (++at_[k] < a.length) return;
      in_ -= a.length * a.in;
      out_ -= a.length * a.out;
      at_[k] = 0;
    }
  }

 private:
  const AxisList& axes_;
  int first_;
  const char* in_;
  char* out_;
  std::array<std::int64_t, Dims::kMaxDims + 1> at_{};
};

struct Plan {
  AxisList kept, along;  // `along` the reduced axes; never empty
  const char* in;
  char* out;
};

// Calls f(in, out) at every position of the kept axes from `first` on, each of which takes `ns` nanoseconds.
template <class F>
void for_kept(const Plan& p, int first, double ns, F&& f) {
  parallel_ranges(p.kept.positions(first), ns, [&](std::int64_t begin, std::int64_t end) {
    Position at(p.kept, first, begin, p.in, p.out);
    for (std::int64_t i = begin; i < end; ++i, at.next()) f(at.in(), at.out());
  });
}

// `out` has the axes `along` (sorted) removed, or, with `keepdims`, has the shape of `in`.
[[gnu::noinline]] Plan make_plan(const Array& in, const Axes& along, const Array& out, bool keepdims = false) {
  Plan p;
  p.in = reinterpret_cast<const char*>(in.bytes());
  p.out = reinterpret_cast<char*>(out.bytes());
  const auto in_size = static_cast<std::int64_t>(size_of(in.dtype()));
  const auto out_size = static_cast<std::int64_t>(size_of(out.dtype()));
  for (int i = 0, j = 0; i < in.ndim(); ++i) {
    const bool reduced = along.contains(i);
    const bool in_out = !reduced || keepdims;
    const LoopAxis a{in.shape()[i], in.strides()[i] * in_size, in_out ? out.strides()[j] * out_size : 0};
    if (in_out) ++j;
    if (a.length != 1) (reduced ? p.along : p.kept).add(a);
  }
  p.kept.simplify();
  p.along.simplify();
  if (p.along.size == 0) p.along.add({1, 0, 0});
  return p;
}

// ---- The reduction itself -------------------------------------------------------------------------------------------

// Partial results combine pairwise, at every level: the rounding error of a sum grows with the logarithm of its length.
// How the work is cut depends on its shape alone, so results do not depend on the number of threads. Functions that
// recurse are kept out of line: unrolled into each other they would multiply the size of the library.
template <class Op, class T>
class Reducer {
 public:
  Reducer(const Plan& plan, const ReduceLoops& loops)
      : plan_(plan), loops_(loops), kept_(plan.kept.size ? plan.kept.axis[0] : LoopAxis{1, 0, 0}) {
    const LoopAxis& inner = plan_.along.axis[0];
    constexpr std::int64_t kShortRow = 16;
    by_rows_ = plan_.kept.size == 0 || (inner.length >= kShortRow && std::abs(inner.in) < std::abs(kept_.in));
  }

  [[gnu::noinline]] void run() const {
    const std::int64_t units = plan_.kept.positions(first()) * blocks();
    const std::int64_t unit_size = plan_.along.positions(0) * (by_rows_ ? 1 : std::min(kWidth, kept_.length));
    const double ns = 3 + kNsPerByte * sizeof(T) * static_cast<double>(unit_size);
    if (units < kFewUnits && unit_size >= 2 * kCut)
      return run_cut(units, std::min({unit_size / kCut, kMostCuts, top_length()}), ns);
    parallel_ranges(units, ns, [&](std::int64_t begin, std::int64_t end) {
      T acc[kWidth];
      for_units(begin, end, [&](const char* in, char* out, std::int64_t width) {
        accumulate(in, top_length(), width, acc);
        store(acc, out, width);
      });
    });
  }

 private:
  static constexpr std::int64_t kWidth = 512;  // columns that are accumulated side by side
  static constexpr std::int64_t kLeafRows = 16;
  static constexpr std::int64_t kLeafRow = 512;
  // Up to this many units are cut along the reduced axes as well, into this many elements or more.
  static constexpr std::int64_t kFewUnits = 64, kCut = 32768, kMostCuts = 64;

  int top() const { return plan_.along.size - 1; }
  std::int64_t top_length() const { return plan_.along.axis[top()].length; }

  // A unit is one output, or kWidth of them along kept axis 0.
  int first() const { return by_rows_ ? 0 : 1; }
  std::int64_t blocks() const { return by_rows_ ? 1 : (kept_.length + kWidth - 1) / kWidth; }

  // Calls f(in, out, width) for the units in [begin, end).
  template <class F>
  void for_units(std::int64_t begin, std::int64_t end, F&& f) const {
    std::int64_t block = begin % blocks();
    Position at(plan_.kept, first(), begin / blocks(), plan_.in, plan_.out);
    for (std::int64_t u = begin; u < end; ++u) {
      const std::int64_t j = block * kWidth;
      f(at.in() + j * kept_.in, at.out() + j * kept_.out, by_rows_ ? 1 : std::min(kWidth, kept_.length - j));
      if (++block == blocks()) block = 0, at.next();
    }
  }

  // acc = reduction of a unit over n entries of the topmost reduced axis.
  void accumulate(const char* in, std::int64_t n, std::int64_t width, T* acc) const {
    if (by_rows_)
      acc[0] = row(in, top(), n);
    else
      column_block(in, top(), n, width, acc);
  }

  void store(const T* acc, char* out, std::int64_t width) const {
    for (std::int64_t i = 0; i < width; ++i) *reinterpret_cast<T*>(out + i * kept_.out) = acc[i];
  }

  // Each unit in `cuts` parts along the topmost reduced axis.
  void run_cut(std::int64_t units, std::int64_t cuts, double ns) const {
    const Ref<Buffer> buffer = allocate_host(static_cast<std::size_t>(units * cuts * kWidth) * sizeof(T));
    T* partial = reinterpret_cast<T*>(buffer->data());
    const std::int64_t n = top_length(), pitch = plan_.along.axis[top()].in;
    parallel_ranges(units * cuts, ns / static_cast<double>(cuts), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t unit = i / cuts, from = i % cuts * n / cuts, to = (i % cuts + 1) * n / cuts;
        for_units(unit, unit + 1, [&](const char* in, char*, std::int64_t width) {
          accumulate(in + from * pitch, to - from, width, partial + (unit * cuts * kWidth + i % cuts * width));
        });
      }
    });
    for_units(0, units, [&, acc = partial](const char*, char* out, std::int64_t width) mutable {
      fold(acc, cuts, width);
      store(acc, out, width);
      acc += cuts * kWidth;
    });
  }

  static T load(const char* p) { return *reinterpret_cast<const T*>(p); }

  // Folds `groups` runs of `width` neighbouring accumulators into the first.
  static void fold(T* acc, std::int64_t groups, std::int64_t width) {
    while (groups > 1) {
      const std::int64_t half = groups / 2;
      const T* upper = acc + (groups - half) * width;
      for (std::int64_t i = 0; i < half * width; ++i) acc[i] = Op::combine(acc[i], upper[i]);
      groups -= half;
    }
  }

  // -- one output at a time: for inputs that are dense along a reduced axis

  // Over n entries of reduced axis k and all of the axes within it.
  [[gnu::noinline]] T row(const char* p, int k, std::int64_t n) const {
    const LoopAxis& a = plan_.along.axis[k];
    if (k == 0) return a.in == std::int64_t{sizeof(T)} ? dense_row(p, n) : strided_row(p, a.in, n);
    if (n == 1) return row(p, k - 1, plan_.along.axis[k - 1].length);
    const std::int64_t half = n / 2;
    const T left = row(p, k, half);
    return Op::combine(left, row(p + half * a.in, k, n - half));
  }

  [[gnu::noinline]] T dense_row(const char* p, std::int64_t n) const {
    if (n > kLeafRow) {
      const std::int64_t half = n / 2 / 64 * 64;
      const T left = dense_row(p, half);
      return Op::combine(left, dense_row(p + half * sizeof(T), n - half));
    }
    T result;
    loops_.row(p, n, reinterpret_cast<char*>(&result));
    return result;
  }

  [[gnu::noinline]] static T strided_row(const char* p, std::int64_t stride, std::int64_t n) {
    if (n > 128) {
      const std::int64_t half = n / 2;
      const T left = strided_row(p, stride, half);
      return Op::combine(left, strided_row(p + half * stride, stride, n - half));
    }
    T lanes[4];
    std::fill_n(lanes, 4, Op::template identity<T>);
    for (std::int64_t i = 0; i < n; ++i) lanes[i & 3] = Op::combine(lanes[i & 3], load(p + i * stride));
    fold(lanes, 4, 1);
    return lanes[0];
  }

  // -- up to kWidth outputs at a time, along kept axis 0: for inputs that are dense there

  // acc[i] = reduction over n entries of reduced axis k and all of the axes within it, of column i.
  [[gnu::noinline]] void column_block(const char* p, int k, std::int64_t n, std::int64_t width, T* acc) const {
    const LoopAxis& a = plan_.along.axis[k];
    if (k == 0) {
      if (kept_.in == std::int64_t{sizeof(T)} && a.in == width * kept_.in && width <= 32)
        return narrow_rows(p, n, width, acc);
      return rows(p, a.in, n, width, acc);
    }
    if (n == 1) return column_block(p, k - 1, plan_.along.axis[k - 1].length, width, acc);
    const std::int64_t half = n / 2;
    column_block(p, k, half, width, acc);
    T right[kWidth];
    column_block(p + half * a.in, k, n - half, width, right);
    for (std::int64_t i = 0; i < width; ++i) acc[i] = Op::combine(acc[i], right[i]);
  }

  // Rows of a few elements each, without gaps: taken several at a time, as one wide row.
  [[gnu::noinline]] void narrow_rows(const char* p, std::int64_t n, std::int64_t width, T* acc) const {
    const std::int64_t group = 128 / width, groups = n / group, pitch = width * sizeof(T);
    if (groups < 2) return rows(p, pitch, n, width, acc);
    T wide[kWidth];
    rows(p, group * pitch, groups, group * width, wide);
    fold(wide, group, width);
    std::copy_n(wide, width, acc);
    const std::int64_t rest = n - groups * group;
    if (rest == 0) return;
    rows(p + (n - rest) * pitch, pitch, rest, width, wide);
    for (std::int64_t i = 0; i < width; ++i) acc[i] = Op::combine(acc[i], wide[i]);
  }

  [[gnu::noinline]] void rows(const char* p, std::int64_t pitch, std::int64_t n, std::int64_t width, T* acc) const {
    if (n > kLeafRows) {
      const std::int64_t half = n / 2 / kLeafRows * kLeafRows + (n < 2 * kLeafRows ? kLeafRows : 0);
      rows(p, pitch, half, width, acc);
      T right[kWidth];
      rows(p + half * pitch, pitch, n - half, width, right);
      for (std::int64_t i = 0; i < width; ++i) acc[i] = Op::combine(acc[i], right[i]);
      return;
    }
    if (kept_.in == std::int64_t{sizeof(T)}) return loops_.rows(p, pitch, n, width, reinterpret_cast<char*>(acc));
    for (std::int64_t i = 0; i < width; ++i) acc[i] = load(p + i * kept_.in);
    for (std::int64_t r = 1; r < n; ++r)
      for (std::int64_t i = 0; i < width; ++i) acc[i] = Op::combine(acc[i], load(p + r * pitch + i * kept_.in));
  }

  const Plan& plan_;
  const ReduceLoops loops_;
  const LoopAxis kept_;  // the innermost kept axis
  bool by_rows_;
};

template <class Op>
void reduce_numbers(Reduction r, DType dtype, const Plan& plan) {
  dispatch(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    constexpr bool ordered = std::is_same_v<Op, MaxOf> || std::is_same_v<Op, MinOf>;
    if constexpr (std::is_floating_point_v<T> || std::is_same_v<T, std::int64_t> ||
                  (ordered && std::is_same_v<T, std::int32_t>))
      Reducer<Op, T>(plan, simd().reduce(r, dtype)).run();
  });
}

// ---- Position of the extremum ---------------------------------------------------------------------------------------

// Whether x takes the place of `best`. NaN beats every number, and nothing beats NaN.
template <bool max, class T>
bool better(T x, T best) {
  if (x != x) return best == best;
  return max ? x > best : x < best;
}

template <bool max, class T>
void arg_extremum(const Plan& plan) {
  constexpr std::int64_t kWidth = 128;
  const LoopAxis along = plan.along.axis[0];
  const LoopAxis kept = plan.kept.size ? plan.kept.axis[0] : LoopAxis{1, 0, 0};
  // Side by side when neighbours in memory belong to different outputs, else one after the other.
  const std::int64_t block = std::abs(kept.in) < std::abs(along.in) ? kWidth : 1;
  for_kept(plan, 1, 1.0 * static_cast<double>(along.length * kept.length), [&](const char* in, char* out) {
    T best[kWidth];
    std::int64_t index[kWidth];
    for (std::int64_t j = 0; j < kept.length; j += block) {
      const std::int64_t width = std::min(block, kept.length - j);
      const auto element = [&](std::int64_t r, std::int64_t i) {
        return *reinterpret_cast<const T*>(in + r * along.in + (j + i) * kept.in);
      };
      for (std::int64_t i = 0; i < width; ++i) {
        best[i] = element(0, i);
        index[i] = 0;
      }
      for (std::int64_t r = 1; r < along.length; ++r)
        for (std::int64_t i = 0; i < width; ++i) {
          const T x = element(r, i);
          if (!better<max>(x, best[i])) continue;
          best[i] = x;
          index[i] = r;
        }
      for (std::int64_t i = 0; i < width; ++i) *reinterpret_cast<std::int64_t*>(out + (j + i) * kept.out) = index[i];
    }
  });
}

// ---- Running sums ---------------------------------------------------------------------------------------------------

template <class T>
void running_sum(const Plan& plan, bool reverse) {
  // A running sum is a chain of additions, so that errors add up: floats are summed in double.
  using Acc = std::conditional_t<std::is_floating_point_v<T>, double, std::uint64_t>;
  constexpr std::int64_t kWidth = 128;
  LoopAxis along = plan.along.axis[0];
  const LoopAxis kept = plan.kept.size ? plan.kept.axis[0] : LoopAxis{1, 0, 0};
  const std::int64_t last = along.length - 1;
  const std::int64_t in_start = reverse ? last * along.in : 0, out_start = reverse ? last * along.out : 0;
  if (reverse) along = {along.length, -along.in, -along.out};
  const std::int64_t block = std::abs(kept.in) < std::abs(along.in) ? kWidth : 1;
  for_kept(plan, 1, 1.0 * static_cast<double>(along.length * kept.length), [&](const char* in, char* out) {
    in += in_start;
    out += out_start;
    for (std::int64_t j = 0; j < kept.length; j += block) {
      const std::int64_t width = std::min(block, kept.length - j);
      Acc acc[kWidth];
      std::fill_n(acc, width, Acc(0));
      for (std::int64_t r = 0; r < along.length; ++r) {
        const char* from = in + r * along.in + j * kept.in;
        char* to = out + r * along.out + j * kept.out;
        for (std::int64_t i = 0; i < width; ++i) {
          acc[i] += static_cast<Acc>(*reinterpret_cast<const T*>(from + i * kept.in));
          *reinterpret_cast<T*>(to + i * kept.out) = static_cast<T>(acc[i]);
        }
      }
    }
  });
}

}  // namespace

void CpuBackend::reduce(Reduction r, const Array& in, const Axes& axes, Array& out) {
  if (out.size() == 0) return;
  if (in.size() == 0) {
    const bool one = r == Reduction::Prod || r == Reduction::All;
    return copy(scalar(one ? 1 : 0, out.dtype()).array(), out);
  }
  const DType dtype = working_dtype(r, in.dtype(), out.dtype());
  if (in.dtype() != dtype) {
    Ref<Array> converted = empty({in.shape(), dtype, in.aval().device});
    copy(in, *converted);
    return reduce(r, *converted, axes, out);
  }
  if (out.dtype() != dtype) {
    Ref<Array> result = empty({out.shape(), dtype, out.aval().device});
    reduce(r, in, axes, *result);
    return copy(*result, out);
  }
  if (dtype == DType::Bool) r = r == Reduction::Any || r == Reduction::Max ? Reduction::Any : Reduction::All;
  const Plan plan = make_plan(in, axes, out);
  switch (r) {
    case Reduction::Sum: return reduce_numbers<SumOf>(r, dtype, plan);
    case Reduction::Prod: return reduce_numbers<ProdOf>(r, dtype, plan);
    case Reduction::Max: return reduce_numbers<MaxOf>(r, dtype, plan);
    case Reduction::Min: return reduce_numbers<MinOf>(r, dtype, plan);
    case Reduction::Any: return Reducer<AnyOf, bool>(plan, simd().reduce(r, dtype)).run();
    case Reduction::All: return Reducer<AllOf, bool>(plan, simd().reduce(r, dtype)).run();
  }
}

void CpuBackend::arg_reduce(bool max, const Array& in, int axis, Array& out) {
  if (out.size() == 0) return;
  const Plan plan = make_plan(in, {axis}, out);
  dispatch(in.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    max ? arg_extremum<true, T>(plan) : arg_extremum<false, T>(plan);
  });
}

void CpuBackend::cumsum(const Array& in, int axis, bool reverse, Array& out) {
  if (out.size() == 0) return;
  if (in.dtype() != out.dtype()) {
    Ref<Array> converted = empty({in.shape(), out.dtype(), out.aval().device});
    copy(in, *converted);
    return cumsum(*converted, axis, reverse, out);
  }
  const Plan plan = make_plan(in, {axis}, out, true);
  dispatch(out.dtype(), [&](auto tag) { running_sum<typename decltype(tag)::type>(plan, reverse); });
}

}  // namespace evolute::cpu
