// A batch of matrix products before it is cut to what a launch can take.
#pragma once

#include <span>

#include "core/array.h"
#include "cuda/gemm.h"
#include "cuda/space.h"
#include "evolute/precision.h"

namespace evolute::cuda {

// Factors a (m × k) and b (k × n), and N arrays that have an element for each of the result: the result itself, or
// operands and results of what is done with it.
template <int N>
struct Product {
  std::int64_t m, n, k;
  std::int64_t a_row, a_col, b_row, b_col, row[N], column[N];
  Space<N + 2> batch;  // a, b, the arrays

  // Of arrays by their strides along the axes of `shape`, those of the batch among the factors'; `order_by`: the array
  // whose order is that of the batch.
  Product(const Shape& shape, const Array& x, const Array& y, std::span<const Strides> arrays, int order_by = 0) {
    const int axes = shape.size() - 2;
    m = shape[axes], n = shape[axes + 1], k = x.shape()[axes + 1];
    a_row = x.strides()[axes], a_col = x.strides()[axes + 1];
    b_row = y.strides()[axes], b_col = y.strides()[axes + 1];
    for (std::size_t o = 0; o < arrays.size(); ++o) row[o] = arrays[o][axes], column[o] = arrays[o][axes + 1];
    for (int i = axes - 1; i >= 0; --i) {
      typename Space<N + 2>::Axis axis{shape[i], {x.strides()[i], y.strides()[i]}};
      for (std::size_t o = 0; o < arrays.size(); ++o) axis.stride[o + 2] = arrays[o][i];
      batch.add(axis);
    }
    batch.arrange(order_by + 2);
    merge_rows(arrays.size());
    if (m < n) swap(arrays.size());
  }

  // What a launch needs to know of the factors, which are at a and b.
  GemmArgs args(DType t, const void* a, const void* b) const {
    GemmArgs g{};
    g.m = m, g.n = n, g.k = k;
    g.a = a, g.b = b;
    g.a_row = a_row, g.a_col = a_col, g.b_row = b_row, g.b_col = b_col;
    g.a_lies = lies(t, a, m, a_row, a_col, 0);
    g.b_lies = lies(t, b, n, b_col, b_row, 1);
    return g;
  }
  // Whether elements of array o lie side by side along columns of C rather than along rows.
  bool by_rows(std::size_t o) const { return row[o] == 1 && (column[o] != 1 || n == 1); }
  // Whether groups of so many elements begin at multiples of their size, wherever a tile may begin.
  bool packed(std::size_t o, bool by_rows, const void* p, std::int64_t group, std::size_t item) const {
    const std::int64_t along = by_rows ? row[o] : column[o], across = by_rows ? column[o] : row[o];
    return along == 1 && ((by_rows ? n : m) == 1 || across % group == 0) && aligned(o + 2, p, group, item);
  }

  bool swapped = false;  // then a is what was b

 private:
  bool aligned(std::size_t operand, const void* p, std::int64_t group, std::size_t item) const {
    bool fits = reinterpret_cast<std::uintptr_t>(p) % (static_cast<std::size_t>(group) * item) == 0;
    for (int i = 0; i < batch.ndim(); ++i) fits = fits && batch.axis(i).stride[operand] % group == 0;
    return fits;
  }
  Lie lies(DType t, const void* p, std::int64_t length, std::int64_t stride, std::int64_t k_stride,
           std::size_t operand) const {
    const auto group = static_cast<std::int64_t>(16 / size_of(t));
    if (stride == 1 && length % group == 0 && k_stride % group == 0 && aligned(operand, p, group, size_of(t)))
      return Lie::Dense;
    return k_stride == 1 ? Lie::AlongK : Lie::Any;
  }
  // A batch axis along which b does not change is more rows of a, where they lie so in all arrays.
  void merge_rows(std::size_t arrays) {
    if (batch.ndim() != 1) return;
    const auto& axis = batch.axis(0);
    bool fits = axis.stride[1] == 0 && axis.stride[0] == m * a_row;
    for (std::size_t o = 0; o < arrays; ++o) fits = fits && axis.stride[o + 2] == m * row[o];
    if (!fits) return;
    m *= batch.size();
    batch = {};
  }
  // Cᵀ = Bᵀ Aᵀ: the narrow side to the right, where tiles can be narrow.
  void swap(std::size_t arrays) {
    Space<N + 2> other;
    for (int i = 0; i < batch.ndim(); ++i) {
      auto axis = batch.axis(i);
      std::swap(axis.stride[0], axis.stride[1]);
      other.add(axis);
    }
    batch = other;
    std::swap(m, n);
    std::swap(a_row, b_col);
    std::swap(a_col, b_row);
    for (std::size_t o = 0; o < arrays; ++o) std::swap(row[o], column[o]);
    swapped = true;
  }
};

inline Tile tile_of(DType t, const GemmArgs& g) {
  return t == DType::Float64 ? choose_tile<double>(g, false) : choose_tile<float>(g, matmul_allow_tf32());
}
inline void split(DType t, GemmArgs& g, Tile tile) {
  t == DType::Float64 ? split<double>(g, tile) : split<float>(g, tile);
}

}  // namespace evolute::cuda
