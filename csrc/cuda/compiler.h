// Fused loops compiled at run time.
#pragma once

#include <string>

#include "core/fused.h"
#include "cuda/fused.h"
#include "cuda/runtime.h"
#include "cuda/space.h"

namespace evolute::cuda {

// CUDA source of a kernel `fused` that runs the program on operands that lie as in `args`, `group` neighbours at a
// time. It does not depend on lengths and addresses.
std::string fused_source(const FusedProgram& program, const FusedArgs& args, int group);

// Compiles it, unless that has been done, and starts it. False where there is no compiler: NVRTC is looked for when it
// is first needed. EVOLUTE_CUDA_COMPILER=0 does without one, 1 makes a missing or failing one a DeviceError.
bool start_compiled(const FusedProgram& program, const FusedArgs& args, int group, Stream& stream);

// The same of a program with a product, computed in such tiles.
std::string product_source(const FusedProgram& program, const ProductArgs& args, Tile tile, int group);
bool start_compiled(const FusedProgram& program, const ProductArgs& args, Tile tile, int group, Stream& stream);

// Whether there is a compiler, and it is wanted.
bool can_compile();

// Code for a device of this compute capability, by NVRTC; or nothing, and why.
struct Compiled {
  std::string cubin, failure;
};
bool has_nvrtc();
Compiled compile_cubin(const std::string& source, int major, int minor);

// The kernel of a source, ready to be started; or null, and why.
struct RuntimeKernel {
  void* kernel;
  std::string failure;
};
RuntimeKernel compile_kernel(const std::string& source);
void start_kernel(void* kernel, unsigned blocks, const FusedArgs& args, cudaStream_t stream);  // of kBlock threads
void start_kernel(void* kernel, unsigned blocks, unsigned threads, const ProductArgs& args, cudaStream_t stream);
bool has_compiler();

// Sources of the headers that it includes, by name.
struct EmbeddedFile {
  const char* name;
  const char* text;
};
extern const EmbeddedFile embedded_files[];
extern const int embedded_count;

}  // namespace evolute::cuda
