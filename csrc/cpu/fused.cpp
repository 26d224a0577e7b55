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

// The axes along which an operand is walked, the innermost first, merged where one goes on where another ends.
struct Walk {
  int ndim = 0;
  std::array<std::int64_t, Dims::kMaxDims> length, stride;  // in elements

  Walk() = default;
  Walk(const Shape& shape, const Array& a) {
    const int lead = shape.size() - a.ndim();
    for (int i = shape.size() - 1; i >= 0; --i) {
      if (shape[i] == 1) continue;
      const std::int64_t s = i < lead || a.shape()[i - lead] == 1 ? 0 : a.strides()[i - lead];
      if (ndim > 0 && s == length[top()] * stride[top()])
        length[top()] *= shape[i];
      else
        length[static_cast<std::size_t>(ndim)] = shape[i], stride[static_cast<std::size_t>(ndim++)] = s;
    }
  }
  std::size_t top() const { return static_cast<std::size_t>(ndim - 1); }

  // Where element k lies.
  std::int64_t offset(std::int64_t k) const {
    std::int64_t offset = 0;
    for (std::size_t i = 0; i <= top(); k /= length[i], ++i) offset += k % length[i] * stride[i];
    return offset;
  }
  // How far apart the elements are that `count` steps come by.
  std::int64_t span(std::int64_t count) const {
    std::int64_t far = 0;
    for (std::size_t i = 0; i <= top() && count > 1; count = (count + length[i] - 1) / length[i], ++i)
      far += (std::min(count, length[i]) - 1) * std::abs(stride[i]);
    return far;
  }
};

// The kinds of walk that blocks know how to take.
enum class Layout : std::uint8_t {
  Dense,
  Single,    // one element
  Periodic,  // a row that repeats itself: a bias beside a matrix
  Other
};

Layout layout_of(const Walk& w, std::int64_t longest_row) {
  if (w.ndim == 0 || (w.ndim == 1 && w.stride[0] == 0)) return Layout::Single;
  if (w.ndim == 1 && w.stride[0] == 1) return Layout::Dense;
  const bool row = w.ndim == 2 && w.stride[0] == 1 && w.stride[1] == 0 && w.length[0] <= longest_row;
  return row ? Layout::Periodic : Layout::Other;
}

// Copies `rows` rows of `length` elements, `stride` elements apart in memory and the rows `next` elements apart.
template <class T>
void copy_rows(const T* from, std::int64_t stride, std::int64_t length, std::int64_t next, std::int64_t rows, T* to) {
  constexpr std::int64_t kShort = 8;
  if (stride == 0)
    for (; rows > 0; --rows, from += next) to = std::fill_n(to, length, *from);
  else if (stride == 1 && length > kShort)
    for (; rows > 0; --rows, from += next, to += length)
      std::memcpy(to, from, static_cast<std::size_t>(length) * sizeof(T));
  else
    for (; rows > 0; --rows, from += next, to += length)
      for (std::int64_t i = 0; i < length; ++i) to[i] = from[i * stride];
}

// Fills `bytes` bytes with what the first `have` of them hold, again and again.
void fill_by_first(char* to, std::int64_t have, std::int64_t bytes) {
  for (; have < bytes; have *= 2) std::memcpy(to + have, to, static_cast<std::size_t>(std::min(have, bytes - have)));
}

