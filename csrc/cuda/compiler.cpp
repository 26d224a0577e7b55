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

// The kernel of a source, made when it is first asked for; null where it cannot be.
template <class Source>
void* kernel_of(const std::string& key, Source&& source_of) {
  Kernels& kernels = Kernels::get();
  if (kernels.wish == "0") return nullptr;
  std::lock_guard lock(kernels.mutex);
  auto [at, fresh] = kernels.known.try_emplace(key, nullptr);
  if (!fresh) return at->second;
  const std::string source = source_of();
  // With EVOLUTE_CUDA_SOURCES=folder, sources are kept there.
  static const char* folder = std::getenv("EVOLUTE_CUDA_SOURCES");
  if (folder) std::ofstream(cat(folder, "/fused-", std::hash<std::string>{}(source), ".cu")) << source;
  const RuntimeKernel made = compile_kernel(source);
  if (!made.kernel && kernels.wish == "1") {
    kernels.known.erase(at);
    throw DeviceError(cat("fused loop: its kernel could not be made: ", made.failure));
  }
  return at->second = made.kernel;
}

}  // namespace

bool can_compile() { return Kernels::get().wish == "1" || (Kernels::get().wish != "0" && has_compiler()); }

bool start_compiled(const FusedProgram& program, const FusedArgs& args, int group, Stream& stream) {
  void* kernel = kernel_of(key_of(program, args, group), [&] { return fused_source(program, args, group); });
  if (!kernel) return false;
  start_kernel(kernel, fused_blocks(args, group), args, stream.handle());
  return true;
}

bool start_compiled(const FusedProgram& program, const ProductArgs& args, Tile tile, int group, Stream& stream) {
  const GemmArgs& g = args.product;
  const bool single = program.slot_dtype[static_cast<std::size_t>(program.n_inputs) - 1] == DType::Float32;
  const std::string key = cat(key_of(program, args.loop, group), "product", static_cast<int>(tile), g.by_rows, single);
  void* kernel = kernel_of(key, [&] { return product_source(program, args, tile, group); });
  if (!kernel) return false;
  const auto start = [&]<class Of>() {
    start_kernel(kernel, blocks_for(Units(g, Of::kM, Of::kN).count, 1), Of::kThreads, args, stream.handle());
  };
  single ? with_tiling<float>(tile, start) : with_tiling<double>(tile, start);
  return true;
}

}  // namespace evolute::cuda
