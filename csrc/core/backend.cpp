#include "core/backend.h"

#include <dlfcn.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <mutex>

#include "core/plugin.h"
#include "evolute/precision.h"

namespace evolute {

// Defined by the CPU backend. A direct call rather than registration by a static object: a linker drops such an object
// from a static library.
Backend& cpu_backend();

namespace {

constinit std::atomic<Backend*> cuda_backend{nullptr};

// The plug-in lies beside whatever contains this code: the Python extension, or the shared library. An embedding
// program with the static library has it beside the executable, or says where it is.
std::filesystem::path plugin_path() {
  if (const char* path = std::getenv("EVOLUTE_CUDA_PLUGIN"); path && *path) return path;
  Dl_info here;
  if (!dladdr(reinterpret_cast<void*>(&backend), &here)) return "libevolute_cuda.so";
  return std::filesystem::path(here.dli_fname).parent_path() / "libevolute_cuda.so";
}

Backend* load_cuda() {
  const std::filesystem::path path = plugin_path();
  std::error_code ignored;
  if (path.has_parent_path() && !std::filesystem::exists(path, ignored))
    throw DeviceError(cat("this build of evolute has no CUDA backend (there is no ", path.string(),
                          "); build it where nvcc is, with EVOLUTE_CUDA=ON"));
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) throw DeviceError(cat("the CUDA backend cannot be loaded: ", dlerror()));
  const auto entry = reinterpret_cast<PluginEntry>(dlsym(library, kPluginEntry));
  if (!entry) throw DeviceError(cat("the CUDA backend cannot be loaded: ", path.string(), " is no plug-in of evolute"));
  static const PluginHost host{EVOLUTE_VERSION, pool_allocate, pool_free, allocate_host, backend, matmul_allow_tf32};
  return entry(host);
}

}  // namespace

Backend& backend(DeviceType type) {
  if (type == DeviceType::CPU) {
    static Backend& cpu = cpu_backend();
    return cpu;
  }
  if (Backend* b = cuda_backend.load(std::memory_order_acquire)) return *b;
  static std::mutex mutex;
  std::lock_guard lock(mutex);
  if (Backend* b = cuda_backend.load(std::memory_order_acquire)) return *b;
  Backend* b = load_cuda();  // tried anew by each call until it succeeds: what was missing may have come
  cuda_backend.store(b, std::memory_order_release);
  return *b;
}

void register_backend(DeviceType type, Backend* b) {
  if (type == DeviceType::CPU) throw DeviceError("the CPU backend is built in and cannot be replaced");
  cuda_backend.store(b, std::memory_order_release);
}

}  // namespace evolute
