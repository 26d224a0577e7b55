// Matrix products of float and double: what cpu/gemm.cpp offers, and what it needs of each instruction set.
#pragma once

#include <cstdint>

namespace evolute::cpu {

// A matrix in strided memory; strides in elements.
template <class T>
struct Matrix {
  T* p;
  std::int64_t rs, cs;  // from one row to the next, from one column to the next

  [[gnu::always_inline]] T* at(std::int64_t i, std::int64_t j) const { return p + i * rs + j * cs; }
};

// Of a product: an m x k matrix times a k x n matrix.
struct Extent {
  std::int64_t m, n, k;
};

// A product, C = A B or with `add` C += A B; all sizes and strides. C shares no memory with A and B.
template <class T>
struct Gemm {
  Extent extent;
  Matrix<const T> a, b;
  Matrix<T> c;
  bool add = false;
};

// How many products of the same kind, and from one to the next the steps from matrix to matrix.
struct Batch {
  std::int64_t count = 1, a = 0, b = 0, c = 0;
};

// Part of a product that goes from cache to registers. Rows of B and of C are dense.
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
  // Copies a k x n matrix into panels, one after the other: each row after row, `panel` wide, padded with zeros. That
  // is panel_elements(k, n) in all.
  void (*pack)(Matrix<const T> b, std::int64_t k, std::int64_t n, T* out);
  // Where the rows of A and the columns of B are dense.
  void (*dot)(const Gemm<T>& g);
  // Where A has one row and the rows of B are dense.
  void (*row)(const Gemm<T>& g);

  std::int64_t panel_elements(std::int64_t k, std::int64_t n) const { return (n + panel - 1) / panel * panel * k; }
};

// Computes a product, or many; on several threads where that pays. Inside of a parallel region it runs on the caller's
// thread, and scratch comes from that thread's cache of memory: for blocks of a larger computation. The result does not
// depend on the number of threads.
template <class T>
void gemm(const GemmKernels<T>& kernels, const Gemm<T>& g, const Batch& batch = {});
extern template void gemm(const GemmKernels<float>&, const Gemm<float>&, const Batch&);
extern template void gemm(const GemmKernels<double>&, const Gemm<double>&, const Batch&);

}  // namespace evolute::cpu
