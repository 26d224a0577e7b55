// Fused loops: compiled for the program at hand where that can be done, else interpreted.
#include <algorithm>

#include "cuda/compiler.h"
#include "cuda/cuda_backend.h"
#include "cuda/product.h"
#include "cuda/sums.h"
#include "math/elementwise.h"

namespace evolute::cuda {

static_assert(kFusedOperands >= FusedProgram::kMaxExternal && kFusedSums >= FusedProgram::kMaxSums);

namespace {

// For programs with more values than a thread of the kernel can hold: one kernel for each micro-op.
void run_separately(Backend& b, const FusedProgram& program, std::span<const Array* const> in,
                    std::span<Array* const> out) {
  std::vector<Ref<Array>> slots(program.slot_dtype.size());
  for (std::size_t k = 0; k < in.size(); ++k) slots[k] = Ref<Array>(const_cast<Array*>(in[k]));
  const auto full = in.size() + static_cast<std::size_t>(program.n_outputs);
  for (std::size_t k = in.size(); k < full; ++k) slots[k] = Ref<Array>(out[k - in.size()]);
  for (const FusedProgram::MicroOp& op : program.ops) {
    const auto slot = [&](int k) { return static_cast<std::size_t>(op.slots[static_cast<std::size_t>(k)]); };
    std::vector<const Array*> from;
    std::vector<Array*> to;
    std::vector<Ref<Array>> made;
    for (int k = 0; k < op.n_in; ++k) from.push_back(slots[slot(k)].get());
    for (int k = op.n_in; k < op.n_in + op.n_out; ++k) {
      const std::size_t s = slot(k);
      const bool result = s < full;
      made.push_back(result ? slots[s] : empty({program.shape, program.slot_dtype[s], out[0]->aval().device}));
      to.push_back(made.back().get());
    }
    if (op.kernel == FusedProgram::kSelect)
      b.select(*from[0], *from[1], *from[2], *to[0]);
    else
      b.elementwise(op.kernel, from, to);
    for (std::size_t k = 0; k < made.size(); ++k) slots[slot(op.n_in + static_cast<int>(k))] = made[k];
  }
  for (std::size_t k = 0; k < program.sums.size(); ++k)
    b.reduce(Reduction::Sum, *slots[static_cast<std::size_t>(program.sums[k].slot)], program.sums[k].axes,
             *out[full - in.size() + k]);
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

// What a launch needs to know of a program and its operands but for where these lie.
struct Prepared {
  Prepared(const Call& call, const FusedProgram& program, std::span<const Array* const> operands) {
    args.inputs = program.n_inputs;
    args.outputs = program.n_outputs;
    args.sums = static_cast<int>(program.sums.size());
    args.ops = static_cast<int>(program.ops.size());
    for (std::size_t k = 0; k < operands.size(); ++k) {
      args.dtype[k] = static_cast<std::uint8_t>(operands[k] ? operands[k]->dtype() : program.slot_dtype[k]);
      if (!operands[k]) continue;  // a product
      if (!call.immediate(*operands[k], args.immediate[k])) base[k] = call.data(*operands[k]);
    }
    for (std::size_t k = 0; k < program.sums.size(); ++k)
      args.sum_slot[k] = static_cast<std::uint8_t>(program.sums[k].slot);
    for (std::size_t i = 0; i < program.ops.size(); ++i) {
      const FusedProgram::MicroOp& op = program.ops[i];
      args.op[i] = {static_cast<std::int16_t>(op.kernel), static_cast<std::uint8_t>(op.dtype), op.n_in, op.n_out, {}};
      for (int k = 0; k < op.n_in + op.n_out; ++k)
        args.op[i].slot[k] = static_cast<std::uint8_t>(op.slots[static_cast<std::size_t>(k)]);
    }
  }
  FusedArgs args{};
  std::array<void*, kFusedOperands> base{};
};

// The operand whose strides say in which order the axes are best gone through: an output, or what varies most.
int guide(const FusedProgram& program, std::span<const Array* const> operands) {
  if (program.n_outputs > 0) return program.n_inputs;
  const auto* const end = operands.data() + program.n_inputs;
  const auto larger = [](const Array* a, const Array* b) { return a->size() < b->size(); };
  return static_cast<int>(std::max_element(operands.data(), end, larger) - operands.data());
}

// One pass (sums.h). Where a result is made of those of several tiles, these go to memory, and are added up after.
// False if there is no kernel that takes so many neighbours.
bool run_pass(const Call& call, const FusedProgram& program, const SumPass& pass, const Prepared& prepared,
              std::span<const Array* const> operands, int outputs, int group) {
  FusedArgs args = prepared.args;
  args.outputs = outputs;
  args.sums = static_cast<int>(pass.sums.size());
  args.ndim = static_cast<int>(pass.axes.size());
  args.tiles = pass.tiles;
  // Lengths beyond 32 bits are last in their groups, and nothing is divided by them.
  for (int d = 0; d < args.ndim; ++d)
    if (pass.axes[d].length >> 32 == 0) args.length[d] = Divisor(static_cast<std::uint32_t>(pass.axes[d].length));
  const int full = args.inputs + outputs;
  for (int k = 0; k < full; ++k) {
    args.data[k] = prepared.base[k];
    for (int d = 0; d < args.ndim; ++d) args.stride[k][d] = pass.axes[d].stride[k];
  }
  std::vector<std::pair<Ref<Array>, Ref<Array>>> partial;  // results of tiles, and of all
  for (std::size_t j = 0; j < pass.sums.size(); ++j) {
    const int from = pass.sums[j], to = full + static_cast<int>(j);
    const Array& out = *operands[from];
    args.dtype[to] = static_cast<std::uint8_t>(out.dtype());
    args.sum_slot[j] = prepared.args.sum_slot[from - prepared.args.inputs - prepared.args.outputs];
    const std::int64_t parts = (args.tiles.over_rows[j] ? args.tiles.row_tiles : 1) *
                               (args.tiles.over_columns[j] ? args.tiles.column_tiles : 1);
    Shape kept;
    Strides strides;
    std::int64_t step = 1;
    for (int d = 0; d < args.ndim; ++d) {
      const std::int64_t stride = pass.axes[d].stride[from], length = pass.axes[d].length;
      args.stride[to][d] = parts == 1 ? stride : stride == 0 ? 0 : step;
      if (stride == 0) continue;
      kept.insert(0, length);
      strides.insert(0, stride);
      step *= length;
    }
    args.data[to] = prepared.base[from];
    if (parts == 1) continue;
    Shape shape = kept;
    shape.insert(0, parts);
    partial.emplace_back(empty({shape, out.dtype(), out.aval().device}), view(out, kept, strides));
    args.data[to] = call.data(*partial.back().first);
    args.tiles.pitch[j] = step;
  }
  if (!start_compiled(program, args, group, call.stream())) {
    if (group > 1) return false;
    start_fused(args, call.handle());
  }
  for (const auto& [parts, whole] : partial) cuda_backend().reduce(Reduction::Sum, *parts, {0}, *whole);
  return true;
}

bool run_passes(const Call& call, const FusedProgram& program, const FusedSpace& space, const Prepared& prepared,
                std::span<const Array* const> operands, int group) {
  const auto passes = sum_passes(space, program.n_inputs + program.n_outputs, prepared.args.sums, group);
  for (const SumPass& pass : passes) {
    const bool last = &pass == &passes.back();  // outputs may lie where inputs do
    if (!run_pass(call, program, pass, prepared, operands, last ? program.n_outputs : 0, group)) return false;
  }
  return true;
}

// Operands: inputs, outputs, and results that are summed along axes where they have length 1, or none.
void run_fused(const char* name, const FusedProgram& program, std::span<const Array* const> operands) {
  Call call(name);
  const Prepared prepared(call, program, operands);
  const auto space = space_of<kFusedOperands>(program.shape, operands, guide(program, operands));
  const int full = program.n_inputs + program.n_outputs;
  const int group = group_of(space, prepared.args, prepared.base, static_cast<std::size_t>(full));
  if (!program.sums.empty()) {
    if (!run_passes(call, program, space, prepared, operands, group))
      run_passes(call, program, space, prepared, operands, 1);
    return call.end();
  }
  FusedArgs args = prepared.args;
  space.for_parts([&](const Loop<kFusedOperands>& loop, const std::int64_t (&offset)[kFusedOperands]) {
    args.size = loop.size;
    args.ndim = loop.ndim;
    std::copy(loop.length, loop.length + kMaxAxes, args.length);
    for (std::size_t k = 0; k < operands.size(); ++k) {
      std::copy(loop.stride[k], loop.stride[k] + kMaxAxes, args.stride[k]);
      const auto item = static_cast<std::int64_t>(size_of(operands[k]->dtype()));
      if (prepared.base[k]) args.data[k] = static_cast<std::byte*>(prepared.base[k]) + offset[k] * item;
    }
    if (!start_compiled(program, args, group, call.stream())) start_fused(args, call.handle());
  });
  call.end();
}

void run_fused(const FusedProgram& program, std::span<const Array* const> in, std::span<Array* const> out) {
  if (program.slot_dtype.size() > kFusedSlots) return run_separately(cuda_backend(), program, in, out);
  std::vector<const Array*> operands(in.begin(), in.end());
  std::vector<Ref<Array>> views;  // with the axes that were removed
  const auto full = static_cast<std::size_t>(program.n_outputs);
  for (std::size_t k = 0; k < out.size(); ++k) {
    operands.push_back(out[k]);
    if (k < full) continue;
    Shape shape = out[k]->shape();
    Strides strides = out[k]->strides();
    for (auto axis : program.sums[k - full].axes)
      shape.insert(static_cast<int>(axis), 1), strides.insert(static_cast<int>(axis), 0);
    views.push_back(view(*out[k], shape, strides));
    operands.back() = views.back().get();
  }
  run_fused("fused loop", program, operands);
}

// A product, and the loop that reads it, as one kernel. False if it is not to be had: if there are few tiles and a long
// sum, parts of it are products of their own.
bool run_with_product(const FusedProgram& program, std::span<const Array* const> in, std::span<Array* const> out) {
  const auto n_inputs = static_cast<std::size_t>(program.n_inputs), n = n_inputs + out.size();
  const DType t = program.slot_dtype[n_inputs - 1];
  Call call("fused product");
  const Ref<Array> x = call.on_device(*factor_view(*in[n_inputs - 1], program.product->transpose_a, program.shape));
  const Ref<Array> y = call.on_device(*factor_view(*in[n_inputs], program.product->transpose_b, program.shape));
  if (program.shape.product() == 0 || x->shape().back() == 0) return false;
  std::array<const Array*, kFusedOperands> operands{};
  std::copy_n(in.begin(), n_inputs - 1, operands.begin());
  std::copy(out.begin(), out.end(), operands.begin() + program.n_inputs);
  std::array<Strides, kFusedOperands> strides;
  for (std::size_t k = 0; k < n; ++k)
    strides[k] =
        operands[k] ? broadcast_strides(*operands[k], program.shape) : Strides::filled(program.shape.size(), 0);
  const Product<kFusedOperands> product(program.shape, *x, *y, {strides.data(), n}, program.n_inputs);

  const auto *pa = static_cast<std::byte*>(call.data(*x)), *pb = static_cast<std::byte*>(call.data(*y));
  if (product.swapped) std::swap(pa, pb);
  const auto bytes = [](std::int64_t elements, DType of) { return elements * static_cast<std::int64_t>(size_of(of)); };
  GemmArgs whole = product.args(t, pa, pb);
  whole.batches = product.batch.size();
  const Tile tile = tile_of(t, whole);
  split(t, whole, tile);
  if (whole.splits > 1) return false;

  const Prepared prepared(call, program, {operands.data(), n});
  const bool by_rows = product.by_rows(n_inputs);
  std::size_t item = 1;
  for (std::size_t k = 0; k < n; ++k) item = std::max(item, size_of(static_cast<DType>(prepared.args.dtype[k])));
  auto group = static_cast<std::int64_t>(std::min<std::size_t>(16 / item, 4));
  for (std::size_t k = 0; k < n; ++k) {
    const bool same = k < n_inputs && (by_rows ? product.row[k] : product.column[k]) == 0;
    if (!prepared.base[k] || same) continue;
    const std::size_t size = size_of(static_cast<DType>(prepared.args.dtype[k]));
    if (!product.packed(k, by_rows, prepared.base[k], group, size)) group = 1;
  }
  bool started = true;
  product.batch.for_parts([&](const Loop<kFusedOperands + 2>& loop, const std::int64_t (&offset)[kFusedOperands + 2]) {
    ProductArgs args{product.args(t, pa + bytes(offset[0], t), pb + bytes(offset[1], t)), prepared.args};
    GemmArgs& g = args.product;
    g.per = g.k, g.splits = 1;
    g.by_rows = by_rows;
    g.batches = g.batch.size = loop.size;
    g.batch.ndim = loop.ndim;
    args.loop.ndim = 2 + loop.ndim;
    for (int d = 0; d < loop.ndim; ++d) {
      g.batch.length[d] = args.loop.length[2 + d] = loop.length[d];
      g.batch.stride[0][d] = loop.stride[0][d], g.batch.stride[1][d] = loop.stride[1][d];
      for (std::size_t k = 0; k < n; ++k) args.loop.stride[k][2 + d] = loop.stride[k + 2][d];
    }
    for (std::size_t k = 0; k < n; ++k) {
      args.loop.stride[k][0] = by_rows ? product.row[k] : product.column[k];
      args.loop.stride[k][1] = by_rows ? product.column[k] : product.row[k];
      if (prepared.base[k])
        args.loop.data[k] = static_cast<std::byte*>(prepared.base[k]) +
                            bytes(offset[k + 2], static_cast<DType>(prepared.args.dtype[k]));
    }
    started = started && start_compiled(program, args, tile, static_cast<int>(group), call.stream());
  });
  call.end();
  return started;
}

// The product by itself, then the loop.
void run_after_product(const FusedProgram& program, std::span<const Array* const> in, std::span<Array* const> out) {
  const auto last = static_cast<std::size_t>(program.n_inputs) - 1;
  const Ref<Array> product = empty({program.shape, program.slot_dtype[last], out[0]->aval().device});
  cuda_backend().matmul(*factor_view(*in[last], program.product->transpose_a, program.shape),
                        *factor_view(*in[last + 1], program.product->transpose_b, program.shape), *product, false);
  std::vector<const Array*> operands(in.begin(), in.end() - 2);
  operands.push_back(product.get());
  FusedProgram loop = program;
  loop.product.reset();
  run_fused(loop, operands, out);
}

// Operands bound ahead of time would gain little: what a launch takes is worked out while the one before it runs.
class CudaFused final : public FusedKernel {
 public:
  explicit CudaFused(const FusedProgram& program) : program_(program) {}
  void run(std::span<const Array* const> in, std::span<Array* const> out) const override {
    if (!program_.product) return run_fused(program_, in, out);
    if (!run_with_product(program_, in, out)) run_after_product(program_, in, out);
  }

 private:
  const FusedProgram program_;
};

}  // namespace

std::unique_ptr<FusedKernel> CudaBackend::prepare(const FusedProgram& program) {
  return std::make_unique<CudaFused>(program);
}

bool CudaBackend::products_in_loops() const { return can_compile(); }

// A loop of one micro-op.
void CudaBackend::elementwise_sum(int kernel, const Shape& shape, std::span<const Array* const> in,
                                  std::span<Array* const> out) {
  FusedProgram program;
  program.shape = shape;
  program.n_inputs = static_cast<int>(in.size());
  program.slot_dtype.assign(in.size() + out.size(), out[0]->dtype());
  FusedProgram::MicroOp op{
      kernel, in[0]->dtype(), static_cast<std::uint8_t>(in.size()), static_cast<std::uint8_t>(out.size()), {}};
  std::vector<const Array*> operands(in.begin(), in.end());
  for (std::size_t k = 0; k < in.size(); ++k) op.slots[k] = static_cast<std::int16_t>(k);
  for (const bool full : {true, false})
    for (std::size_t k = 0; k < out.size(); ++k) {
      if ((out[k]->size() == shape.product()) != full) continue;
      const auto slot = static_cast<std::int16_t>(operands.size());
      op.slots[in.size() + k] = slot;
      operands.push_back(out[k]);
      if (full)
        ++program.n_outputs;
      else
        program.sums.push_back({slot, {}});
    }
  program.ops.push_back(op);
  run_fused(kernel_name(kernel), program, operands);
}

}  // namespace evolute::cuda
