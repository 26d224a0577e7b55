// What the plug-in exports, and the functions of the core that it gets from the program that has loaded it.
#include "core/plugin.h"

#include <cstring>

#include "cuda/cuda_backend.h"
#include "evolute/precision.h"

namespace evolute {

namespace {
const PluginHost* program = nullptr;
}

void* pool_allocate(std::size_t bytes) { return program->pool_allocate(bytes); }
void pool_free(void* p, std::size_t bytes) noexcept { program->pool_free(p, bytes); }
Ref<Buffer> allocate_host(std::size_t bytes) { return program->allocate_host(bytes); }
bool matmul_allow_tf32() { return program->matmul_allow_tf32(); }
Backend& backend(DeviceType type) { return type == DeviceType::CPU ? program->backend(type) : cuda::cuda_backend(); }

}  // namespace evolute

extern "C" EVOLUTE_API evolute::Backend* evolute_plugin(const evolute::PluginHost& host);
extern "C" evolute::Backend* evolute_plugin(const evolute::PluginHost& host) {
  if (std::strcmp(host.version, EVOLUTE_VERSION) != 0)
    throw evolute::DeviceError(evolute::cat("the CUDA backend is of version ", EVOLUTE_VERSION, ", evolute of ",
                                            host.version, "; build them together"));
  evolute::program = &host;
  evolute::cuda::device_info();  // throws if something is missing
  return &evolute::cuda::cuda_backend();
}
