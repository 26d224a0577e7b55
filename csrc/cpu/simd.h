// Kernels compiled once per instruction set, and the choice among them at run time.
//
// The files in cpu/simd/ are compiled several times, each time with other compiler flags and with EV_SIMD_LEVEL naming
// the set: v2, v3 (AVX2, FMA), v4 (AVX-512) on x86-64; native elsewhere. Everything they define must have internal
// linkage but for the one table they export: a linker keeps one copy of an inline function, and it might keep the
// AVX-512 one.
#pragma once

#include <span>

#include "core/backend.h"
#include "cpu/elementwise.h"
#include "cpu/gemm.h"

namespace evolute::cpu {

// The inner loops of a reduction.
struct ReduceLoops {
  // *out = reduction of n neighbours.
  void (*row)(const char* p, std::int64_t n, char* out);
  // out[i] = reduction over n rows, which lie `pitch` bytes apart, of element i < width; n ≥ 1.
  void (*rows)(const char* p, std::int64_t pitch, std::int64_t n, std::int64_t width, char* out);
};

struct SimdKernels {
  const char* name;
  ElementwiseLoop (*elementwise)(int kernel, DType t);  // null where the kernel does not take t
  ReduceLoops (*reduce)(Reduction r, DType t);
  const GemmKernels<float>* gemm_float;
  const GemmKernels<double>* gemm_double;
};

// The kernels in use: the best set this CPU has, or the one named by the environment variable EVOLUTE_SIMD.
// Throws DeviceError if that names one which is unknown or which this CPU lacks.
const SimdKernels& simd();

// All sets this CPU can run, best last; for tests.
std::span<const SimdKernels* const> simd_levels();

}  // namespace evolute::cpu
