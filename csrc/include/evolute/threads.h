/// \file
/// How many threads kernels use.
#pragma once

#include "evolute/export.h"

namespace evolute {

/// Lets kernels use up to `n` threads, the caller's included; 1 keeps all work on the caller. Results do not depend on
/// it. Throws ValueError unless `n` is positive.
EVOLUTE_API void set_num_threads(int n);

/// The number of threads kernels may use. At first it is the environment variable `EVOLUTE_NUM_THREADS`, or else the
/// number of CPUs the process may run on. Throws ValueError if that variable is not a positive integer.
EVOLUTE_API int num_threads();

}  // namespace evolute
