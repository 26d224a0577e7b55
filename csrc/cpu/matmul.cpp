// Matrix products of arrays: batches, and integers. Those of floats are in gemm.cpp.
#include <algorithm>

#include "core/thread_pool.h"
#include "cpu/cpu_backend.h"
#include "cpu/gemm.h"
#include "cpu/simd.h"

namespace evolute::cpu {

namespace {

// Row by row as sums of multiples of rows of b. T is unsigned: overflow wraps around.
template <class T>
void integer_product(Extent e, Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
  for (std::int64_t i = 0; i < e.m; ++i) {
    T* row = c.p + i * c.rs;
    for (std::int64_t j = 0; j < e.n; ++j) row[j * c.cs] = 0;
    for (std::int64_t p = 0; p < e.k; ++p) {
      const T x = a.p[i * a.rs + p * a.cs];
      const T* y = b.p + p * b.rs;
      if (b.cs == 1 && c.cs == 1)
        for (std::int64_t j = 0; j < e.n; ++j) row[j] += x * y[j];
      else
        for (std::int64_t j = 0; j < e.n; ++j) row[j * c.cs] += x * y[j * b.cs];
    }
  }
}

// Offset in elements of matrix `i`, counted row-major over the batch axes.
std::int64_t batch_offset(const Array& a, int axes, std::int64_t i) {
  std::int64_t offset = 0;
  for (int d = axes - 1; d > 0; --d) {
    offset += i % a.shape()[d] * a.strides()[d];
    i /= a.shape()[d];
  }
  return axes > 0 ? offset + i * a.strides()[0] : 0;
}

// Has all matrices multiplied: product(e, a, b, c, batch) does a batch of them.
template <class T, class F>
void batched(const Array& a, const Array& b, Array& out, F&& product) {
  int axes = out.ndim() - 2;
  Extent e{out.shape()[axes], out.shape()[axes + 1], a.shape()[axes + 1]};
  Matrix<const T> x{a.data<T>(), a.strides()[axes], a.strides()[axes + 1]};
  const Matrix<const T> y{b.data<T>(), b.strides()[axes], b.strides()[axes + 1]};
  Matrix<T> z{out.data<T>(), out.strides()[axes], out.strides()[axes + 1]};

  // A batch axis along which b does not change is more rows of a.
  for (; axes > 0; --axes) {
    const std::int64_t count = out.shape()[axes - 1];
    if (count != 1) {
      const std::int64_t step = a.strides()[axes - 1], out_step = out.strides()[axes - 1];
      if (b.strides()[axes - 1] != 0) break;
      if (e.m == 1) {
        x.rs = step;
        z.rs = out_step;
      } else if (step != e.m * x.rs || out_step != e.m * z.rs) {
        break;
      }
      e.m *= count;
    }
  }
  // The next axes are one batch, as far as they are one axis of evenly spaced matrices.
  Batch batch;
  for (; axes > 0; --axes) {
    const std::int64_t count = out.shape()[axes - 1];
    const Batch axis{count, a.strides()[axes - 1], b.strides()[axes - 1], out.strides()[axes - 1]};
    if (count == 1) continue;
    if (batch.count == 1)
      batch = axis;
    else if (axis.a == batch.count * batch.a && axis.b == batch.count * batch.b && axis.c == batch.count * batch.c)
      batch.count *= count;
    else
      break;
  }
  if (axes == 0) return product(e, x, y, z, batch);

  std::int64_t batches = 1;
  for (int d = 0; d < axes; ++d) batches *= out.shape()[d];
  const double ns = 10 + static_cast<double>(e.m) * static_cast<double>(e.n) * static_cast<double>(e.k) / 50;
  parallel_ranges(batches, ns * static_cast<double>(batch.count), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t ia = batch_offset(a, axes, i), ib = batch_offset(b, axes, i), io = batch_offset(out, axes, i);
      product(e, {x.p + ia, x.rs, x.cs}, {y.p + ib, y.rs, y.cs}, {z.p + io, z.rs, z.cs}, batch);
    }
  });
}

template <class T>
void float_matmul(const GemmKernels<T>& kernels, const Array& a, const Array& b, Array& out, bool add) {
  batched<T>(a, b, out, [&](Extent e, Matrix<const T> x, Matrix<const T> y, Matrix<T> z, const Batch& batch) {
    gemm(kernels, {e, x, y, z, add}, batch);
  });
}

template <class T>
void integer_matmul(const Array& a, const Array& b, Array& out) {
  batched<T>(a, b, out, [](Extent e, Matrix<const T> x, Matrix<const T> y, Matrix<T> z, const Batch& batch) {
    const double ns = static_cast<double>(e.m) * static_cast<double>(e.n) * static_cast<double>(e.k) / 5;
    parallel_ranges(batch.count, 10 + ns, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        integer_product<T>(e, {x.p + i * batch.a, x.rs, x.cs}, {y.p + i * batch.b, y.rs, y.cs},
                           {z.p + i * batch.c, z.rs, z.cs});
    });
  });
}

}  // namespace

void CpuBackend::matmul(const Array& a, const Array& b, Array& out, bool add) {
  if (out.size() == 0) return;
  switch (out.dtype()) {
    case DType::Float32: return float_matmul(*simd().gemm_float, a, b, out, add);
    case DType::Float64: return float_matmul(*simd().gemm_double, a, b, out, add);
    case DType::Int32: return integer_matmul<std::uint32_t>(a, b, out);
    default: return integer_matmul<std::uint64_t>(a, b, out);
  }
}

}  // namespace evolute::cpu
