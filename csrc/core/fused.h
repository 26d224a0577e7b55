// A fused loop: several elementwise operations run over one iteration space, block by block, so that what passes
// between them stays in the first-level cache.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

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
  std::vector<DType> slot_dtype;
  std::vector<MicroOp> ops;
};

}  // namespace evolute
