// Fused loops: micro-ops are the inner loops of the elementwise kernels, run on blocks that fit the first-level cache.
#include "core/fused.h"

#include <algorithm>
#include <cstring>

#include "core/thread_pool.h"
#include "cpu/cost.h"
#include "cpu/cpu_backend.h"
#include "cpu/simd.h"
#include "cpu/strided_loop.h"

namespace evolute::cpu {

namespace {

using FusedLoop = BasicStridedLoop<FusedProgram::kMaxExternal>;

constexpr std::int64_t kMinBlock = 128, kMaxBlock = 2048;  // elements

// How one operand lies along a flat iteration space.
enum class Layout : std::uint8_t {
  Dense,
  Single,    // one element
  Periodic,  // repeats itself every `period` elements: a row beside a matrix
  Stretched  // each element stands `period` times: a column beside a matrix
};

// What is the same for all runs.
struct Prepared {
  FusedProgram program;
  std::int64_t block;                  // elements of each operand that are worked on at a time
  std::vector<ElementwiseLoop> loops;  // one per micro-op
  std::vector<std::size_t> offset;     // of each slot's block in the scratch memory
  std::size_t scratch_bytes = 0;
  double ns = 0;  // per element

  explicit Prepared(FusedProgram p) : program(std::move(p)) {
    constexpr std::int64_t kBytes = 36 * 1024;  // of the first-level cache
    std::int64_t per_element = 0;
    for (DType t : program.slot_dtype) per_element += static_cast<std::int64_t>(size_of(t));
    block = std::clamp(kBytes / per_element / 64 * 64, kMinBlock, kMaxBlock);
    const SimdKernels& kernels = simd();
    for (const auto& op : program.ops) {
      const bool select = op.kernel == FusedProgram::kSelect;
      loops.push_back(select ? select_loop(op.dtype) : kernels.elementwise(op.kernel, op.dtype));
      ns += select ? 1 : elementwise_ns(op.kernel, op.dtype);
    }
    for (std::size_t s = 0; s < program.slot_dtype.size(); ++s) {
      offset.push_back(scratch_bytes);
      // Room for a period more than a block. One line between blocks keeps them out of each other's sets.
      const std::int64_t room = static_cast<int>(s) < program.n_inputs ? 2 * block : block;
      scratch_bytes += static_cast<std::size_t>(room) * size_of(program.slot_dtype[s]) + 64;
    }
  }
};

// Runs the program block by block, on one thread.
class Runner {
 public:
  explicit Runner(const Prepared& prepared)
      : prepared_(prepared),
        program_(prepared.program),
        n_slots_(program_.slot_dtype.size()),
        memory_(allocate_host(prepared.scratch_bytes + n_slots_ * sizeof(Slot))),
        slots_(reinterpret_cast<Slot*>(memory_->data() + prepared.scratch_bytes)) {
    for (std::size_t s = 0; s < n_slots_; ++s) new (slots_ + s) Slot{scratch(s), item(s), nullptr};
  }

  // One row of a strided loop: `p` and `step` as there, outputs before inputs.
  void operator()(char* const* p, const std::int64_t* step, std::int64_t n) {
    const auto n_in = static_cast<std::size_t>(program_.n_inputs), n_out = static_cast<std::size_t>(program_.n_outputs);
    for (std::int64_t k = 0; k < n; k += prepared_.block) {
      const std::int64_t count = std::min(prepared_.block, n - k);
      for (std::size_t s = 0; s < n_in; ++s) {
        char* source = p[n_out + s] + k * step[n_out + s];
        slots_[s].step = step[n_out + s];
        slots_[s].data = source;
        if (slots_[s].step == 0 && count > 1)
          slots_[s].data = repeat(s, source, 1, prepared_.block), slots_[s].step = item(s);
      }
      for (std::size_t s = 0; s < n_out; ++s)
        slots_[n_in + s].data = p[s] + k * step[s], slots_[n_in + s].step = step[s];
      run(count);
    }
  }

