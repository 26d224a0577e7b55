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
    line("#include \"cuda/fused.h\"");
    line("using namespace evolute;");
    line("using namespace evolute::cuda;");
    line("extern \"C\" __global__ void __launch_bounds__(256) fused(const __grid_constant__ FusedArgs a) {");
    line("constexpr int W = ", group_, ";");
    line("const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * 256 * W;");
    line(
        "for (std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * 256 + threadIdx.x) * W; i < a.size; i += step) "
        "{");
    positions();
    if (group_ > 1) line("const bool whole = i + W <= a.size;");
    for (int k = 0; k < args_.inputs; ++k) read(k);
    for (int k = args_.inputs; k < args_.inputs + args_.outputs; ++k) line(type(k), " y", k, "[W];");
    line("#pragma unroll");
    line("for (int l = 0; l < W; ++l) {");
    for (std::size_t s = 0; s < program_.slot_dtype.size(); ++s)
      line(type_name(program_.slot_dtype[s]), " s", s,
           s < static_cast<std::size_t>(args_.inputs) ? cat(" = x", s, "[l];") : std::string("{};"));
    for (const auto& op : program_.ops) micro_op(op);
    for (int k = args_.inputs; k < args_.inputs + args_.outputs; ++k) line("y", k, "[l] = s", k, ";");
    line("}");
    for (int k = args_.inputs; k < args_.inputs + args_.outputs; ++k) write(k);
    line("}");
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

  void positions() {
    if (args_.ndim == 1) return;
    line("std::uint32_t rest = static_cast<std::uint32_t>(i);");
    for (int d = 0; d < args_.ndim; ++d) {
      line("const std::uint32_t q", d, " = a.length[", d, "].quotient(rest);");
      line("const std::int64_t at", d, " = rest - q", d, " * a.length[", d, "].d;");
      line("rest = q", d, ";");
    }
  }
  // Of operand k at element i.
  std::string offset(int k) const {
    std::string sum;
    for (int d = 0; d < args_.ndim; ++d) {
      if (args_.stride[k][d] == 0) continue;
      const std::string position = args_.ndim == 1 ? "i" : cat("at", d);
      const bool one = d == 0 && args_.stride[k][0] == 1;
      sum += cat(sum.empty() ? "" : " + ", position, one ? "" : cat(" * a.stride[", k, "][", d, "]"));
    }
    return sum.empty() ? "0" : sum;
  }
  bool varies_within_group(int k) const { return group_ > 1 && args_.stride[k][0] != 0; }

  void read(int k) {
    line(type(k), " x", k, "[W];");
    if (!args_.data[k]) {
      line("{", type(k), " v; memcpy(&v, &a.immediate[", k, "], sizeof v); for (int l = 0; l < W; ++l) x", k,
           "[l] = v;}");
      return;
    }
    line("{const Global<const ", type(k), "> p = Global<const ", type(k), ">(static_cast<const ", type(k), "*>(a.data[",
         k, "])) + (", offset(k), ");");
    if (varies_within_group(k)) {
      line("if (whole) {const auto g = load_pack<", type(k), ", W>(p); for (int l = 0; l < W; ++l) x", k,
           "[l] = g.v[l];}");
      line("else for (int l = 0; l < W; ++l) x", k, "[l] = p[i + l < a.size ? l : 0];}");
    } else {
      line("const ", type(k), " v = p[0]; for (int l = 0; l < W; ++l) x", k, "[l] = v;}");
    }
  }

  void write(int k) {
    line("{const Global<", type(k), "> p = Global<", type(k), ">(static_cast<", type(k), "*>(a.data[", k, "])) + (",
         offset(k), ");");
    if (group_ > 1) {
      line("if (whole) {Pack<", type(k), ", W> g; for (int l = 0; l < W; ++l) g.v[l] = y", k, "[l]; store_pack<",
           type(k), ", W>(p, g);}");
      line("else for (int l = 0; l < W && i + l < a.size; ++l) p[l] = y", k, "[l];}");
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

}  // namespace evolute::cuda
