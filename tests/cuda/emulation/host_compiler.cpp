// Kernels made at run time, in the emulation: compiled by the C++ compiler that built this, if the environment asks for
// it (EVOLUTE_EMULATED_COMPILER=1). That takes about a second for each, so that most tests run the interpreter. NVRTC
// compiles them too, where it is installed, to see that it can.
#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "cuda/compiler.h"

namespace evolute::cuda {

bool has_compiler() {
  const char* wanted = std::getenv("EVOLUTE_EMULATED_COMPILER");
  return wanted && std::string_view(wanted) == "1";
}

RuntimeKernel compile_kernel(const std::string& source) {
  if (!has_compiler()) return {nullptr, "nobody asked for it"};
  if (const Compiled c = compile_cubin(source, 9, 0); c.cubin.empty() && c.failure.starts_with("NVRTC says"))
    throw std::logic_error(cat("a generated kernel does not compile: ", c.failure));
  const std::filesystem::path stem =
      std::filesystem::temp_directory_path() / cat("evolute-", getpid(), "-", std::hash<std::string>{}(source));
  const std::string cpp = stem.string() + ".cpp", library = stem.string() + ".so";
  std::ofstream(cpp) << source;
  const std::string command =
      cat(EVOLUTE_CXX " -std=c++20 -O0 -ffp-contract=off -fPIC -shared -w -DEVOLUTE_CUDA_EMULATION -I" EVOLUTE_SOURCES
                      "/csrc -I" EVOLUTE_SOURCES "/csrc/include -include " EVOLUTE_SOURCES
                      "/tests/cuda/emulation/emulation.h -o ",
          library, " ", cpp);
  if (std::system(command.c_str()) != 0) throw std::logic_error(cat("a generated kernel does not compile: ", cpp));
  // It uses what is in here, which was loaded for nobody else to see.
  Dl_info here;
  if (dladdr(reinterpret_cast<void*>(&compile_kernel), &here))
    dlopen(here.dli_fname, RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD);
  void* loaded = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!loaded) throw std::logic_error(cat("a generated kernel cannot be loaded: ", dlerror()));
  std::filesystem::remove(cpp);
  std::filesystem::remove(library);
  return {dlsym(loaded, "fused"), {}};
}

void start_kernel(void* kernel, unsigned blocks, const FusedArgs& args, cudaStream_t stream) {
  launch(reinterpret_cast<void (*)(FusedArgs)>(kernel), blocks, 256, stream, args);
}

void start_kernel(void* kernel, unsigned blocks, unsigned threads, const ProductArgs& args, cudaStream_t stream) {
  launch(reinterpret_cast<void (*)(ProductArgs)>(kernel), blocks, threads, stream, args);
}

}  // namespace evolute::cuda
