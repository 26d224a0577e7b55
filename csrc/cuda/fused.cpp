// Fused loops: compiled for the program at hand where that can be done, else interpreted.
#include <algorithm>

#include "cuda/compiler.h"
#include "cuda/cuda_backend.h"

namespace evolute::cuda {

namespace {

// For programs with more values than a thread of the kernel can hold: one kernel for each micro-op.
void run_separately(Backend& b, const FusedProgram& program, std::span<const Array* const> in,
                    std::span<Array* const> out) {
  std::vector<Ref<Array>> slots(program.slot_dtype.size());
  for (std::size_t k = 0; k < in.size(); ++k) slots[k] = Ref<Array>(const_cast<Array*>(in[k]));
  for (std::size_t k = 0; k < out.size(); ++k) slots[in.size() + k] = Ref<Array>(out[k]);
  for (const FusedProgram::MicroOp& op : program.ops) {
    const auto slot = [&](int k) { return static_cast<std::size_t>(op.slots[static_cast<std::size_t>(k)]); };
    std::vector<const Array*> from;
    std::vector<Array*> to;
    std::vector<Ref<Array>> made;
    for (int k = 0; k < op.n_in; ++k) from.push_back(slots[slot(k)].get());
    for (int k = op.n_in; k < op.n_in + op.n_out; ++k) {
      const std::size_t s = slot(k);
      const bool result = s < in.size() + out.size();
      made.push_back(result ? slots[s] : empty({program.shape, program.slot_dtype[s], out[0]->aval().device}));
      to.push_back(made.back().get());
    }
    if (op.kernel == FusedProgram::kSelect)
      b.select(*from[0], *from[1], *from[2], *to[0]);
    else
      b.elementwise(op.kernel, from, to);
    for (std::size_t k = 0; k < made.size(); ++k) slots[slot(op.n_in + static_cast<int>(k))] = made[k];
  }
}

// How many elements of every operand move together: 16 bytes of the widest, or one if they do not lie so.
int group_of(const Space<kFusedOperands>& space, const FusedArgs& args, std::span<void* const> base, std::size_t n) {
  std::size_t item = 1;
  for (std::size_t k = 0; k < n; ++k) item = std::max(item, size_of(static_cast<DType>(args.dtype[k])));
  const std::int64_t group = std::min<std::int64_t>(static_cast<std::int64_t>(16 / item), 4);
  if (space.ndim() == 0 || (space.ndim() > 1 && space.axis(0).length % group != 0)) return 1;
  for (std::size_t k = 0; k < n; ++k) {
    const std::int64_t inner = space.axis(0).stride[k];
    if (!base[k] || (inner == 0 && k < static_cast<std::size_t>(args.inputs))) continue;
    const auto bytes = static_cast<std::uintptr_t>(group) * size_of(static_cast<DType>(args.dtype[k]));
    if (inner != 1 || reinterpret_cast<std::uintptr_t>(base[k]) % bytes != 0) return 1;
    for (int a = 1; a < space.ndim(); ++a)
      if (space.axis(a).stride[k] % group != 0) return 1;
  }
  return static_cast<int>(group);
}

void run_fused(const FusedProgram& program, std::span<const Array* const> in, std::span<Array* const> out) {
  if (program.slot_dtype.size() > kFusedSlots) return run_separately(cuda_backend(), program, in, out);
  const std::size_t n = in.size() + out.size();
  Call call("fused loop");
  std::array<const Array*, kFusedOperands> operands;
  std::copy(out.begin(), out.end(), std::copy(in.begin(), in.end(), operands.begin()));
  FusedArgs args{};
  std::array<void*, kFusedOperands> base{};
  for (std::size_t k = 0; k < n; ++k) {
    args.dtype[k] = static_cast<std::uint8_t>(operands[k]->dtype());
    if (!call.immediate(*operands[k], args.immediate[k])) base[k] = call.data(*operands[k]);
  }
  args.inputs = program.n_inputs;
  args.outputs = program.n_outputs;
  args.ops = static_cast<int>(program.ops.size());
  for (std::size_t i = 0; i < program.ops.size(); ++i) {
    const FusedProgram::MicroOp& op = program.ops[i];
    args.op[i] = {static_cast<std::int16_t>(op.kernel), static_cast<std::uint8_t>(op.dtype), op.n_in, op.n_out, {}};
    for (int k = 0; k < op.n_in + op.n_out; ++k)
      args.op[i].slot[k] = static_cast<std::uint8_t>(op.slots[static_cast<std::size_t>(k)]);
  }
  const auto space = space_of<kFusedOperands>(program.shape, {operands.data(), n}, program.n_inputs);
  const int group = group_of(space, args, base, n);
  space.for_parts([&](const Loop<kFusedOperands>& loop, const std::int64_t (&offset)[kFusedOperands]) {
    args.size = loop.size;
    args.ndim = loop.ndim;
    std::copy(loop.length, loop.length + kMaxAxes, args.length);
    for (std::size_t k = 0; k < n; ++k) {
      std::copy(loop.stride[k], loop.stride[k] + kMaxAxes, args.stride[k]);
      if (base[k])
        args.data[k] =
            static_cast<std::byte*>(base[k]) + offset[k] * static_cast<std::int64_t>(size_of(operands[k]->dtype()));
    }
    if (!start_compiled(program, args, group, call.stream())) start_fused(args, call.handle());
  });
  call.end();
}

// Operands bound ahead of time would gain little: what a launch takes is worked out while the one before it runs.
class CudaFused final : public FusedKernel {
 public:
  explicit CudaFused(const FusedProgram& program) : program_(program) {}
  void run(std::span<const Array* const> in, std::span<Array* const> out) const override {
    run_fused(program_, in, out);
  }

 private:
  const FusedProgram program_;
};

}  // namespace

std::unique_ptr<FusedKernel> CudaBackend::prepare(const FusedProgram& program) {
  return std::make_unique<CudaFused>(program);
}

}  // namespace evolute::cuda
