#include <algorithm>

#include "cuda/cuda_backend.h"

namespace evolute::cuda {

void CudaBackend::matmul(const Array& a, const Array& b, Array& out, bool add) {
  if (out.size() == 0 || (add && a.shape().back() == 0)) return;
  Call call("matmul");
  const Ref<Array> x = call.on_device(a), y = call.on_device(b);
  const int axes = out.ndim() - 2;
  const DType t = out.dtype();
  const auto item = static_cast<std::int64_t>(size_of(t));
  GemmArgs g{};
  g.add = add;
  g.m = out.shape()[axes], g.n = out.shape()[axes + 1], g.k = a.shape()[axes + 1];
  g.a_row = x->strides()[axes], g.a_col = x->strides()[axes + 1];
  g.b_row = y->strides()[axes], g.b_col = y->strides()[axes + 1];
  g.c_row = out.strides()[axes], g.c_col = out.strides()[axes + 1];
  if (g.k == 0) {
    start_iota(t, 0, 0, out.size(), 1, call.data(out), call.handle());
    return call.end();
  }
  Space<3> batch;  // a, b, c
  for (int i = axes - 1; i >= 0; --i) batch.add({out.shape()[i], {x->strides()[i], y->strides()[i], out.strides()[i]}});
  batch.arrange(2);
  auto *pa = static_cast<std::byte*>(call.data(*x)), *pb = static_cast<std::byte*>(call.data(*y));
  auto* pc = static_cast<std::byte*>(call.data(out));
  // Batch axes along which b does not change are rows of a, where they lie so.
  if (batch.ndim() == 1 && batch.axis(0).stride[1] == 0 && batch.axis(0).stride[0] == g.m * g.a_row &&
      batch.axis(0).stride[2] == g.m * g.c_row) {
    g.m *= batch.size();
    batch = {};
  }
  // C^T = B^T A^T: the narrow side to the right, where tiles can be narrow.
  if (g.m < g.n) {
    Space<3> swapped;
    for (int i = 0; i < batch.ndim(); ++i) {
      const auto& axis = batch.axis(i);
      swapped.add({axis.length, {axis.stride[1], axis.stride[0], axis.stride[2]}});
    }
    batch = swapped;
    std::swap(pa, pb);
    std::swap(g.m, g.n);
    std::swap(g.a_row, g.b_col);
    std::swap(g.a_col, g.b_row);
    std::swap(g.c_row, g.c_col);
  }
  batch.for_parts([&](const Loop<3>& loop, const std::int64_t (&offset)[3]) {
    g.batch = loop;
    g.batches = loop.size;
    g.a = pa + offset[0] * item;
    g.b = pb + offset[1] * item;
    g.c = pc + offset[2] * item;
    const std::int64_t wanted = gemm_splits(g, t);
    constexpr std::int64_t kDepth = 16;  // of the kernels: parts are whole slices
    g.per = ((g.k + wanted - 1) / wanted + kDepth - 1) / kDepth * kDepth;
    g.splits = (g.k + g.per - 1) / g.per;
    Ref<Buffer> partial;
    if (g.splits > 1) {
      partial = allocate_device(static_cast<std::size_t>((g.splits + add) * g.batches * g.m * g.n * item));
      g.partial = partial->data();
    }
    start_gemm(t, g, call.handle());
    if (g.splits == 1) return;
    // The parts, added up where they belong.
    Space<2> kept;  // partial, c
    kept.add({g.n, {1, g.c_col}});
    kept.add({g.m, {g.n, g.c_row}});
    std::int64_t step = g.m * g.n;
    for (int i = 0; i < loop.ndim && g.batches > 1; ++i) {
      const std::int64_t length = loop.ndim == 1 ? loop.size : loop.length[i].d;
      kept.add({length, {step, loop.stride[2][i]}});
      step *= length;
    }
    kept.arrange(0);
    ReduceArgs sum{};
    sum.along.ndim = 1;
    sum.along.size = g.splits + add;
    sum.along.stride[0][0] = g.batches * g.m * g.n;
    sum.chunks = 1;
    sum.per = g.splits + add;
    sum.lanes = 1;
    kept.for_parts([&](const Loop<2>& outputs, const std::int64_t (&at)[2]) {
      if (add) {  // what is there already is one more part
        CopyArgs copy{outputs, nullptr, nullptr, 0, false};
        copy.out = partial->data() + (at[0] + g.splits * g.batches * g.m * g.n) * item;
        copy.in = static_cast<std::byte*>(g.c) + at[1] * item;
        start_copy(t, t, copy, call.handle());
      }
      sum.kept = outputs;
      sum.columns = outputs.size >= 32;
      sum.in = partial->data() + at[0] * item;
      sum.out = static_cast<std::byte*>(g.c) + at[1] * item;
      start_reduce(Reduction::Sum, t, sum, call.handle());
    });
  });
  call.end();
}

}  // namespace evolute::cuda
