// One loop nest over several strided operands, for every kernel that visits elements in any order.
//
// The axes of all operands are merged jointly into as few loops as possible; their order is the one that suits the
// first operand, which should be the output, or one that is named. What remains of the work is an inner function
//
//   f(char* const* p, const std::int64_t* stride, std::int64_t n)
//
// that handles n elements of each operand, from p[k] on and stride[k] bytes apart. Nothing here uses the heap.
#pragma once

#include <array>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <span>

#include "core/array.h"
#include "core/thread_pool.h"

namespace evolute::cpu {

template <int kMax>
class BasicStridedLoop {
 public:
  static constexpr int kMaxOperands = kMax;

  struct Operand {
    char* data;
    Strides strides;  // in bytes, one per axis of the iteration shape
  };

  // Operands broadcast to `shape`. `lead`: the one whose order of axes counts first.
  BasicStridedLoop(const Shape& shape, std::span<const Array* const> arrays, int lead = 0)
      : operands_(static_cast<int>(arrays.size())), lead_(lead) {
    if (flat(shape, arrays)) return;
    std::array<Operand, kMaxOperands> operands;
    for (int k = 0; k < operands_; ++k) {
      const Array& a = *arrays[k];
      Operand& o = operands[k];
      o.data = reinterpret_cast<char*>(a.bytes());
      o.strides = Strides::filled(shape.size(), 0);
      const int lead = shape.size() - a.ndim();
      for (int i = 0; i < a.ndim(); ++i)
        if (a.shape()[i] != 1) o.strides[lead + i] = a.strides()[i] * static_cast<std::int64_t>(size_of(a.dtype()));
    }
    plan(shape, operands);
  }
  BasicStridedLoop(const Shape& shape, std::initializer_list<const Array*> arrays)
      : BasicStridedLoop(shape, std::span<const Array* const>(arrays.begin(), arrays.size())) {}

  BasicStridedLoop(const Shape& shape, std::span<const Operand> operands)
      : operands_(static_cast<int>(operands.size())) {
    std::array<Operand, kMaxOperands> copy;
    std::copy(operands.begin(), operands.end(), copy.begin());
    plan(shape, copy);
  }

  // Axis 0 is the innermost. An empty iteration space has one axis of length 0.
  int ndim() const noexcept { return ndim_; }
  int operands() const noexcept { return operands_; }
  std::int64_t length(int axis) const noexcept { return axes_[axis].length; }
  std::int64_t stride(int axis, int operand) const noexcept { return axes_[axis].stride[operand]; }
  char* data(int operand) const noexcept { return base_[operand]; }

  // The work in independent parts, for a caller that splits it over threads: run(f) is run(f, 0, parts()).
  std::int64_t parts() const noexcept {
    if (ndim_ == 1) return (axes_[0].length + kGrain - 1) / kGrain;
    std::int64_t n = row_blocks();
    for (int i = 2; i < ndim_; ++i) n *= axes_[i].length;
    return n;
  }
  std::int64_t size() const noexcept {
    std::int64_t n = 1;
    for (int i = 0; i < ndim_; ++i) n *= axes_[i].length;
    return n;
  }

  template <class F>
  void run(F&& f) const {
    run(f, 0, parts());
  }

  // The same on several threads where that pays. One element takes `ns` nanoseconds; `make()` gives a function like the
  // `f` above for each range of parts, which may keep state.
  template <class Make>
  void run_split(double ns, Make&& make) const {
    const std::int64_t n = parts();
    if (n == 1) return run(make(), 0, 1);
    parallel_ranges(n, ns * static_cast<double>(size()) / static_cast<double>(n),
                    [&](std::int64_t begin, std::int64_t end) { run(make(), begin, end); });
  }
  // For an `f` without state.
  template <class F>
  void run_parallel(double ns, const F& f) const {
    run_split(ns, [&]() -> const F& { return f; });
  }

