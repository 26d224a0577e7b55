// Kernels made at run time, by the driver's own interface: the runtime's has none for them. It is declared here as far
// as it is used.
#include <dlfcn.h>

#include "cuda/compiler.h"

namespace evolute::cuda {

namespace {

struct Driver {
  int (*load)(void** module, const void* image);
  int (*function)(void** kernel, void* module, const char* name);
  int (*launch)(void* kernel, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned shared, cudaStream_t,
                void** parameters, void** extra);
  bool ready = false;

  Driver() {
    void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) return;
    const auto find = [&](const char* name, auto& f) {
      f = reinterpret_cast<std::remove_reference_t<decltype(f)>>(dlsym(library, name));
      return f != nullptr;
    };
    ready = find("cuModuleLoadData", load) && find("cuModuleGetFunction", function) && find("cuLaunchKernel", launch);
  }
  static const Driver& get() {
    static const Driver& instance = *new Driver;
    return instance;
  }
};

}  // namespace

RuntimeKernel compile_kernel(const std::string& source) {
  const DeviceInfo& device = device_info();
  const Compiled compiled = compile_cubin(source, device.major, device.minor);
  if (compiled.cubin.empty()) return {nullptr, compiled.failure};
  const Driver& driver = Driver::get();
  void *module = nullptr, *kernel = nullptr;
  if (!driver.ready || driver.load(&module, compiled.cubin.data()) != 0 ||
      driver.function(&kernel, module, "fused") != 0)
    return {nullptr, "the driver does not load it"};
  return {kernel, {}};
}

namespace {
void launch(void* kernel, unsigned blocks, unsigned threads, const void* args, cudaStream_t stream) {
  void* parameters[] = {const_cast<void*>(args)};
  const int e = Driver::get().launch(kernel, blocks, 1, 1, threads, 1, 1, 0, stream, parameters, nullptr);
  this_stream().check(static_cast<cudaError_t>(e), "fused loop");
}
}  // namespace

void start_kernel(void* kernel, unsigned blocks, const FusedArgs& args, cudaStream_t stream) {
  launch(kernel, blocks, kBlock, &args, stream);
}
void start_kernel(void* kernel, unsigned blocks, unsigned threads, const ProductArgs& args, cudaStream_t stream) {
  launch(kernel, blocks, threads, &args, stream);
}
bool has_compiler() { return has_nvrtc(); }

}  // namespace evolute::cuda
