// Kernels of fused programs, compiled once each.
#include "cuda/compiler.h"

#include <cstdlib>
#include <fstream>
#include <unordered_map>

#include "cuda/kernels.h"

namespace evolute::cuda {

namespace {

// All that the source depends on.
std::string key_of(const FusedProgram& program, const FusedArgs& args, int group) {
  std::string key;
  const auto add = [&](std::int64_t x) { key.push_back(static_cast<char>(x)); };
  for (std::int64_t x : {group, args.ndim, args.inputs, args.outputs, args.sums, args.tiles.row_axes,
                         static_cast<int>(args.tiles.wide), static_cast<int>(program.slot_dtype.size())})
    add(x);
  for (int k = 0; k < args.sums; ++k) add(args.sum_slot[k]);
  for (DType t : program.slot_dtype) add(static_cast<int>(t));
  for (int k = 0; k < args.inputs + args.outputs; ++k) {
    add(args.data[k] != nullptr);
    add(args.stride[k][0] == 1);
    int varies = 0;
    for (int d = 0; d < args.ndim; ++d) varies |= (args.stride[k][d] != 0) << d;
    add(varies);
  }
  for (const auto& op : program.ops) {
    add(op.kernel & 0xff), add(op.kernel >> 8), add(static_cast<int>(op.dtype));
    for (int k = 0; k < op.n_in + op.n_out; ++k) add(op.slots[static_cast<std::size_t>(k)]);
  }
  return key;
}

struct Kernels {
  std::mutex mutex;
  std::unordered_map<std::string, void*> known;
  const std::string_view wish = [] {
    const char* text = std::getenv("EVOLUTE_CUDA_COMPILER");
    return text ? text : "";
  }();
  static Kernels& get() {
    static Kernels& kernels = *new Kernels;
    return kernels;
  }
};

}  // namespace

bool start_compiled(const FusedProgram& program, const FusedArgs& args, int group, Stream& stream) {
  Kernels& kernels = Kernels::get();
  if (kernels.wish == "0") return false;
  void* kernel;
  {
    std::lock_guard lock(kernels.mutex);
    auto [at, fresh] = kernels.known.try_emplace(key_of(program, args, group), nullptr);
    if (fresh) {
      const std::string source = fused_source(program, args, group);
      // With EVOLUTE_CUDA_SOURCES=folder, sources are kept there.
      static const char* folder = std::getenv("EVOLUTE_CUDA_SOURCES");
      if (folder) std::ofstream(cat(folder, "/fused-", std::hash<std::string>{}(source), ".cu")) << source;
      const RuntimeKernel made = compile_kernel(source);
      if (!made.kernel && kernels.wish == "1") {
        kernels.known.erase(at);
        throw DeviceError(cat("fused loop: its kernel could not be made: ", made.failure));
      }
      at->second = made.kernel;
    }
    kernel = at->second;
  }
  if (!kernel) return false;
  start_kernel(kernel, fused_blocks(args, group), args, stream.handle());
  return true;
}

}  // namespace evolute::cuda
