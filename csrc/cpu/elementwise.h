// Inner loops of the elementwise kernels: one function per kernel and dtype.
#pragma once

#include <cstdint>

#include "evolute/dtype.h"

namespace evolute::cpu {

// Runs over n elements; `data` holds the inputs, then the outputs; `step` are their strides in bytes.
using ElementwiseLoop = void (*)(char* const* data, const std::int64_t* step, std::int64_t n);

// The loop of a selection, cond ? x : y, for x and y of type `t`.
ElementwiseLoop select_loop(DType t);

}  // namespace evolute::cpu