  // Elements [begin, end) of a flat iteration space; `data`: outputs before inputs.
  void flat(std::span<char* const> data, std::span<const Layout> layout, std::span<const std::int64_t> period,
            std::int64_t begin, std::int64_t end) {
    const auto n_in = static_cast<std::size_t>(program_.n_inputs), n_out = static_cast<std::size_t>(program_.n_outputs);
    const std::int64_t longest = std::min(prepared_.block, end - begin);
    for (std::int64_t k = begin; k < end; k += prepared_.block) {
      const std::int64_t count = std::min(prepared_.block, end - k);
      for (std::size_t s = 0; s < n_in; ++s) {
        char* source = data[n_out + s];
        switch (layout[n_out + s]) {
          case Layout::Dense: slots_[s].data = source + k * item(s); break;
          case Layout::Single: slots_[s].data = repeat(s, source, 1, longest); break;
          case Layout::Periodic:
            slots_[s].data = repeat(s, source, period[n_out + s], longest) + k % period[n_out + s] * item(s);
            break;
          case Layout::Stretched: slots_[s].data = stretch(s, source, period[n_out + s], k, count); break;
        }
      }
      for (std::size_t s = 0; s < n_out; ++s) slots_[n_in + s].data = data[s] + k * item(n_in + s);
      run(count);
    }
  }

  // Operands may have changed.
  void forget() {
    for (std::size_t s = 0; s < n_slots_; ++s) slots_[s].repeated = nullptr;
  }

 private:
  struct Slot {
    char* data;
    std::int64_t step;     // bytes
    const char* repeated;  // what the slot's block repeats
  };

  void run(std::int64_t count) {
    for (std::size_t i = 0; i < program_.ops.size(); ++i) {
      const FusedProgram::MicroOp& op = program_.ops[i];
      char* data[8];
      std::int64_t step[8];
      for (int k = 0; k < op.n_in + op.n_out; ++k) {
        const Slot& s = slots_[static_cast<std::size_t>(op.slots[static_cast<std::size_t>(k)])];
        data[k] = s.data, step[k] = s.step;
      }
      prepared_.loops[i](data, step, count);
    }
  }
  std::int64_t item(std::size_t slot) const { return static_cast<std::int64_t>(size_of(program_.slot_dtype[slot])); }
  char* scratch(std::size_t slot) const { return reinterpret_cast<char*>(memory_->data()) + prepared_.offset[slot]; }

  // `count` elements and one period more of a repeated row of `period` elements. Kept while the row stays the same.
  char* repeat(std::size_t slot, const char* source, std::int64_t period, std::int64_t count) {
    char* to = scratch(slot);
    if (slots_[slot].repeated == source) return to;
    slots_[slot].repeated = source;
    const std::int64_t row = period * item(slot), end = (count + period) * item(slot);
    std::memcpy(to, source, static_cast<std::size_t>(row));
    for (std::int64_t have = row; have < end; have *= 2)  // copies what is there already
      std::memcpy(to + have, to, static_cast<std::size_t>(std::min(have, end - have)));
    return to;
  }

  // Elements [k, k + count) of a space in which each element of the operand stands `period` times.
  char* stretch(std::size_t slot, const char* source, std::int64_t period, std::int64_t k, std::int64_t count) {
    char* to = scratch(slot);
    dispatch(program_.slot_dtype[slot], [&](auto tag) {
      using T = typename decltype(tag)::type;
      const T* from = reinterpret_cast<const T*>(source) + k / period;
      T* at = reinterpret_cast<T*>(to);
      for (std::int64_t left = count, run = period - k % period; left > 0; left -= run, run = period, ++from) {
        run = std::min(run, left);
        at = std::fill_n(at, run, *from);
      }
    });
    return to;
  }

