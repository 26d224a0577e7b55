// A fused loop: several elementwise operations run over one iteration space, block by block, so that what passes
// between them stays in the first-level cache.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/array.h"
#include "evolute/dtype.h"
#include "evolute/shape.h"

namespace evolute {

// Values are slots: first the inputs, then the outputs, then temporaries. Every slot but the inputs is written once,
// before it is read.
struct FusedProgram {
  static constexpr int kSelect = -1;  // in place of a kernel: cond ? x : y
  static constexpr int kMaxExternal = 24;

  struct MicroOp {
    int kernel;   // an ElementwiseKernel (math/elementwise.h), or kSelect
    DType dtype;  // of its operands; of x and y for a selection
    std::uint8_t n_in, n_out;
    std::array<std::int16_t, 8> slots;  // inputs, then outputs
  };

  Shape shape;  // of every output; inputs broadcast to it
  int n_inputs = 0, n_outputs = 0;
  // Further results, all of one floating dtype, for devices whose loops sum (Backend::sums_in_loops).
  struct Sum {
    std::int16_t slot;  // what is summed: its value at the end
    Axes axes;          // over which; they are removed
  };
  static constexpr int kMaxSums = 8;
  std::vector<Sum> sums;
  // The last input may be a matrix product, of the program's shape, on devices whose loops multiply
  // (Backend::products_in_loops): in its place the operands have its factors. Then there are no sums.
  struct Product {
    bool transpose_a, transpose_b;
  };
  std::optional<Product> product;
  std::vector<DType> slot_dtype;
  std::vector<MicroOp> ops;
};

// A fused loop bound to its operands, which may move from run to run (Array::move_to).
class BoundLoop {
 public:
  virtual ~BoundLoop() = default;
  virtual void run() = 0;
};

// A program made ready for a device (`Backend::prepare`), to be run any number of times, by several threads at a time.
class FusedKernel {
 public:
  virtual ~FusedKernel() = default;

  // All operands on the device, of the program's dtypes; outputs row-major, then the sums.
  virtual void run(std::span<const Array* const> in, std::span<Array* const> out) const = 0;
  // The same for one thread that runs it again and again. Null where that would gain nothing. May outlive the kernel.
  virtual std::unique_ptr<BoundLoop> bind(std::span<const Array* const>, std::span<Array* const>) const {
    return nullptr;
  }
};

}  // namespace evolute
