#include <cstring>
#include <vector>

#include "core/thread_pool.h"
#include "cpu/cost.h"
#include "cpu/cpu_backend.h"
#include "cpu/strided_loop.h"

namespace evolute::cpu {
namespace {

// Byte offsets of a row-major sequence of positions.
class Offsets {
 public:
  // Positions of an array of `shape` and `strides` (in bytes): an arithmetic sequence where they allow it.
  Offsets(const Shape& shape, const Strides& strides) {
    std::int64_t pitch = 0, inner = 1;
    bool even = true;
    for (int i = shape.size() - 1; i >= 0; --i) {
      if (shape[i] == 1) continue;
      if (inner == 1) pitch = strides[i];
      even = even && strides[i] == inner * pitch;
      inner *= shape[i];
    }
    if (even || inner == 0) {
      pitch_ = pitch;
      return;
    }
    table_.assign(static_cast<std::size_t>(inner), 0);
    std::int64_t repeat = 1;  // entries filled so far
    for (int i = shape.size() - 1; i >= 0; --i) {
      for (std::int64_t k = 1; k < shape[i]; ++k)
        for (std::int64_t j = 0; j < repeat; ++j) table_[k * repeat + j] = table_[j] + k * strides[i];
      repeat *= shape[i];
    }
  }
  explicit Offsets(std::vector<std::int64_t> table) : table_(std::move(table)) {}

  std::int64_t operator[](std::int64_t i) const {
    return table_.empty() ? i * pitch_ : table_[static_cast<std::size_t>(i)];
  }

 private:
  std::vector<std::int64_t> table_;  // empty: i * pitch_
  std::int64_t pitch_ = 0;
};

// Where the indices point to in an array of `shape`. Throws IndexError; nothing has been written by then.
Offsets resolve(const char* op, const Array& indexed, std::span<const Array* const> index, const Axes& axes) {
  const auto n = static_cast<std::size_t>(index[0]->size());
  std::vector<std::int64_t> table(n, 0);
  const auto item = static_cast<std::int64_t>(size_of(indexed.dtype()));
  for (std::size_t k = 0; k < index.size(); ++k) {
    const int axis = static_cast<int>(axes[static_cast<int>(k)]);
    const std::int64_t length = indexed.shape()[axis], stride = indexed.strides()[axis] * item;
    const Ref<Array> dense = contiguous(*index[k]);
    const std::int64_t* at = dense->data<std::int64_t>();
    for (std::size_t b = 0; b < n; ++b) {
      const std::int64_t i = at[b] < 0 ? at[b] + length : at[b];
      if (i < 0 || i >= length)
        throw IndexError(cat(op, ": index ", at[b], " is out of range for axis ", axis, " of length ", length));
      table[b] += i * stride;
    }
  }
  return Offsets(std::move(table));
}

// The axes of an array that are not indexed, and the first axes of the other array, which the indices make.
struct Slices {
  Shape shape;              // of one slice
  Strides indexed, listed;  // strides of a slice in either array, in bytes
  Shape index_shape;
  Strides index_strides;  // of the index axes in the listed array, in bytes
};

// `indexed` is the array that the indices point into, `listed` has the slices one after the other.
Slices slices(const Array& indexed, const Array& listed, int index_ndim, const Axes& axes) {
  Slices s;
  const auto item = static_cast<std::int64_t>(size_of(indexed.dtype()));
  for (int i = 0; i < index_ndim; ++i) {
    s.index_shape.push_back(listed.shape()[i]);
    s.index_strides.push_back(listed.strides()[i] * item);
  }
  for (int i = 0, j = index_ndim; i < indexed.ndim(); ++i) {
    if (axes.contains(i)) continue;
    s.shape.push_back(indexed.shape()[i]);
    s.indexed.push_back(indexed.strides()[i] * item);
    s.listed.push_back(listed.strides()[j++] * item);
  }
  return s;
}

// Calls `f(listed, listed_stride, indexed, indexed_stride, n)` on pieces of slices. With `in_order`, the indices come
// in order for every element of a slice, so that of several writes to one place the last stays: threads then share the
// elements of a slice, and otherwise the indices.
template <class F>
void for_each_slice(const Slices& s, const Offsets& at, std::int64_t count, bool in_order, char* indexed, char* listed,
                    F&& f) {
  // A slice with gaps is taken in pieces, each for all indices: lines of the cache are used whole, at either end.
  constexpr std::int64_t kPiece = 16;
  const Offsets list(s.index_shape, s.index_strides);
  const StridedLoop::Operand operands[] = {{listed, s.listed}, {indexed, s.indexed}};
  StridedLoop(s.shape, operands).run([&](char* const* p, const std::int64_t* stride, std::int64_t n) {
    const auto some = [&](std::int64_t i0, std::int64_t i1, std::int64_t begin, std::int64_t end) {
      const std::int64_t step = stride[0] == stride[1] ? end - begin : kPiece;
      for (std::int64_t first = begin; first < end; first += step) {
        char *a = p[0] + first * stride[0], *b = p[1] + first * stride[1];
        const std::int64_t width = std::min(step, end - first);
        for (std::int64_t i = i0; i < i1; ++i) f(a + list[i], stride[0], b + at[i], stride[1], width);
      }
    };
    constexpr double kCallNs = 4, kElementNs = 8 * kNsPerByte;
    if (in_order)
      parallel_ranges(
          n, kElementNs * static_cast<double>(count),
          [&](std::int64_t begin, std::int64_t end) { some(0, count, begin, end); }, kPiece);
    else
      parallel_ranges(count, kCallNs + kElementNs * static_cast<double>(n),
                      [&](std::int64_t begin, std::int64_t end) { some(begin, end, 0, n); });
  });
}

template <class T>
void move_elements(char* to, std::int64_t to_stride, const char* from, std::int64_t from_stride, std::int64_t n) {
  if (n == 1) {
    std::memcpy(to, from, sizeof(T));
  } else if (to_stride == std::int64_t{sizeof(T)} && from_stride == to_stride) {
    std::memcpy(to, from, static_cast<std::size_t>(n) * sizeof(T));
  } else {
    for (std::int64_t i = 0; i < n; ++i) std::memcpy(to + i * to_stride, from + i * from_stride, sizeof(T));
  }
}

template <class T>
void add_elements(char* to, std::int64_t to_stride, const char* from, std::int64_t from_stride, std::int64_t n) {
  using Sum = std::conditional_t<std::is_same_v<T, std::int64_t>, std::uint64_t,
                                 std::conditional_t<std::is_same_v<T, std::int32_t>, std::uint32_t, T>>;
  const auto add = [&](std::int64_t i) {
    T& x = *reinterpret_cast<T*>(to + i * to_stride);
    x = static_cast<T>(static_cast<Sum>(x) + static_cast<Sum>(*reinterpret_cast<const T*>(from + i * from_stride)));
  };
  if (to_stride == std::int64_t{sizeof(T)} && from_stride == to_stride) {
    T* x = reinterpret_cast<T*>(to);
    const T* y = reinterpret_cast<const T*>(from);
    for (std::int64_t i = 0; i < n; ++i) x[i] = static_cast<T>(static_cast<Sum>(x[i]) + static_cast<Sum>(y[i]));
  } else {
    for (std::int64_t i = 0; i < n; ++i) add(i);
  }
}

char* data_of(const Array& a) { return reinterpret_cast<char*>(a.bytes()); }

}  // namespace

void CpuBackend::gather(const Array& in, std::span<const Array* const> index, const Axes& axes, Array& out) {
  const Offsets at = resolve("gather", in, index, axes);
  const std::int64_t count = index[0]->size();
  if (out.size() == 0) return;
  const Slices s = slices(in, out, index[0]->ndim(), axes);
  dispatch(in.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    for_each_slice(s, at, count, false, data_of(in), data_of(out),
                   [](char* to, auto ts, char* from, auto fs, auto n) { move_elements<T>(to, ts, from, fs, n); });
  });
}

