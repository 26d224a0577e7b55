// Iteration spaces before they are cut to what a launch can take: axes merged into as few as possible.
#pragma once

#include <cstdlib>
#include <utility>

#include "cuda/loop.h"

namespace evolute::cuda {

// A space before it is cut to what a launch can take.
template <int N>
class Space {
 public:
  struct Axis {
    std::int64_t length;
    std::int64_t stride[N] = {};
  };

  void add(const Axis& a) {  // from the innermost on
    if (a.length == 0) size_ = 0;
    if (a.length == 1) return;
    axes_[ndim_++] = a;
    size_ *= a.length;
  }
  // The axes in the order of the strides of operand `k`, merged where all operands allow it.
  void arrange(int k) {
    for (int i = 1; i < ndim_; ++i)
      for (int j = i; j > 0 && std::llabs(axes_[j].stride[k]) < std::llabs(axes_[j - 1].stride[k]); --j)
        std::swap(axes_[j], axes_[j - 1]);
    int top = 0;
    for (int i = 1; i < ndim_; ++i) {
      bool fits = true;
      for (int o = 0; o < N; ++o) fits = fits && axes_[i].stride[o] == axes_[top].length * axes_[top].stride[o];
      if (fits)
        axes_[top].length *= axes_[i].length;
      else
        axes_[++top] = axes_[i];
    }
    if (ndim_ > 0) ndim_ = top + 1;
  }

  std::int64_t size() const { return size_; }
  int ndim() const { return ndim_; }
  const Axis& axis(int i) const { return axes_[i]; }

  // Calls f(loop, offsets) for each part that one launch can do; `offsets` are those of its operands.
  template <class F>
  void for_parts(F&& f) const {
    if (size_ == 0) return;
    std::int64_t offset[N] = {};
    cut(ndim_, size_, offset, f);
  }

 private:
  static constexpr std::int64_t kMost = (std::int64_t{1} << 31) - 1;

  // The innermost `n` axes, of `size` elements.
  template <class F>
  void cut(int n, std::int64_t size, const std::int64_t (&offset)[N], F& f) const {
    if (n <= 1 || size <= kMost) return f(loop(n, n == 0 ? 1 : axes_[n - 1].length), offset);
    const Axis& outer = axes_[n - 1];
    const std::int64_t inner = size / outer.length, rows = kMost / inner;
    for (std::int64_t i = 0; i < outer.length; i += rows > 0 ? rows : 1) {
      std::int64_t at[N];
      for (int k = 0; k < N; ++k) at[k] = offset[k] + i * outer.stride[k];
      if (rows == 0)
        cut(n - 1, inner, at, f);
      else
        f(loop(n, rows < outer.length - i ? rows : outer.length - i), at);
    }
  }

  Loop<N> loop(int n, std::int64_t outermost) const {
    Loop<N> l;
    l.ndim = n == 0 ? 1 : n;
    for (int a = 0; a < n; ++a) {
      const std::int64_t length = a == n - 1 ? outermost : axes_[a].length;
      l.size *= length;
      if (n > 1) l.length[a] = Divisor(static_cast<std::uint32_t>(length));
      for (int k = 0; k < N; ++k) l.stride[k][a] = axes_[a].stride[k];
    }
    return l;
  }

  std::int64_t size_ = 1;
  int ndim_ = 0;
  Axis axes_[kMaxAxes] = {};
};

// Blocks for n items, `each` of them per block. Kernels step by the grid, so that there may be fewer than that.
inline unsigned blocks_for(std::int64_t n, std::int64_t each) {
  constexpr std::int64_t kMost = 1 << 20;
  const std::int64_t blocks = (n + each - 1) / each;
  return static_cast<unsigned>(blocks < 1 ? 1 : blocks < kMost ? blocks : kMost);
}

}  // namespace evolute::cuda
