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
// is first needed.
bool start_compiled(const FusedProgram& program, const FusedArgs& args, int group, Stream& stream);

// By NVRTC (nvrtc.cpp); null where that is missing or refuses. Starts what it gave.
void* compile_kernel(const std::string& source);
void start_kernel(void* kernel, unsigned blocks, const FusedArgs& args, cudaStream_t stream);

// Sources of the headers that it includes, by name.
struct EmbeddedFile {
  const char* name;
  const char* text;
};
extern const EmbeddedFile embedded_files[];
extern const int embedded_count;

}  // namespace evolute::cuda
