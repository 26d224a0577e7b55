// The generator of fused kernels. What it writes is straight-line code over the functions of functors.cuh.
#include <iterator>

#include "cuda/compiler.h"
#include "math/elementwise.h"

namespace evolute::cuda {

namespace {

// "Sin", "ScaledD1<fn::Sin, float>": what each kernel is called in the source, and whether its result is a boolean.
struct KernelText {
  const char* functor;
  const char* function;
};
constexpr KernelText kernels[] = {
#define EV_KERNEL(Name, fun, suffix, text, Functor, exists) {#Functor, #Name},
#include "cuda/kernels.def"
};
static_assert(std::size(kernels) == kNumElementwiseKernels);

const char* type_name(DType t) {
  constexpr const char* names[kNumDTypes] = {"bool", "std::int32_t", "std::int64_t", "float", "double"};
  return names[static_cast<int>(t)];
}

class Writer {
 public:
  Writer(const FusedProgram& program, const FusedArgs& args, int group)
      : program_(program), args_(args), group_(group) {}

  std::string kernel() {
    line("#include \"cuda/device.h\"");
    line("#include \"cuda/functors.cuh\"");
    line("#include \"cuda/sums.cuh\"");
    line("using namespace evolute;");
    line("using namespace evolute::cuda;");
    line("extern \"C\" __global__ void __launch_bounds__(kBlock) fused(const __grid_constant__ FusedArgs a) {");
    line("constexpr int W = ", group_, ";");
    args_.sums == 0 ? all_elements() : all_tiles();
    line("}");
    return std::move(text_);
  }

  // The tile of a product goes through the loop on its way to memory: to a functor that gemm.cuh calls.
  std::string product(Tile tile, bool by_rows) {
    constexpr const char* tiles[] = {"Large", "Tall", "Medium", "Narrow", "Column", "TensorLarge", "TensorMedium"};
    const std::string t = type(multiplied()), tiling = cat("Tilings<", t, ">::", tiles[static_cast<int>(tile)]);
    line("#include \"cuda/device.h\"");
    line("#include \"cuda/functors.cuh\"");
    line("#include \"cuda/fused.h\"");
    line("#include \"cuda/gemm.cuh\"");
    line("using namespace evolute;");
    line("using namespace evolute::cuda;");
    line("struct Finish {");
    line("static constexpr int W = ", group_, ";");
    line("static constexpr bool by_rows = ", by_rows ? "true" : "false", ";");
    line("const FusedArgs& a;");
    line("__device__ __forceinline__ void operator()(std::int64_t z, int, std::int64_t at0, std::int64_t at1,");
    line("    std::int64_t left, const ", t, " (&product)[W]) const {");
    line("const int count = left < W ? static_cast<int>(left) : W;");
    positions("z", 2, args_.ndim);
    elements();
    line("}");
    line("};");
    line("using Of = ", tiling, ";");
    line("extern \"C\" __global__ void __launch_bounds__(Of::kThreads, Of::kBlocks)");
    line("    fused(const __grid_constant__ ProductArgs a) {");
    line("gemm<", t, ", Of>(a.product, Finish{a.loop});");
    line("}");
    return std::move(text_);
  }

 private:
  template <class... P>
  void line(const P&... parts) {
    text_ += cat(parts...);
    text_ += '\n';
  }
  const char* type(int k) const { return type_name(static_cast<DType>(args_.dtype[k])); }

  void all_elements() {
    line("const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * kBlock * W;");
    line("for (std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x) * W; i < a.size;");
    line("     i += step) {");
    line("const int count = a.size - i < W ? static_cast<int>(a.size - i) : W;");
    positions("i", 0, args_.ndim);
    elements();
    line("}");
  }
  // Outputs are written as above; what is to be summed goes to the loop in sums.cuh.
  void all_tiles() {
    const char* t = type_name(program_.slot_dtype[args_.sum_slot[0]]);
    line("sum_tiles<", t, ", W, ", args_.sums, ">(a, [&](const SumPlace& at, ", t, " (&term)[", args_.sums, "][W]) {");
    line("const int count = at.count;");
    positions("at.column", 0, 1);
    positions("at.row", 1, 1 + args_.tiles.row_axes);
    positions("at.rest", 1 + args_.tiles.row_axes, args_.ndim);
    elements();
    line("});");
  }

  // Along axes [first, last), which are one when flattened.
  void positions(const std::string& flat, int first, int last) {
    std::string rest = flat;
    for (int d = first; d < last; ++d) {
      if (d == last - 1) return line("const std::int64_t at", d, " = ", rest, ";");
      const std::string length = cat("a.length[", d, "]");
      line("const std::int64_t q", d, " = ",
           args_.tiles.wide ? cat(rest, " / ", length, ".d")
                            : cat(length, ".quotient(static_cast<std::uint32_t>(", rest, "))"),
           ";");
      line("const std::int64_t at", d, " = ", rest, " - q", d, " * ", length, ".d;");
      rest = cat("q", d);
    }
  }

