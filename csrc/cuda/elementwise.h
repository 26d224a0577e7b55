// What the elementwise kernels of all files share: their arguments, and the tables of those that start them.
#pragma once

#include "cuda/device.h"
#include "cuda/space.h"
#include "evolute/dtype.h"

namespace evolute::cuda {

inline constexpr int kMaxOperands = 8;

// Inputs, then outputs.
struct ElementwiseArgs {
  Loop<kMaxOperands> loop;
  void* data[kMaxOperands];
  std::uint64_t immediate[kMaxOperands];  // bits of the value where the pointer is null
  bool packed;                            // groups of 16 bytes lie side by side, or are one element, in every operand
};

// Starts a kernel; null for dtypes that it does not take.
using ElementwiseLaunch = void (*)(const ElementwiseArgs& args, cudaStream_t stream);
ElementwiseLaunch elementwise_float32(int kernel);
ElementwiseLaunch elementwise_float64(int kernel);
ElementwiseLaunch elementwise_integer(int kernel, DType t);  // Bool, Int32, Int64
inline ElementwiseLaunch elementwise_launch(int kernel, DType t) {
  return t == DType::Float32   ? elementwise_float32(kernel)
         : t == DType::Float64 ? elementwise_float64(kernel)
                               : elementwise_integer(kernel, t);
}
ElementwiseLaunch select_launch(std::size_t item);

}  // namespace evolute::cuda
