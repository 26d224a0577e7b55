// Matrix products of float and double: what cpu/gemm.cpp offers, and what it needs of each instruction set.
#pragma once

#include <cstdint>

namespace evolute::cpu {

// A matrix in strided memory; strides in elements.
template <class T>
struct Matrix {
  T* p;
  std::int64_t rs, cs;  // from one row to the next, from one column to the next
};

// Of a product: an m x k matrix times a k x n matrix.
struct Extent {
  std::int64_t m, n, k;
};

// C = A B, or C += A B with `add`. Rows of B and of C are dense.
template <class T>
struct GemmBlock {
  Extent extent;
  Matrix<const T> a;
  const T* b;
  std::int64_t b_rs;     // from one row to the next
  std::int64_t b_panel;  // from one panel of columns to the next: GemmKernels::panel unless B is packed
  T* c;
  std::int64_t c_rs;
  bool add;
  bool pack_a;  // copy the rows of A that are in use to where they are close together
};

// The kernels of one instruction set, from cpu/simd/gemm.cpp.
template <class T>
struct GemmKernels {
  std::int64_t panel;    // columns that are computed side by side: the width of a packed panel
  std::int64_t rows;     // rows that are computed side by side
  std::int64_t depth;    // largest k of a block
  std::int64_t columns;  // largest n of `dot`

  void (*block)(const GemmBlock<T>& block);
  // Copies a k x n matrix into panels, one after the other: each row after row, `panel` wide, padded with zeros.
  void (*pack)(Matrix<const T> b, std::int64_t k, std::int64_t n, T* out);
  // C = A B where the rows of A and the columns of B are dense.
  void (*dot)(Extent e, Matrix<const T> a, Matrix<const T> b, Matrix<T> c);
  // C = A B where A has one row and the rows of B are dense.
  void (*row)(Extent e, Matrix<const T> a, Matrix<const T> b, Matrix<T> c);
};

// C = A B for all sizes and strides, on several threads where that pays. The result does not depend on their number.
template <class T>
void gemm(const GemmKernels<T>& kernels, Extent e, Matrix<const T> a, Matrix<const T> b, Matrix<T> c);
extern template void gemm(const GemmKernels<float>&, Extent, Matrix<const float>, Matrix<const float>, Matrix<float>);
extern template void gemm(const GemmKernels<double>&, Extent, Matrix<const double>, Matrix<const double>,
                          Matrix<double>);

}  // namespace evolute::cpu