  template <class F>
  void run(F&& f, std::int64_t begin, std::int64_t end) const {
    if (begin >= end) return;
    if (ndim_ == 1) return run_single(f, begin, end);

    // Position of part `begin`: its block of rows, and its index along each outer axis.
    std::array<std::int64_t, Dims::kMaxDims> at{};
    std::array<char*, kMaxOperands> outer = base_;
    const std::int64_t blocks = row_blocks();
    std::int64_t block = begin % blocks;
    for (std::int64_t rest = begin / blocks, i = 2; i < ndim_; ++i) {
      at[i] = rest % axes_[i].length;
      rest /= axes_[i].length;
      for (int k = 0; k < operands_; ++k) outer[k] += at[i] * axes_[i].stride[k];
    }
    for (std::int64_t part = begin; part < end; ++part) {
      run_rows(f, outer, block);
      if (++block < blocks) continue;
      block = 0;
      for (int i = 2; i < ndim_; ++i) {
        const Axis& a = axes_[i];
        if (++at[i] < a.length) {
          for (int k = 0; k < operands_; ++k) outer[k] += a.stride[k];
          break;
        }
        at[i] = 0;
        for (int k = 0; k < operands_; ++k) outer[k] -= (a.length - 1) * a.stride[k];
      }
    }
  }

 private:
  struct Axis {
    std::int64_t length;
    std::array<std::int64_t, kMaxOperands> stride;  // in bytes
  };
  // Rows (axis 1) by columns (axis 0) of a tile: the cache lines that an operand with transposed axes touches in one
  // tile are used for several rows, and fit L1.
  static constexpr std::int64_t kTileRows = 32, kTileColumns = 128;
  static constexpr std::int64_t kGrain = 4096;  // elements of one part, roughly; keeps 64-byte alignment

  std::int64_t rows_per_block() const noexcept {
    return tiled_ ? kTileRows : std::max<std::int64_t>(kGrain / axes_[0].length, 1);
  }
  std::int64_t row_blocks() const noexcept { return (axes_[1].length + rows_per_block() - 1) / rows_per_block(); }

  template <class F>
  void run_single(F&& f, std::int64_t begin, std::int64_t end) const {
    const Axis& a = axes_[0];
    const std::int64_t first = begin * kGrain;
    std::array<char*, kMaxOperands> p;
    for (int k = 0; k < operands_; ++k) p[k] = base_[k] + first * a.stride[k];
    f(static_cast<char* const*>(p.data()), a.stride.data(), std::min(end * kGrain, a.length) - first);
  }

  template <class F>
  void run_rows(F&& f, const std::array<char*, kMaxOperands>& outer, std::int64_t block) const {
    const Axis &inner = axes_[0], &rows = axes_[1];
    const std::int64_t first = block * rows_per_block(), last = std::min(first + rows_per_block(), rows.length);
    const std::int64_t step = tiled_ ? kTileColumns : inner.length;
    for (std::int64_t column = 0; column < inner.length; column += step) {
      std::array<char*, kMaxOperands> p;
      for (int k = 0; k < operands_; ++k) p[k] = outer[k] + first * rows.stride[k] + column * inner.stride[k];
      const std::int64_t n = std::min(step, inner.length - column);
      for (std::int64_t row = first; row < last; ++row) {
        f(static_cast<char* const*>(p.data()), inner.stride.data(), n);
        for (int k = 0; k < operands_; ++k) p[k] += rows.stride[k];
      }
    }
  }

  // The common case, with next to no set-up: every operand is row-major of the full shape, or a single element.
  bool flat(const Shape& shape, std::span<const Array* const> arrays) noexcept {
    const std::int64_t size = shape.product();
    for (std::size_t k = 0; k < arrays.size(); ++k) {
      const Array& a = *arrays[k];
      if (a.size() == size && a.contiguous())
        axes_[0].stride[k] = static_cast<std::int64_t>(size_of(a.dtype()));
      else if (a.size() == 1)
        axes_[0].stride[k] = 0;
      else
        return false;
      base_[k] = reinterpret_cast<char*>(a.bytes());
    }
    axes_[0].length = size;
    return true;
  }

