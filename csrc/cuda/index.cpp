#include "cuda/cuda_backend.h"

namespace evolute::cuda {

namespace {

// `indexed` is the array that the indices point into, `listed` has a slice for each of them. Calls f(args) for each
// part.
template <class F>
void for_index_parts(const Call& call, const Array& indexed, const Array& listed, std::span<const Array* const> index,
                     const Axes& axes, F&& f) {
  IndexArgs args{};
  args.indices = static_cast<int>(index.size());
  args.fault = call.stream().fault();
  const Shape& shape = index[0]->shape();
  std::int64_t place = 1;
  for (int j = args.indices - 1; j >= 0; --j) {
    const int axis = static_cast<int>(axes[j]);
    args.axis[j] = axis;
    args.length[j] = indexed.shape()[axis];
    args.stride[j] = indexed.strides()[axis];
    args.place[j] = place;
    place *= args.length[j];
  }
  Space<kMaxIndices + 1> list;
  std::int64_t step = 1;
  for (int i = shape.size() - 1; i >= 0; --i) {
    Space<kMaxIndices + 1>::Axis axis{shape[i], {}};
    for (int j = 0; j < args.indices; ++j) axis.stride[j] = index[static_cast<std::size_t>(j)]->strides()[i];
    axis.stride[kMaxIndices] = listed.strides()[i];
    list.add(axis);
    step *= shape[i];
  }
  // The order of the indices is that of their numbers, so that axes stay where they are; they merge all the same.
  Space<2> slice;
  for (int i = indexed.ndim() - 1, j = listed.ndim() - 1; i >= 0; --i) {
    if (axes.contains(i)) continue;
    slice.add({indexed.shape()[i], {listed.strides()[j], indexed.strides()[i]}});
    --j;
  }
  slice.arrange(0);
  auto* from = static_cast<std::byte*>(call.data(listed));
  auto* into = static_cast<std::byte*>(call.data(indexed));
  const auto item = static_cast<std::int64_t>(size_of(indexed.dtype()));
  std::int64_t first = 0;
  list.for_parts([&](const Loop<kMaxIndices + 1>& l, const std::int64_t (&at)[kMaxIndices + 1]) {
    args.list = l;
    args.first = first;
    for (int j = 0; j < args.indices; ++j)
      args.index[j] = static_cast<const std::int64_t*>(call.data(*index[static_cast<std::size_t>(j)])) + at[j];
    slice.for_parts([&](const Loop<2>& s, const std::int64_t (&offset)[2]) {
      args.slice = s;
      args.listed = from + (at[kMaxIndices] + offset[0]) * item;
      args.indexed = into + offset[1] * item;
      f(args);
    });
    first += l.size;
  });
}

// The arrays that hold the indices in device memory.
struct Indices {
  Indices(const Call& call, std::span<const Array* const> index) {
    for (const Array* a : index) {
      kept.push_back(call.on_device(*a));
      arrays.push_back(kept.back().get());
    }
  }
  std::vector<Ref<Array>> kept;
  std::vector<const Array*> arrays;
};

}  // namespace

void CudaBackend::gather(const Array& in, std::span<const Array* const> index, const Axes& axes, Array& out) {
  if (out.size() == 0) return;
  Call call("gather");
  const Ref<Array> source = call.on_device(in);
  const Indices indices(call, index);
  for_index_parts(call, *source, out, indices.arrays, axes,
                  [&](const IndexArgs& args) { start_gather(size_of(in.dtype()), args, call.handle()); });
  call.end();
}

void CudaBackend::scatter(ScatterMode mode, const Array& base, std::span<const Array* const> index, const Axes& axes,
                          const Array& updates, Array& out) {
  copy(base, out);
  if (updates.size() == 0 || out.size() == 0) return;
  Call call("scatter");
  const Ref<Array> source = call.on_device(updates);
  const Indices indices(call, index);
  Shape shape = index[0]->shape();
  for (int i = 0; i < out.ndim(); ++i)
    if (!axes.contains(i)) shape.push_back(out.shape()[i]);
  const Ref<Array> expanded = broadcast_view(*source, shape);
  if (mode == ScatterMode::Add) {
    for_index_parts(call, out, *expanded, indices.arrays, axes,
                    [&](const IndexArgs& args) { start_scatter_add(out.dtype(), args, call.handle()); });
    return call.end();
  }
  std::int64_t places = 1;
  for (auto axis : axes) places *= out.shape()[static_cast<int>(axis)];
  const Workspace<std::int64_t> winner(places);
  start_iota(DType::Int64, -1, 0, places, 1, winner.get(), call.handle());
  for (const bool claims : {true, false})
    for_index_parts(call, out, *expanded, indices.arrays, axes, [&](IndexArgs args) {
      args.winner = winner.get();
      if (claims)
        start_claim(args, call.handle());
      else
        start_scatter_set(size_of(out.dtype()), args, call.handle());
    });
  call.end();
}

Ref<Array> CudaBackend::nonzero(const Array& mask) {
  const Device device{DeviceType::CUDA, 0};
  if (mask.size() == 0) return empty({{0}, DType::Int64, device});
  Ref<Array> dense = empty({mask.shape(), DType::Bool, device});
  copy(mask, *dense);
  Call call("nonzero");
  const std::int64_t n = mask.size(), blocks = (n + kNonzeroBlock - 1) / kNonzeroBlock;
  const Workspace<std::int64_t> counts(blocks + 1);
  start_count(call.data(*dense), n, counts.get(), call.handle());
  start_sum_counts(counts.get(), blocks, call.handle());
  call.end();
  std::int64_t count = 0;  // the shape of the result: this has to be waited for
  call.stream().download(&count, counts.get() + blocks, sizeof count);
  Ref<Array> out = empty({{count}, DType::Int64, device});
  if (count == 0) return out;
  Call again("nonzero");
  start_positions(again.data(*dense), n, counts.get(), out->data<std::int64_t>(), again.handle());
  again.end();
  return out;
}

}  // namespace evolute::cuda
