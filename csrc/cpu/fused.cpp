// Fused loops: micro-ops are the inner loops of the elementwise kernels, run on blocks that fit the first-level cache.
#include "core/fused.h"

#include <cstring>

#include "core/thread_pool.h"
#include "cpu/cpu_backend.h"
#include "cpu/simd.h"
#include "cpu/strided_loop.h"

namespace evolute::cpu {

namespace {

constexpr std::int64_t kBlock = 512;  // elements; a block of doubles is 4 KiB
using FusedLoop = BasicStridedLoop<FusedProgram::kMaxExternal>;

// What is the same for all blocks.
struct Prepared {
  const FusedProgram& program;
  std::vector<ElementwiseLoop> loops;  // one per micro-op
  std::size_t scratch_bytes = 0;

  explicit Prepared(const FusedProgram& p) : program(p) {
    const SimdKernels& kernels = simd();
    loops.reserve(p.ops.size());
    for (const auto& op : p.ops)
      loops.push_back(op.kernel == FusedProgram::kSelect ? select_loop(op.dtype)
                                                         : kernels.elementwise(op.kernel, op.dtype));
    scratch_bytes = p.slot_dtype.size() * kBlock * sizeof(double);
  }
};

// Runs the program over one row of the iteration space. `p` and `step` are those of StridedLoop: outputs, then inputs.
class RowRunner {
 public:
  explicit RowRunner(const Prepared& prepared)
      : prepared_(prepared),
        scratch_(allocate_host(prepared.scratch_bytes)),
        repeated_(prepared.program.slot_dtype.size()) {}

  void operator()(char* const* p, const std::int64_t* step, std::int64_t n) {
    const FusedProgram& program = prepared_.program;
    const int n_in = program.n_inputs, n_out = program.n_outputs;
    const int n_slots = static_cast<int>(program.slot_dtype.size());
    char** at = slots_.data();
    std::int64_t* stride = strides_.data();
    if (static_cast<int>(slots_.size()) != n_slots) {
      slots_.resize(static_cast<std::size_t>(n_slots));
      strides_.resize(static_cast<std::size_t>(n_slots));
      at = slots_.data(), stride = strides_.data();
      for (int s = n_in + n_out; s < n_slots; ++s) at[s] = block(s), stride[s] = item(s);
    }
    for (std::int64_t k = 0; k < n; k += kBlock) {
      const std::int64_t count = std::min(kBlock, n - k);
      for (int s = 0; s < n_in; ++s) {
        char* source = p[n_out + s] + k * step[n_out + s];
        stride[s] = step[n_out + s];
        at[s] = source;
        if (stride[s] == 0 && count > 1) at[s] = repeat(s, source), stride[s] = item(s);
      }
      for (int s = 0; s < n_out; ++s) at[n_in + s] = p[s] + k * step[s], stride[n_in + s] = step[s];
      for (std::size_t i = 0; i < program.ops.size(); ++i) run(program.ops[i], prepared_.loops[i], count);
    }
  }

 private:
  void run(const FusedProgram::MicroOp& op, ElementwiseLoop loop, std::int64_t count) {
    char* data[8];
    std::int64_t step[8];
    for (int i = 0; i < op.n_in + op.n_out; ++i) data[i] = slots_[op.slots[i]], step[i] = strides_[op.slots[i]];
    loop(data, step, count);
  }
  std::int64_t item(int slot) const { return static_cast<std::int64_t>(size_of(prepared_.program.slot_dtype[slot])); }
  char* block(int slot) const {
    return reinterpret_cast<char*>(scratch_->data()) + static_cast<std::size_t>(slot) * kBlock * sizeof(double);
  }

  // A block full of one element: the inner loops are fastest on rows. Kept while the element stays the same.
  char* repeat(int slot, const char* source) {
    if (repeated_[slot] == source) return block(slot);
    repeated_[slot] = source;
    dispatch(prepared_.program.slot_dtype[slot], [&](auto tag) {
      using T = typename decltype(tag)::type;
      T value;
      std::memcpy(&value, source, sizeof value);
      std::fill_n(reinterpret_cast<T*>(block(slot)), kBlock, value);
    });
    return block(slot);
  }

  const Prepared& prepared_;
  Ref<Buffer> scratch_;
  std::vector<const char*> repeated_;  // what each slot's block is full of
  std::vector<char*> slots_;
  std::vector<std::int64_t> strides_;
};

// Runs `loop` on several threads where that pays, each with a runner of its own. `ns`: time per element.
template <class Make>
void run_split(const FusedLoop& loop, double ns, Make make) {
  if (loop.ndim() > 1) {
    const double per_part = ns * static_cast<double>(loop.length(0)) * static_cast<double>(loop.length(1));
    return parallel_ranges(loop.parts(), per_part,
                           [&](std::int64_t begin, std::int64_t end) { loop.run(make(), begin, end); });
  }
  parallel_ranges(
      loop.length(0), ns,
      [&](std::int64_t begin, std::int64_t end) {
        std::array<char*, FusedLoop::kMaxOperands> p;
        std::array<std::int64_t, FusedLoop::kMaxOperands> step;
        for (int k = 0; k < loop.operands(); ++k) step[k] = loop.stride(0, k), p[k] = loop.data(k) + begin * step[k];
        make()(p.data(), step.data(), end - begin);
      },
      kBlock);
}

}  // namespace

void CpuBackend::fused(const FusedProgram& program, std::span<const Array* const> in, std::span<Array* const> out) {
  const Prepared prepared(program);
  std::array<const Array*, FusedProgram::kMaxExternal> operands;
  std::copy(in.begin(), in.end(), std::copy(out.begin(), out.end(), operands.begin()));
  const FusedLoop loop(program.shape, std::span<const Array* const>(operands.data(), in.size() + out.size()));
  run_split(loop, 0.1 * static_cast<double>(program.ops.size()), [&] { return RowRunner(prepared); });
}

}  // namespace evolute::cpu