  const Prepared& prepared_;
  const FusedProgram& program_;
  const std::size_t n_slots_;
  Ref<Buffer> memory_;  // blocks of the slots, then the slots themselves
  Slot* slots_;
};

// The layout of an operand along the row-major elements of `shape`; false if it has none of them.
bool flat_layout(const Shape& shape, const Array& a, std::int64_t longest, Layout& layout, std::int64_t& period) {
  bool single = true;
  for (int i = 0; i < a.ndim(); ++i) single = single && (a.shape()[i] == 1 || a.strides()[i] == 0);
  if (single) return layout = Layout::Single, true;
  if (!a.contiguous()) return false;
  const int lead = shape.size() - a.ndim();
  int first = 0, last = a.ndim();  // what is left without axes of length 1 at both ends
  while (first < last && a.shape()[first] == 1) ++first;
  while (last > first && a.shape()[last - 1] == 1) --last;
  std::int64_t inner = 1;
  for (int i = lead + last; i < shape.size(); ++i) inner *= shape[i];
  for (int i = first; i < last; ++i)
    if (a.shape()[i] != shape[lead + i]) return false;
  period = inner == 1 ? a.size() : inner;
  if (a.size() == shape.product())
    layout = Layout::Dense;
  else if (inner == 1)
    layout = Layout::Periodic;
  else
    layout = Layout::Stretched;
  return layout != Layout::Periodic || period <= longest
             ? layout != Layout::Stretched || a.size() * inner == shape.product()
             : false;
}

// A fused loop and how its operands lie, if all lie along the elements in one of the ways above.
struct FlatLoop {
  std::array<const Array*, FusedProgram::kMaxExternal> operands;
  std::array<char*, FusedProgram::kMaxExternal> data;
  std::array<Layout, FusedProgram::kMaxExternal> layout;
  std::array<std::int64_t, FusedProgram::kMaxExternal> period;
  std::size_t n;
  bool flat = true;

  FlatLoop(const Prepared& prepared, std::span<const Array* const> in, std::span<Array* const> out)
      : n(in.size() + out.size()) {
    std::copy(in.begin(), in.end(), std::copy(out.begin(), out.end(), operands.begin()));
    for (std::size_t k = 0; k < n && flat; ++k)
      flat = flat_layout(prepared.program.shape, *operands[k], prepared.block, layout[k], period[k]);
    locate();
  }
  void locate() {
    for (std::size_t k = 0; k < n; ++k) data[k] = reinterpret_cast<char*>(operands[k]->bytes());
  }
  void run(Runner& runner, std::int64_t begin, std::int64_t end) const {
    runner.flat({data.data(), n}, {layout.data(), n}, {period.data(), n}, begin, end);
  }
};

// One that is so short that it runs on one thread.
class CpuBoundLoop final : public BoundLoop {
 public:
  CpuBoundLoop(std::shared_ptr<const Prepared> prepared, const FlatLoop& loop)
      : prepared_(std::move(prepared)), loop_(loop), runner_(*prepared_) {}
  void run() override {
    loop_.locate();
    runner_.forget();
    loop_.run(runner_, 0, prepared_->program.shape.product());
  }

 private:
  const std::shared_ptr<const Prepared> prepared_;
  FlatLoop loop_;
  Runner runner_;
};

class CpuFusedKernel final : public FusedKernel {
 public:
  explicit CpuFusedKernel(const FusedProgram& program) : prepared_(std::make_shared<const Prepared>(program)) {}

  void run(std::span<const Array* const> in, std::span<Array* const> out) const override {
    const FusedProgram& program = prepared_->program;
    if (const FlatLoop flat(*prepared_, in, out); flat.flat)
      return parallel_ranges(
          program.shape.product(), prepared_->ns,
          [&](std::int64_t begin, std::int64_t end) {
            Runner runner(*prepared_);
            flat.run(runner, begin, end);
          },
          kMinBlock);
    std::array<const Array*, FusedProgram::kMaxExternal> operands;
    std::copy(in.begin(), in.end(), std::copy(out.begin(), out.end(), operands.begin()));
    const FusedLoop loop(program.shape, std::span<const Array* const>(operands.data(), in.size() + out.size()));
    loop.run_split(prepared_->ns, [&] { return Runner(*prepared_); });
  }
  std::unique_ptr<BoundLoop> bind(std::span<const Array* const> in, std::span<Array* const> out) const override {
    const FlatLoop loop(*prepared_, in, out);
    const double ns = prepared_->ns * static_cast<double>(prepared_->program.shape.product());
    if (!loop.flat || balanced_parts(ns) != 1) return nullptr;
    return std::make_unique<CpuBoundLoop>(prepared_, loop);
  }

 private:
  const std::shared_ptr<const Prepared> prepared_;
};

}  // namespace

std::unique_ptr<FusedKernel> CpuBackend::prepare(const FusedProgram& program) {
  return std::make_unique<CpuFusedKernel>(program);
}

}  // namespace evolute::cpu