// Copies the elements [k, k + count) of a walk from `source` on: row by row, and by as many whole rows at once as there
// are along the next axis.
template <class T>
void lay_out(const T* source, const Walk& walk, std::int64_t k, std::int64_t count, T* to) {
  std::array<std::int64_t, Dims::kMaxDims> at{};
  for (std::size_t i = 0; i < walk.top(); k /= walk.length[i++]) at[i] = k % walk.length[i];
  at[walk.top()] = k;
  for (std::size_t i = 0; i <= walk.top(); ++i) source += at[i] * walk.stride[i];
  const std::int64_t length = walk.length[0], stride = walk.stride[0];
  while (true) {
    std::int64_t rows = 1;
    if (at[0] > 0 || count < length || walk.ndim == 1) {  // a part of a row
      const std::int64_t n = std::min(length - at[0], count);
      copy_rows(source, stride, n, 0, 1, to);
      count -= n, to += n;
      source -= at[0] * stride;
      at[0] = 0;
    } else {  // whole rows
      rows = std::min(walk.length[1] - at[1], count / length);
      const std::int64_t n = rows * length;
      if (walk.stride[1] == 0) {
        copy_rows(source, stride, length, 0, 1, to);
        fill_by_first(reinterpret_cast<char*>(to), length * static_cast<std::int64_t>(sizeof(T)),
                      n * static_cast<std::int64_t>(sizeof(T)));
      } else {
        copy_rows(source, stride, length, walk.stride[1], rows, to);
      }
      count -= n, to += n;
    }
    if (count == 0) return;
    source += rows * walk.stride[1];
    at[1] += rows;
    for (std::size_t i = 1; at[i] == walk.length[i]; ++i) {
      source += walk.stride[i + 1] - walk.length[i] * walk.stride[i];
      at[i] = 0;
      ++at[i + 1];
    }
  }
}

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

  // Elements [begin, end) of a flat iteration space; outputs before inputs.
  void flat(std::span<char* const> data, std::span<const Layout> layout, std::span<const Walk> walk, std::int64_t begin,
            std::int64_t end) {
    const auto n_in = static_cast<std::size_t>(program_.n_inputs), n_out = static_cast<std::size_t>(program_.n_outputs);
    const std::int64_t longest = std::min(prepared_.block, end - begin);
    for (std::int64_t k = begin; k < end; k += prepared_.block) {
      const std::int64_t count = std::min(prepared_.block, end - k);
      for (std::size_t s = 0; s < n_in; ++s) {
        char* source = data[n_out + s];
        const Walk& w = walk[n_out + s];
        switch (layout[n_out + s]) {
          case Layout::Dense: slots_[s].data = source + k * item(s); break;
          case Layout::Single: slots_[s].data = repeat(s, source, 1, longest); break;
          case Layout::Periodic:
            slots_[s].data = repeat(s, source, w.length[0], longest) + k % w.length[0] * item(s);
            break;
          case Layout::Other: slots_[s].data = walked(s, source, w, k, count); break;
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
    fill_by_first(to, row, end);
    return to;
  }

  // Elements [k, k + count) of a walk: where they lie, if one after the other.
  char* walked(std::size_t slot, char* source, const Walk& walk, std::int64_t k, std::int64_t count) {
    char* to = scratch(slot);
    dispatch(program_.slot_dtype[slot], [&](auto tag) {
      using T = typename decltype(tag)::type;
      T* from = reinterpret_cast<T*>(source);
      if (walk.stride[0] == 1 && k % walk.length[0] + count <= walk.length[0])
        to = reinterpret_cast<char*>(from + walk.offset(k));
      else
        lay_out(from, walk, k, count, reinterpret_cast<T*>(to));
    });
    return to;
  }

  const Prepared& prepared_;
  const FusedProgram& program_;
  const std::size_t n_slots_;
  Ref<Buffer> memory_;  // blocks of the slots, then the slots themselves
  Slot* slots_;
};

// A fused loop and how its operands lie along the row-major elements of its shape, if it is to be run along these.
struct FlatLoop {
  std::array<const Array*, FusedProgram::kMaxExternal> operands;
  std::array<char*, FusedProgram::kMaxExternal> data;
  std::array<Layout, FusedProgram::kMaxExternal> layout;
  std::size_t n;
  bool flat = true;
  std::array<Walk, FusedProgram::kMaxExternal> walk;

  FlatLoop(const Prepared& prepared, std::span<const Array* const> in, std::span<Array* const> out)
      : n(in.size() + out.size()) {
    std::copy(in.begin(), in.end(), std::copy(out.begin(), out.end(), operands.begin()));
    if (prepared.program.shape.product() > 0) flat = runs_flat(prepared, out.size());
    locate();
  }
  // Not where results lie in another order, and not where a block touches so many lines of memory that they are gone
  // from the cache before the next one. Nor where rows are so long that it is less work to go row by row than to copy.
  bool runs_flat(const Prepared& prepared, std::size_t n_out) {
    constexpr std::int64_t kCache = 16 * 1024, kLongRow = 1536;  // bytes
    std::int64_t row = kLongRow;                                 // the shortest
    bool copies = false;
    for (std::size_t k = 0; k < n; ++k) {
      const Walk& w = walk[k] = Walk(prepared.program.shape, *operands[k]);
      layout[k] = layout_of(w, prepared.block);
      if (layout[k] == Layout::Dense || layout[k] == Layout::Single) continue;
      if (k < n_out) return false;
      const auto item = static_cast<std::int64_t>(size_of(operands[k]->dtype()));
      row = std::min(row, w.stride[0] == 0 || w.stride[0] == 1 ? w.length[0] * item : 0);
      if (layout[k] == Layout::Periodic) continue;
      if (w.span(prepared.block) * item > kCache) return false;
      copies = copies || w.stride[0] != 0;
    }
    return !copies || row < kLongRow;
  }
  void locate() {
    for (std::size_t k = 0; k < n; ++k) data[k] = reinterpret_cast<char*>(operands[k]->bytes());
  }
  void run(Runner& runner, std::int64_t begin, std::int64_t end) const {
    runner.flat({data.data(), n}, {layout.data(), n}, {walk.data(), n}, begin, end);
  }
};

// One that is so short that it runs on one thread.
class CpuBoundLoop final : public BoundLoop {
 public:
  CpuBoundLoop(std::shared_ptr<const Prepared> prepared, const FlatLoop& loop)
      : prepared_(std::move(prepared)), runner_(*prepared_), loop_(loop) {}
  void run() override {
    loop_.locate();
    runner_.forget();
    loop_.run(runner_, 0, prepared_->program.shape.product());
  }

 private:
  const std::shared_ptr<const Prepared> prepared_;
  Runner runner_;
  FlatLoop loop_;
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
