#include "cpu/cpu_backend.h"

namespace evolute {

// Declared and called by core/backend.cpp.
Backend& cpu_backend();
Backend& cpu_backend() {
  static Backend& instance = *new cpu::CpuBackend;  // outlives every static object that holds a tensor
  return instance;
}

namespace cpu {

Ref<Buffer> CpuBackend::allocate(std::size_t bytes) { return allocate_host(bytes); }

}  // namespace cpu
}  // namespace evolute
