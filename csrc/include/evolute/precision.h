/// \file
/// How exactly to compute where less would be faster.
#pragma once

#include "evolute/export.h"

namespace evolute {

/// Lets products of float32 matrices on a GPU use tensor cores, which round operands to 10 bits of mantissa (TF32) and
/// add up in float32. Off at first. Functions that have been compiled follow it from their next call on.
EVOLUTE_API void set_matmul_allow_tf32(bool allow);
EVOLUTE_API bool matmul_allow_tf32();

}  // namespace evolute