void CpuBackend::scatter(ScatterMode mode, const Array& base, std::span<const Array* const> index, const Axes& axes,
                         const Array& updates, Array& out) {
  const Offsets at = resolve("scatter", out, index, axes);
  const std::int64_t count = index[0]->size();
  copy(base, out);
  if (updates.size() == 0 || out.size() == 0) return;
  const Ref<Array> expanded = broadcast_view(updates, [&] {
    Shape shape = index[0]->shape();
    for (int i = 0; i < out.ndim(); ++i)
      if (!axes.contains(i)) shape.push_back(out.shape()[i]);
    return shape;
  }());
  const Slices s = slices(out, *expanded, index[0]->ndim(), axes);
  dispatch(out.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    for_each_slice(
        s, at, count, true, data_of(out), data_of(*expanded), [mode](char* from, auto fs, char* to, auto ts, auto n) {
          mode == ScatterMode::Set ? move_elements<T>(to, ts, from, fs, n) : add_elements<T>(to, ts, from, fs, n);
        });
  });
}

Ref<Array> CpuBackend::nonzero(const Array& mask) {
  const Ref<Array> dense = contiguous(mask);
  return dispatch(mask.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* x = dense->data<T>();
    const std::int64_t n = dense->size();
    const std::int64_t count = n - std::count(x, x + n, T(0));
    Ref<Array> out = empty({{count}, DType::Int64, mask.aval().device});
    std::int64_t* p = out->data<std::int64_t>();
    for (std::int64_t i = 0; i < n; ++i)
      if (x[i] != T(0)) *p++ = i;
    return out;
  });
}

}  // namespace evolute::cpu
