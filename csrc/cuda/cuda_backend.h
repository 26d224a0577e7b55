// The CUDA backend: one method per family of kernels. It works out layouts; the .cu files have the kernels.
#pragma once

#include "core/plugin.h"
#include "cuda/kernels.h"
#include "cuda/runtime.h"

namespace evolute::cuda {

class CudaBackend final : public Backend {
 public:
  Ref<Buffer> allocate(std::size_t bytes) override;
  void synchronize() override;
  std::intptr_t stream() override;
  void hand_over(const Array& a, std::intptr_t stream) override;
  void take_back(const Array& a, std::intptr_t stream) override;
  Ref<Buffer> adopt(void* data, std::size_t bytes, std::function<void()> release) override;
  Ref<Replay> record(const std::function<void()>& work, std::span<const Array* const> operands) override;

  void elementwise(int kernel, std::span<const Array* const> in, std::span<Array* const> out) override;
  void elementwise_sum(int kernel, const Shape& shape, std::span<const Array* const> in,
                       std::span<Array* const> out) override;
  void select(const Array& cond, const Array& a, const Array& b, Array& out) override;
  std::unique_ptr<FusedKernel> prepare(const FusedProgram& program) override;
  bool sums_in_loops() const override { return true; }
  bool products_in_loops() const override;
  void copy(const Array& in, Array& out) override;
  void reduce(Reduction r, const Array& in, const Axes& axes, Array& out) override;
  void arg_reduce(bool max, const Array& in, int axis, Array& out) override;
  void cumsum(const Array& in, int axis, bool reverse, Array& out) override;
  void matmul(const Array& a, const Array& b, Array& out, bool add) override;
  void gather(const Array& in, std::span<const Array* const> index, const Axes& axes, Array& out) override;
  void scatter(ScatterMode mode, const Array& base, std::span<const Array* const> index, const Axes& axes,
               const Array& updates, Array& out) override;
  Ref<Array> nonzero(const Array& mask) override;
  void iota(double start, double step, Array& out) override;
  void random(Distribution d, std::uint64_t seed, Array& out) override;
  void cholesky(const Array& in, Array& out) override;
  void solve_triangular(const Array& a, const Array& b, bool lower, bool transpose, bool unit_diagonal,
                        Array& out) override;
  void solve(const Array& a, const Array& b, bool transpose, Array& out) override;
  void determinant(const Array& a, bool log, Array& out) override;
  void cofactor(const Array& a, Array& out) override;
};

CudaBackend& cuda_backend();

// What is being asked of the device, from its checks to its last launch.
class Call {
 public:
  explicit Call(const char* op) : op_(op), stream_(this_stream()) { stream_.begin(op); }
  void end() {
    turn_.end();
    stream_.end();
  }
  Stream& stream() const { return stream_; }
  cudaStream_t handle() const { return stream_.handle(); }

  // The elements of an operand in device memory: its own, or, for a constant that the host holds, a place where it is
  // put, behind strides of 0. Throws DeviceError for other arrays of the host.
  Ref<Array> on_device(const Array& a) const;
  // Of a result, or an operand that has gone through on_device.
  void* data(const Array& a) const;
  // A constant of the host as bits; false for arrays in device memory.
  bool immediate(const Array& a, std::uint64_t& bits) const;

 private:
  Turn turn_;
  const char* op_;
  Stream& stream_;
};

// "sin", "sin.d1": how kernels are called in messages.
const char* kernel_name(int kernel);

// The strides of `a` along the axes of a shape that it broadcasts to.
Strides broadcast_strides(const Array& a, const Shape& shape);

// The joint iteration space of operands that broadcast to `shape`; missing ones have strides 0.
template <int N>
Space<N> space_of(const Shape& shape, std::span<const Array* const> operands, int order_by) {
  Strides strides[N];
  for (std::size_t k = 0; k < operands.size(); ++k) strides[k] = broadcast_strides(*operands[k], shape);
  Space<N> space;
  for (int i = shape.size() - 1; i >= 0; --i) {
    typename Space<N>::Axis axis{shape[i], {}};
    for (std::size_t k = 0; k < operands.size(); ++k) axis.stride[k] = strides[k][i];
    space.add(axis);
  }
  space.arrange(order_by);
  return space;
}

}  // namespace evolute::cuda
