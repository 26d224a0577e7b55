// Reductions and running sums: how the work is cut, which depends on shapes alone.
#include <algorithm>
#include <bit>

#include "cuda/cuda_backend.h"

namespace evolute::cuda {

namespace {

// The axes that stay and those that go; never empty.
struct Spaces {
  Space<2> kept;   // in, out
  Space<1> along;  // in
};

Spaces spaces_of(const Array& in, const Axes& axes, const Array& out) {
  Spaces s;
  for (int i = in.ndim() - 1, j = out.ndim() - 1; i >= 0; --i) {
    if (axes.contains(i))
      s.along.add({in.shape()[i], {in.strides()[i]}});
    else
      s.kept.add({in.shape()[i], {in.strides()[i], out.strides()[j--]}});
  }
  s.kept.arrange(0);
  s.along.arrange(0);
  return s;
}

// Whether neighbouring outputs lie side by side in the input, and what is reduced does not: then neighbouring threads
// are best given an output each.
bool in_columns(const Loop<2>& kept, bool along_is_dense) {
  return kept.size >= 32 && kept.stride[0][0] == 1 && !along_is_dense;
}

// Threads for each of the outputs of n terms, `group` of which are read at once: enough that each has a few.
int lanes_for(std::int64_t n, std::int64_t group) {
  return static_cast<int>(
      std::bit_ceil(static_cast<std::uint64_t>(std::clamp<std::int64_t>(n / (4 * group), 1, kBlock))));
}

// Parts of the n terms of each output, in whole groups: enough to fill the device, none of them too short.
template <class Args>
void cut(Args& args, std::int64_t n, std::int64_t group, int lanes) {
  constexpr std::int64_t kBlocks = 1024, kLeast = 2048;  // elements of a part
  const std::int64_t blocks = (args.kept.size * lanes + kBlock - 1) / kBlock;
  const std::int64_t parts = std::clamp<std::int64_t>(kBlocks / blocks, 1, std::max<std::int64_t>(n / kLeast, 1));
  args.per = ((n + parts - 1) / parts + group - 1) / group * group;
  args.chunks = (n + args.per - 1) / args.per;
}

// Outputs in the order of `kept`, `step` elements apart in the array that is reduced next.
void lay_out_dense(Loop<2>& kept, std::int64_t step) {
  for (int a = 0; a < kept.ndim; ++a) {
    kept.stride[0][a] = step;
    step *= kept.ndim == 1 ? kept.size : kept.length[a].d;
  }
}

// One launch of each stage: `along` whole, the outputs that `kept` has.
void start_stages(const Call& call, Reduction r, DType t, ReduceArgs args) {
  const std::int64_t units = args.kept.size;
  const std::int64_t group = args.packed ? static_cast<std::int64_t>(16 / size_of(t)) : 1;
  args.columns = in_columns(args.kept, args.along.ndim == 1 && args.along.stride[0][0] == 1);
  args.lanes = lanes_for(args.along.size, group);
  cut(args, args.along.size, group, args.columns ? 8 : args.lanes);
  if (args.chunks == 1) return start_reduce(r, t, args, call.handle());

  void* out = args.out;
  const Loop<2> kept = args.kept;
  const Ref<Buffer> partial = allocate_device(static_cast<std::size_t>(units * args.chunks) * size_of(t));
  args.out = partial->data();
  start_reduce(r, t, args, call.handle());
  ReduceArgs second{};
  second.in = partial->data();
  second.out = out;
  second.kept = kept;
  lay_out_dense(second.kept, args.chunks);  // partial results of one output lie side by side
  second.along.ndim = 1;
  second.along.size = args.chunks;
  second.along.stride[0][0] = 1;
  second.chunks = 1;
  second.per = args.chunks;
  second.lanes = static_cast<int>(std::min<std::uint64_t>(std::bit_ceil(static_cast<std::uint64_t>(args.chunks)), 256));
  start_reduce(r, t, second, call.handle());
}

void start_stages(const Call& call, bool max, DType t, ArgReduceArgs args) {
  const std::int64_t units = args.kept.size;
  args.lanes = in_columns(args.kept, args.stride == 1) ? 1 : lanes_for(args.length, 1);
  cut(args, args.length, 1, args.lanes);
  if (args.chunks == 1) return start_arg_reduce(max, t, args, call.handle());

  const Workspace<std::int64_t> positions(units * args.chunks), values(units * args.chunks);
  ArgReduceArgs first = args;
  first.out = positions.get();
  first.values = values.get();
  start_arg_reduce(max, t, first, call.handle());
  args.in = values.get();
  args.positions = positions.get();
  lay_out_dense(args.kept, 1);
  args.length = args.per = args.chunks;
  args.stride = units;
  args.chunks = 1;
  args.lanes = in_columns(args.kept, false) ? 1 : lanes_for(args.length, 1);
  start_arg_reduce(max, t, args, call.handle());
}

}  // namespace

void CudaBackend::reduce(Reduction r, const Array& in, const Axes& axes, Array& out) {
  if (out.size() == 0) return;
  if (in.size() == 0) {
    const bool one = r == Reduction::Prod || r == Reduction::All;
    const Ref<Array> constant = empty({{}, float64, Device{}});
    *constant->data<double>() = one ? 1 : 0;
    return copy(*constant, out);
  }
  const DType t = working_dtype(r, in.dtype(), out.dtype());
  if (in.dtype() != t) {
    const Ref<Array> converted = empty({in.shape(), t, out.aval().device});
    copy(in, *converted);
    return reduce(r, *converted, axes, out);
  }
  if (out.dtype() != t) {
    const Ref<Array> result = empty({out.shape(), t, out.aval().device});
    reduce(r, in, axes, *result);
    return copy(*result, out);
  }
  if (t == DType::Bool) r = r == Reduction::Any || r == Reduction::Max ? Reduction::Any : Reduction::All;

  static constexpr const char* names[] = {"sum", "prod", "max", "min", "any", "all"};
  Call call(names[static_cast<int>(r)]);
  const Ref<Array> source = call.on_device(in);
  const Spaces spaces = spaces_of(*source, axes, out);
  auto* from = static_cast<std::byte*>(call.data(*source));
  auto* to = static_cast<std::byte*>(call.data(out));
  const auto item = static_cast<std::int64_t>(size_of(t));
  const std::int64_t group = 16 / item;
  // A space of more than 2^31 elements that does not merge into one axis is reduced part by part.
  int parts = 0;
  spaces.along.for_parts([&](const Loop<1>&, const auto&) { ++parts; });
  if (parts > 1) {
    Shape shape = in.shape();
    int axis = static_cast<int>(axes[0]);
    for (auto a : axes)
      if (shape[static_cast<int>(a)] > shape[axis]) axis = static_cast<int>(a);
    const std::int64_t half = shape[axis] / 2;
    const Ref<Array> halves = empty({[&] {
                                       Shape s = out.shape();
                                       s.insert(0, 2);
                                       return s;
                                     }(),
                                     t, out.aval().device});
    for (int h = 0; h < 2; ++h) {
      shape[axis] = h == 0 ? half : in.shape()[axis] - half;
      const Ref<Array> part = view(*source, shape, source->strides(), h * half * source->strides()[axis]);
      reduce(r, *part, axes, *view(*halves, out.shape(), row_major(out.shape()), h * out.size()));
    }
    return reduce(r, *halves, {0}, out);
  }
  spaces.along.for_parts([&](const Loop<1>& along, const std::int64_t (&)[1]) {
    spaces.kept.for_parts([&](const Loop<2>& kept, const std::int64_t (&offset)[2]) {
      ReduceArgs args{};
      args.along = along;
      args.kept = kept;
      args.in = from + offset[0] * item;
      args.out = to + offset[1] * item;
      args.packed = along.ndim == 1 && along.stride[0][0] == 1 && reinterpret_cast<std::uintptr_t>(args.in) % 16 == 0;
      for (int a = 0; a < kept.ndim; ++a) args.packed = args.packed && kept.stride[0][a] % group == 0;
      start_stages(call, r, t, args);
    });
  });
  call.end();
}

void CudaBackend::arg_reduce(bool max, const Array& in, int axis, Array& out) {
  if (out.size() == 0) return;
  Call call(max ? "argmax" : "argmin");
  const Ref<Array> source = call.on_device(in);
  const Spaces spaces = spaces_of(*source, {axis}, out);
  auto* from = static_cast<std::byte*>(call.data(*source));
  auto* to = static_cast<std::int64_t*>(call.data(out));
  spaces.kept.for_parts([&](const Loop<2>& kept, const std::int64_t (&offset)[2]) {
    ArgReduceArgs args{};
    args.kept = kept;
    args.length = in.shape()[axis];
    args.stride = source->strides()[axis];
    args.in = from + offset[0] * static_cast<std::int64_t>(size_of(in.dtype()));
    args.out = to + offset[1];
    start_stages(call, max, in.dtype(), args);
  });
  call.end();
}

void CudaBackend::cumsum(const Array& in, int axis, bool reverse, Array& out) {
  if (out.size() == 0) return;
  if (in.dtype() != out.dtype()) {
    const Ref<Array> converted = empty({in.shape(), out.dtype(), out.aval().device});
    copy(in, *converted);
    return cumsum(*converted, axis, reverse, out);
  }
  Call call("cumsum");
  const Ref<Array> source = call.on_device(in);
  const auto item = static_cast<std::int64_t>(size_of(out.dtype()));
  Space<2> rows;
  for (int i = in.ndim() - 1; i >= 0; --i)
    if (i != axis) rows.add({in.shape()[i], {source->strides()[i], out.strides()[i]}});
  rows.arrange(1);
  ScanArgs args{};
  args.length = in.shape()[axis];
  args.in_stride = source->strides()[axis];
  args.out_stride = out.strides()[axis];
  auto* from = static_cast<std::byte*>(call.data(*source));
  auto* to = static_cast<std::byte*>(call.data(out));
  if (reverse) {
    from += (args.length - 1) * args.in_stride * item;
    to += (args.length - 1) * args.out_stride * item;
    args.in_stride = -args.in_stride;
    args.out_stride = -args.out_stride;
  }
  constexpr std::int64_t kBlocks = 1024, kLeast = 4096;
  const std::int64_t chunks =
      std::clamp<std::int64_t>(kBlocks / rows.size(), 1, std::max<std::int64_t>(args.length / kLeast, 1));
  args.per = (args.length + chunks - 1) / chunks;
  args.chunks = (args.length + args.per - 1) / args.per;
  Ref<Buffer> totals;
  if (args.chunks > 1) {
    totals = allocate_device(static_cast<std::size_t>(rows.size() * args.chunks) * 8);
    args.totals = totals->data();
  }
  rows.for_parts([&](const Loop<2>& loop, const std::int64_t (&offset)[2]) {
    args.rows = loop;
    args.in = from + offset[0] * item;
    args.out = to + offset[1] * item;
    start_scan(out.dtype(), args, call.handle());
  });
  call.end();
}

}  // namespace evolute::cuda