  // W of them, or `count`, from the positions on.
  void elements() {
    const int full = args_.inputs + args_.outputs;
    for (int k = 0; k < args_.inputs; ++k) read(k);
    for (int k = args_.inputs; k < full; ++k) line(type(k), " y", k, "[W];");
    line("#pragma unroll");
    line("for (int l = 0; l < W; ++l) {");
    for (std::size_t s = 0; s < program_.slot_dtype.size(); ++s)
      line(type_name(program_.slot_dtype[s]), " s", s,
           s < static_cast<std::size_t>(args_.inputs) ? cat(" = x", s, "[l];") : std::string("{};"));
    for (const auto& op : program_.ops) micro_op(op);
    for (int k = args_.inputs; k < full; ++k) line("y", k, "[l] = s", k, ";");
    for (int k = 0; k < args_.sums; ++k) line("if (l < count) term[", k, "][l] = s", int{args_.sum_slot[k]}, ";");
    line("}");
    for (int k = args_.inputs; k < full; ++k) write(k);
  }

  // Of operand k at element i.
  std::string offset(int k) const {
    std::string sum;
    for (int d = 0; d < args_.ndim; ++d) {
      if (args_.stride[k][d] == 0) continue;
      const bool one = d == 0 && args_.stride[k][0] == 1;
      sum += cat(sum.empty() ? "at" : " + at", d, one ? "" : cat(" * a.stride[", k, "][", d, "]"));
    }
    return sum.empty() ? "0" : sum;
  }
  bool varies_within_group(int k) const { return group_ > 1 && args_.stride[k][0] != 0; }

  int multiplied() const { return program_.product ? args_.inputs - 1 : -1; }

  void read(int k) {
    line(type(k), " x", k, "[W];");
    if (k == multiplied()) return line("for (int l = 0; l < W; ++l) x", k, "[l] = product[l];");
    if (!args_.data[k]) {
      line("{", type(k), " v; memcpy(&v, &a.immediate[", k, "], sizeof v); for (int l = 0; l < W; ++l) x", k,
           "[l] = v;}");
      return;
    }
    line("{const Global<const ", type(k), "> p = Global<const ", type(k), ">(static_cast<const ", type(k), "*>(a.data[",
         k, "])) + (", offset(k), ");");
    if (varies_within_group(k)) {
      line("if (count == W) {const auto g = load_pack<", type(k), ", W>(p); for (int l = 0; l < W; ++l) x", k,
           "[l] = g.v[l];}");
      line("else for (int l = 0; l < W; ++l) x", k, "[l] = p[l < count ? l : 0];}");
    } else {
      line("const ", type(k), " v = p[0]; for (int l = 0; l < W; ++l) x", k, "[l] = v;}");
    }
  }

  void write(int k) {
    line("{const Global<", type(k), "> p = Global<", type(k), ">(static_cast<", type(k), "*>(a.data[", k, "])) + (",
         offset(k), ");");
    if (group_ > 1) {
      line("if (count == W) {Pack<", type(k), ", W> g; for (int l = 0; l < W; ++l) g.v[l] = y", k, "[l]; store_pack<",
           type(k), ", W>(p, g);}");
      line("else {");
      line("#pragma unroll");  // or results have addresses, in memory
      line("for (int l = 0; l < W; ++l) if (l < count) p[l] = y", k, "[l];}}");
    } else {
      line("p[0] = y", k, "[0];}");
    }
  }

  void micro_op(const FusedProgram::MicroOp& op) {
    const auto slot = [&](int k) { return op.slots[static_cast<std::size_t>(k)]; };
    if (op.kernel == FusedProgram::kSelect)
      return line("s", slot(3), " = s", slot(0), " ? s", slot(1), " : s", slot(2), ";");
    const KernelText& kernel = kernels[op.kernel];
    const std::string functor = cat(kernel.functor, "<fn::", kernel.function, ", ", type_name(op.dtype), ">");
    std::string in;
    for (int k = 0; k < op.n_in; ++k) in += cat(k ? ", " : "", "s", slot(k));
    line("{using F = ", functor, "; const ", type_name(op.dtype), " in[] = {", in, "}; F::Out out[", int{op.n_out},
         "]; F::apply(in, out);");
    for (int k = 0; k < op.n_out; ++k) line("s", slot(op.n_in + k), " = out[", k, "];");
    line("}");
  }

  const FusedProgram& program_;
  const FusedArgs& args_;
  const int group_;
  std::string text_;
};

}  // namespace

std::string fused_source(const FusedProgram& program, const FusedArgs& args, int group) {
  return Writer(program, args, group).kernel();
}

std::string product_source(const FusedProgram& program, const ProductArgs& args, Tile tile, int group) {
  return Writer(program, args.loop, group).product(tile, args.product.by_rows);
}

}  // namespace evolute::cuda
