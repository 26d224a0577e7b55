// What a device must be able to do. A new device is one folder that implements this class.
#pragma once

#include <memory>
#include <span>

#include "core/array.h"
#include "core/fused.h"

namespace evolute {

// Work of a device that was recorded while it ran, to be run again on the same memory. `operands` are the arrays from
// outside that it reads and writes.
class Replay : public RefCounted {
 public:
  virtual void run(std::span<const Array* const> operands) = 0;
};

enum class Reduction : std::uint8_t { Sum, Prod, Max, Min, Any, All };
// The type to reduce in: what differs from it is converted before (operands) or after (the result).
inline DType working_dtype(Reduction r, DType in, DType out) {
  switch (r) {
    case Reduction::Any:
    case Reduction::All: return DType::Bool;
    case Reduction::Max:
    case Reduction::Min: return in;
    default: return is_floating(in) ? promote(in, out) : DType::Int64;
  }
}

enum class ScatterMode : std::uint8_t { Set, Add };
enum class Distribution : std::uint8_t { Uniform, Normal };

// Arrays may be strided views on both sides unless said otherwise; shapes and dtypes have been checked by the op.
// Kernels write all of `out` and never read it. `out` shares no memory with `in`, except in `elementwise` and fused
// loops: there a result may lie exactly where an operand does, in a fused loop one that no micro-op reads after the
// result is written.
class Backend {
 public:
  virtual ~Backend() = default;

  // Throws std::bad_alloc, or DeviceError where the memory is a device's own.
  virtual Ref<Buffer> allocate(std::size_t bytes) = 0;

  // The rest is for devices whose work runs behind the host's back, in the order in which each thread asked for it.
  // What goes wrong there is thrown by the next call that waits: `synchronize`, or a copy to the host.
  virtual void synchronize() {}
  // The stream of this thread as DLPack has it, and orders between it and others: what runs on `stream` from now on
  // waits for what this thread has asked for, or whoever uses `a` next waits for what `stream` has been asked for.
  virtual std::intptr_t stream() { return 0; }
  virtual void hand_over(const Array&, std::intptr_t) {}
  virtual void take_back(const Array&, std::intptr_t) {}
  // Memory of somebody else's; `release` is called once the device no longer works on it.
  virtual Ref<Buffer> adopt(void* data, std::size_t bytes, std::function<void()> release) {
    return make_ref<Buffer>(data, bytes, std::move(release));
  }
  // Runs `work`, which waits for nothing, and gives a recording of it; null where there is nothing to gain.
  virtual Ref<Replay> record(const std::function<void()>& work, std::span<const Array* const> /*operands*/) {
    work();
    return {};
  }

  // `kernel` is an ElementwiseKernel (math/elementwise.h); inputs broadcast to out's shape; all inputs of `kernel`'s
  // operand dtype. The output dtype is the kernel's; all outputs have one shape.
  virtual void elementwise(int kernel, std::span<const Array* const> in, std::span<Array* const> out) = 0;
  // The same, with results summed: those whose shape is not `shape`, to which inputs and results broadcast, are summed
  // over the axes that they lack or that have length 1. Not empty; floating-point results, all of one dtype.
  virtual void elementwise_sum(int kernel, const Shape& shape, std::span<const Array* const> in,
                               std::span<Array* const> out) = 0;
  // out = cond ? a : b, elementwise with broadcasting.
  virtual void select(const Array& cond, const Array& a, const Array& b, Array& out) = 0;
  // Several of these operations in one pass.
  virtual std::unique_ptr<FusedKernel> prepare(const FusedProgram& program) = 0;
  // Whether such programs may have results that are summed.
  virtual bool sums_in_loops() const { return false; }
  // Whether an input of such programs may be a product, of floats.
  virtual bool products_in_loops() const { return false; }
  // Copies with conversion of dtype; `in` broadcasts to out's shape. That of a device takes arrays of the host on
  // either side; a copy to the host has arrived when it returns.
  virtual void copy(const Array& in, Array& out) = 0;

  // Reduces `axes` (sorted); out has them removed. Max and Min give NaN when a NaN is present.
  virtual void reduce(Reduction r, const Array& in, const Axes& axes, Array& out) = 0;
  // Index (int64) of the first extremum along `axis`; the first NaN counts as one.
  virtual void arg_reduce(bool max, const Array& in, int axis, Array& out) = 0;
  virtual void cumsum(const Array& in, int axis, bool reverse, Array& out) = 0;

  // out[..., m, n] = a[..., m, k] b[..., k, n]; all batch axes equal (broadcast axes have stride 0). With `add`, for
  // floats: added to what is in `out`.
  virtual void matmul(const Array& a, const Array& b, Array& out, bool add = false) = 0;

  // Integer-array indexing. `index[j]` (int64, any strides, already broadcast to one shape B) picks along axis
  // `axes[j]` (sorted). out = in with those axes removed and B put in front. Negative indices count from the end.
  // Throws IndexError when an index is out of range.
  virtual void gather(const Array& in, std::span<const Array* const> index, const Axes& axes, Array& out) = 0;
  // The reverse: out starts as a copy of `base`; the elements gather would read are set to, or increased by, `updates`.
  virtual void scatter(ScatterMode mode, const Array& base, std::span<const Array* const> index, const Axes& axes,
                       const Array& updates, Array& out) = 0;
  // Row-major flat positions of the true elements of `mask`, int64, 1-d.
  virtual Ref<Array> nonzero(const Array& mask) = 0;

  // out[i] = start + i * step, 1-d.
  virtual void iota(double start, double step, Array& out) = 0;
  // Counter-based Philox4x32-10 keyed by `seed`; the same seed and shape give the same values on every device.
  virtual void random(Distribution d, std::uint64_t seed, Array& out) = 0;

  // Dense factorisations over the last two axes, batched; `out` row-major.
  // Lower Cholesky factor (upper triangle zeroed); NaN-filled where `in` is not positive definite.
  virtual void cholesky(const Array& in, Array& out) = 0;
  // Solves op(a) x = b with a lower or upper triangular, op the identity or the transpose.
  virtual void solve_triangular(const Array& a, const Array& b, bool lower, bool transpose, bool unit_diagonal,
                                Array& out) = 0;
  // Solves op(a) x = b by LU with partial pivoting; inf or NaN where `a` is singular.
  virtual void solve(const Array& a, const Array& b, bool transpose, Array& out) = 0;
  // det(a) when `log` is false, else log|det(a)|; `out` has the last two axes removed.
  virtual void determinant(const Array& a, bool log, Array& out) = 0;
  // Cofactor matrix, d det(a) / d a; exact also where `a` is singular.
  virtual void cofactor(const Array& a, Array& out) = 0;
};

// The backend of a device. That of CUDA is a plug-in (core/plugin.h), loaded by the first call that asks for it. Throws
// DeviceError saying what is missing.
Backend& backend(DeviceType type);
void register_backend(DeviceType type, Backend* b);

}  // namespace evolute
