#include "cuda/cuda_backend.h"
#include "cuda/product.h"

namespace evolute::cuda {

namespace {

// The parts of k, added up where they belong.
void add_parts(DType t, const GemmArgs& g, Buffer& parts, Call& call) {
  const auto item = static_cast<std::int64_t>(size_of(t));
  Space<2> kept;  // partial, c
  kept.add({g.n, {1, g.c_col}});
  kept.add({g.m, {g.n, g.c_row}});
  std::int64_t step = g.m * g.n;
  for (int i = 0; i < g.batch.ndim && g.batches > 1; ++i) {
    const std::int64_t length = g.batch.ndim == 1 ? g.batch.size : g.batch.length[i].d;
    kept.add({length, {step, g.batch.stride[2][i]}});
    step *= length;
  }
  kept.arrange(0);
  ReduceArgs sum{};
  sum.along.ndim = 1;
  sum.along.size = g.splits + g.add;
  sum.along.stride[0][0] = g.partial_at(1, 0);
  sum.chunks = 1;
  sum.per = g.splits + g.add;
  sum.lanes = 1;
  kept.for_parts([&](const Loop<2>& outputs, const std::int64_t (&at)[2]) {
    if (g.add) {  // what is there already is one more part
      CopyArgs copy{outputs, nullptr, nullptr, 0, false};
      copy.out = parts.data() + (at[0] + g.partial_at(static_cast<int>(g.splits), 0)) * item;
      copy.in = static_cast<std::byte*>(g.c) + at[1] * item;
      start_copy(t, t, copy, call.handle());
    }
    sum.kept = outputs;
    sum.columns = outputs.size >= 32;
    sum.in = parts.data() + at[0] * item;
    sum.out = static_cast<std::byte*>(g.c) + at[1] * item;
    start_reduce(Reduction::Sum, t, sum, call.handle());
  });
}

}  // namespace

void CudaBackend::matmul(const Array& a, const Array& b, Array& out, bool add) {
  if (out.size() == 0 || (add && a.shape().back() == 0)) return;
  Call call("matmul");
  const Ref<Array> x = call.on_device(a), y = call.on_device(b);
  const DType t = out.dtype();
  const auto item = static_cast<std::int64_t>(size_of(t));
  if (a.shape().back() == 0) {
    start_iota(t, 0, 0, out.size(), 1, call.data(out), call.handle());
    return call.end();
  }
  const Product<1> product(out.shape(), *x, *y, {&out.strides(), 1});
  const auto *pa = static_cast<std::byte*>(call.data(*x)), *pb = static_cast<std::byte*>(call.data(*y));
  auto* pc = static_cast<std::byte*>(call.data(out));
  if (product.swapped) std::swap(pa, pb);
  const bool by_rows = product.by_rows(0), packed = product.packed(0, by_rows, pc, 16 / item, size_of(t));
  product.batch.for_parts([&](const Loop<3>& loop, const std::int64_t (&offset)[3]) {
    GemmArgs g = product.args(t, pa + offset[0] * item, pb + offset[1] * item);
    g.batch = loop;
    g.batches = loop.size;
    g.c = pc + offset[2] * item;
    g.c_row = product.row[0], g.c_col = product.column[0];
    g.by_rows = by_rows, g.packed = packed, g.add = add;
    if (!is_floating(t)) return start_gemm(t, {}, g, call.handle());
    const Tile tile = tile_of(t, g);
    split(t, g, tile);
    if (g.splits == 1) return start_gemm(t, tile, g, call.handle());
    const Ref<Buffer> parts =
        allocate_device(static_cast<std::size_t>(g.partial_at(static_cast<int>(g.splits) + add, 0) * item));
    g.partial = parts->data();
    g.by_rows = false, g.packed = g.n % (16 / item) == 0;
    start_gemm(t, tile, g, call.handle());
    add_parts(t, g, *parts, call);
  });
  call.end();
}

}  // namespace evolute::cuda
