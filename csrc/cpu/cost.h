// What the elementwise kernels cost, roughly: enough to tell which work is worth several threads.
#pragma once

#include "evolute/dtype.h"

namespace evolute::cpu {

// Nanoseconds per element of a kernel (math/elementwise.h) on operands of dtype `t`, on vectors of 256 bits.
double elementwise_ns(int kernel, DType t);

// The same for computing alone, without what it takes to read the operands and to write the result.
double arithmetic_ns(int kernel, DType t);

// Nanoseconds per byte that is read or written once, from a cache shared by the cores or from memory.
inline constexpr double kNsPerByte = 0.04;

}  // namespace evolute::cpu