  void plan(const Shape& shape, std::array<Operand, kMaxOperands>& operands) noexcept {
    for (int k = 0; k < operands_; ++k) base_[k] = operands[k].data;
    ndim_ = 0;
    for (int i = shape.size() - 1; i >= 0; --i) {
      if (shape[i] == 1) continue;
      if (shape[i] == 0) return set_single(0);
      Axis& a = axes_[ndim_++];
      a.length = shape[i];
      for (int k = 0; k < operands_; ++k) a.stride[k] = operands[k].strides[i];
      if (a.stride[lead_] < 0) reverse(a);
    }
    if (ndim_ == 0) return set_single(1);
    sort();
    merge();
    if (!choose_inner()) choose_rows();
  }

  void set_single(std::int64_t length) noexcept {
    ndim_ = 1;
    axes_[0] = {length, {}};
  }
  void reverse(Axis& a) noexcept {
    for (int k = 0; k < operands_; ++k) {
      base_[k] += (a.length - 1) * a.stride[k];
      a.stride[k] = -a.stride[k];
    }
  }

  // Operands in the order in which they count: from the leading one on.
  int ranked(int k) const noexcept { return lead_ + k < operands_ ? lead_ + k : lead_ + k - operands_; }

  // By the strides of the leading operand; where those do not tell, by those of the next.
  void sort() noexcept {
    const auto before = [this](const Axis& a, const Axis& b) {
      for (int k = 0; k < operands_; ++k) {
        const std::int64_t x = std::abs(a.stride[ranked(k)]), y = std::abs(b.stride[ranked(k)]);
        if (x != y && x != 0 && y != 0) return x < y;
      }
      return false;
    };
    for (int i = 1; i < ndim_; ++i)
      for (int j = i; j > 0 && before(axes_[j], axes_[j - 1]); --j) std::swap(axes_[j], axes_[j - 1]);
  }

  void merge() noexcept {
    int top = 0;
    for (int i = 1; i < ndim_; ++i) {
      Axis &inner = axes_[top], &outer = axes_[i];
      bool fits = true;
      for (int k = 0; k < operands_; ++k) fits = fits && outer.stride[k] == inner.length * inner.stride[k];
      if (fits)
        inner.length *= outer.length;
      else
        axes_[++top] = outer;
    }
    ndim_ = top + 1;
  }

  // Long inner loops, even at the price of a stride, where the innermost axis is as short as a point in space.
  bool choose_inner() noexcept {
    constexpr std::int64_t kShort = 8;
    if (axes_[0].length > kShort) return false;
    int best = 0;
    for (int i = 1; i < ndim_; ++i)
      if (axes_[i].length >= 4 * axes_[0].length && (best == 0 || axes_[i].length > 4 * axes_[best].length)) best = i;
    if (best == 0) return false;
    std::rotate(axes_.begin(), axes_.begin() + best, axes_.begin() + best + 1);
    return tiled_ = true;  // what was the innermost axis is now the rows
  }

  // An operand that lies across the inner loop is walked in tiles, together with the axis along which it is dense.
  void choose_rows() noexcept {
    if (ndim_ < 2 || axes_[0].length < kTileRows) return;
    for (int j = 1; j < operands_; ++j) {
      const int k = ranked(j);
      int dense = 0;
      for (int i = 1; i < ndim_; ++i)
        if (axes_[i].stride[k] != 0 && std::abs(axes_[i].stride[k]) < std::abs(axes_[dense].stride[k])) dense = i;
      if (dense == 0 || axes_[dense].length < 4) continue;
      std::rotate(axes_.begin() + 1, axes_.begin() + dense, axes_.begin() + dense + 1);
      tiled_ = true;
      return;
    }
  }

  int operands_;
  int lead_ = 0;
  int ndim_ = 1;
  bool tiled_ = false;
  std::array<char*, kMaxOperands> base_;
  std::array<Axis, Dims::kMaxDims> axes_;
};

// Enough for any one kernel.
using StridedLoop = BasicStridedLoop<8>;

}  // namespace evolute::cpu
