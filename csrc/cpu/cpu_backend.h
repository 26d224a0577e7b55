// The CPU backend: one method per family of kernels, each in the file of its name.
#pragma once

#include "core/backend.h"

namespace evolute::cpu {

class CpuBackend final : public Backend {
 public:
  Ref<Buffer> allocate(std::size_t bytes) override;  // cpu_backend.cpp
  void elementwise(int kernel, std::span<const Array* const> in,
                   std::span<Array* const> out) override;  // elementwise.cpp
  void elementwise_sum(int kernel, const Shape& shape, std::span<const Array* const> in,
                       std::span<Array* const> out) override;                           // elementwise_sum.cpp
  void select(const Array& cond, const Array& a, const Array& b, Array& out) override;  // elementwise.cpp
  std::unique_ptr<FusedKernel> prepare(const FusedProgram& program) override;           // fused.cpp
  void copy(const Array& in, Array& out) override;                                      // copy.cpp
  void reduce(Reduction r, const Array& in, const Axes& axes, Array& out) override;     // reduce.cpp
  void arg_reduce(bool max, const Array& in, int axis, Array& out) override;            // reduce.cpp
  void cumsum(const Array& in, int axis, bool reverse, Array& out) override;            // reduce.cpp
  void matmul(const Array& a, const Array& b, Array& out, bool add) override;           // matmul.cpp
  void gather(const Array& in, std::span<const Array* const> index, const Axes& axes,
              Array& out) override;  // index.cpp
  void scatter(ScatterMode mode, const Array& base, std::span<const Array* const> index, const Axes& axes,
               const Array& updates, Array& out) override;               // index.cpp
  Ref<Array> nonzero(const Array& mask) override;                        // index.cpp
  void iota(double start, double step, Array& out) override;             // random.cpp
  void random(Distribution d, std::uint64_t seed, Array& out) override;  // random.cpp
  void cholesky(const Array& in, Array& out) override;                   // linalg.cpp
  void solve_triangular(const Array& a, const Array& b, bool lower, bool transpose, bool unit_diagonal,
                        Array& out) override;                                       // linalg.cpp
  void solve(const Array& a, const Array& b, bool transpose, Array& out) override;  // linalg.cpp
  void determinant(const Array& a, bool log, Array& out) override;                  // linalg.cpp
  void cofactor(const Array& a, Array& out) override;                               // linalg.cpp
};

}  // namespace evolute::cpu
