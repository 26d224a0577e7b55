// A fused loop as kernels get it: interpreted (fused.cu), or compiled at run time (compiler.cpp).
#pragma once

#include "cuda/loop.h"

namespace evolute::cuda {

inline constexpr int kFusedOperands = 24, kFusedSlots = 96, kFusedOps = 64;
struct FusedOp {
  std::int16_t kernel;
  std::uint8_t dtype, inputs, outputs;
  std::uint8_t slot[8];
};
struct FusedArgs {
  std::int64_t size;
  int ndim;
  Divisor length[kMaxAxes];
  std::int64_t stride[kFusedOperands][kMaxAxes];
  void* data[kFusedOperands];  // inputs, then outputs
  std::uint64_t immediate[kFusedOperands];
  std::uint8_t dtype[kFusedOperands];
  int inputs, outputs, ops;
  FusedOp op[kFusedOps];
};
static_assert(sizeof(FusedArgs) <= 4096, "what a kernel's parameters may take");
}  // namespace evolute::cuda
