#include "cpu/simd.h"

#include <cstdlib>
#include <string_view>
#include <vector>

#include "evolute/error.h"

namespace evolute::cpu {

// Defined by cpu/simd/elementwise.cpp, once per level.
#if defined(__x86_64__)
extern const SimdKernels simd_kernels_v2, simd_kernels_v3, simd_kernels_v4;
#else
extern const SimdKernels simd_kernels_native;
#endif

std::span<const SimdKernels* const> simd_levels() {
  static const std::vector<const SimdKernels*> levels = [] {
    std::vector<const SimdKernels*> v;
#if defined(__x86_64__)
    __builtin_cpu_init();
    v.push_back(&simd_kernels_v2);
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
      v.push_back(&simd_kernels_v3);
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd"))
      v.push_back(&simd_kernels_v4);
#else
    v.push_back(&simd_kernels_native);
#endif
    return v;
  }();
  return levels;
}

namespace {

const SimdKernels& choose() {
  const char* wanted = std::getenv("EVOLUTE_SIMD");
  if (!wanted || !*wanted) return *simd_levels().back();
  std::string known;
  for (const SimdKernels* k : simd_levels()) {
    if (std::string_view(k->name) == wanted) return *k;
    known += cat(known.empty() ? "" : ", ", k->name);
  }
  throw DeviceError(cat("EVOLUTE_SIMD=", wanted, ": this CPU can run ", known));
}

}  // namespace

const SimdKernels& simd() {
  static const SimdKernels& chosen = choose();
  return chosen;
}

}  // namespace evolute::cpu
