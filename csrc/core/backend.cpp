#include "core/backend.h"

#include <atomic>

namespace evolute {

// Defined by the CPU backend. A direct call rather than registration by a static object: a linker drops such an object
// from a static library.
Backend& cpu_backend();

namespace {
constinit std::atomic<Backend*> cuda_backend{nullptr};
}

Backend& backend(DeviceType type) {
  if (type == DeviceType::CPU) {
    static Backend& cpu = cpu_backend();
    return cpu;
  }
  if (Backend* b = cuda_backend.load(std::memory_order_acquire)) return *b;
  throw DeviceError("this build of evolute has no CUDA backend");
}

void register_backend(DeviceType type, Backend* b) {
  if (type == DeviceType::CPU) throw DeviceError("the CPU backend is built in and cannot be replaced");
  cuda_backend.store(b, std::memory_order_release);
}

}  // namespace evolute
