#include "cuda/cuda_backend.h"

#include <cstring>

#include "math/elementwise.h"

namespace evolute::cuda {

CudaBackend& cuda_backend() {
  static CudaBackend& instance = *new CudaBackend;  // outlives every static object that holds a tensor
  return instance;
}

Ref<Buffer> CudaBackend::allocate(std::size_t bytes) { return allocate_device(bytes); }
void CudaBackend::synchronize() { this_stream().synchronize(); }
std::intptr_t CudaBackend::stream() { return reinterpret_cast<std::intptr_t>(this_stream().handle()); }

// As DLPack numbers them: 1 is the legacy default stream, 2 the default stream of each thread.
static cudaStream_t as_stream(std::intptr_t number) {
  return number == 1 ? cudaStreamLegacy : number == 2 ? cudaStreamPerThread : reinterpret_cast<cudaStream_t>(number);
}
void CudaBackend::take_back(const Array& a, std::intptr_t stream) {
  const Turn turn;
  use(*a.buffer(), this_stream());
  this_stream().wait_for(as_stream(stream));
}
void CudaBackend::hand_over(const Array& a, std::intptr_t stream) {
  const Turn turn;
  Stream& own = this_stream();
  use(*a.buffer(), own);
  cudaEvent_t event;
  own.check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "ordering streams");
  own.check(cudaEventRecord(event, own.handle()), "ordering streams");
  own.check(cudaStreamWaitEvent(as_stream(stream), event, 0), "ordering streams");
  own.check(cudaEventDestroy(event), "ordering streams");  // once it has passed
}

Ref<Buffer> CudaBackend::adopt(void* data, std::size_t bytes, std::function<void()> release) {
  return adopt_device(data, bytes, std::move(release));
}
Ref<Replay> CudaBackend::record(const std::function<void()>& work, std::span<const Array* const> operands) {
  return record_stream(work, operands);
}

Ref<Array> Call::on_device(const Array& a) const {
  if (!a.on_host()) return Ref<Array>(const_cast<Array*>(&a));
  const Aval aval{a.shape(), a.dtype(), {DeviceType::CUDA, 0}};
  if (a.size() == 0) return empty(aval);
  std::uint64_t bits;
  immediate(a, bits);
  Ref<Buffer> place = allocate_device(size_of(a.dtype()));
  CopyArgs args{};
  args.loop.ndim = 1;
  args.out = place->data();
  args.immediate = bits;
  start_copy(a.dtype(), a.dtype(), args, handle());
  std::byte* data = place->data();
  return make_ref<Array>(aval, std::move(place), data, Strides::filled(a.ndim(), 0));
}

void* Call::data(const Array& a) const {
  use(*a.buffer(), stream_);
  return a.bytes();
}

bool Call::immediate(const Array& a, std::uint64_t& bits) const {
  if (!a.on_host()) return false;
  bits = 0;
  if (a.size() == 0) return true;
  if (!a.is_host_constant())
    throw DeviceError(cat(op_, ": operands are on different devices, ", a.aval(),
                          " on the CPU beside others on the GPU; move them to one device with `to`"));
  std::memcpy(&bits, a.bytes(), size_of(a.dtype()));
  return true;
}

const char* kernel_name(int kernel) {
  static constexpr const char* names[] = {
#define EV_KERNEL(Name, fun, suffix, text, Functor, exists) #fun text,
#include "cuda/kernels.def"
  };
  static_assert(std::size(names) == kNumElementwiseKernels);
  return names[kernel];
}

Strides broadcast_strides(const Array& a, const Shape& shape) {
  Strides strides = Strides::filled(shape.size(), 0);
  const int lead = shape.size() - a.ndim();
  for (int i = 0; i < a.ndim(); ++i)
    if (a.shape()[i] != 1) strides[lead + i] = a.strides()[i];
  return strides;
}

// ---- elementwise

namespace {

void run_elementwise(const char* name, ElementwiseLaunch start, std::span<const Array* const> in,
                     std::span<Array* const> out) {
  Call call(name);
  std::array<const Array*, kMaxOperands> operands;
  std::copy(out.begin(), out.end(), std::copy(in.begin(), in.end(), operands.begin()));
  const std::size_t n = in.size() + out.size();
  ElementwiseArgs args{};
  std::array<bool, kMaxOperands> constant{};
  for (std::size_t k = 0; k < n; ++k)
    if (!(constant[k] = call.immediate(*operands[k], args.immediate[k]))) args.data[k] = call.data(*operands[k]);

  const auto space = space_of<kMaxOperands>(out[0]->shape(), {operands.data(), n}, static_cast<int>(in.size()));
  // Groups of 16 bytes of the widest type: they must not run over the end of a row, and start where they can.
  std::size_t item = 1;
  for (std::size_t k = 0; k < in.size(); ++k) item = std::max(item, size_of(operands[k]->dtype()));
  const std::int64_t group = static_cast<std::int64_t>(16 / item);
  bool packed = space.ndim() > 0 && (space.ndim() == 1 || space.axis(0).length % group == 0);
  for (std::size_t k = 0; k < n && packed; ++k) {
    if (constant[k]) continue;
    const std::int64_t inner = space.axis(0).stride[k];
    const bool broadcast = inner == 0 && k < in.size();
    if (broadcast) continue;
    const std::size_t bytes = static_cast<std::size_t>(group) * size_of(operands[k]->dtype());
    packed = inner == 1 && reinterpret_cast<std::uintptr_t>(operands[k]->bytes()) % bytes == 0;
    for (int a = 1; a < space.ndim(); ++a) packed = packed && space.axis(a).stride[k] % group == 0;
  }
  args.packed = packed;
  const std::array<void*, kMaxOperands> base = std::to_array(args.data);
  space.for_parts([&](const Loop<kMaxOperands>& loop, const std::int64_t (&offset)[kMaxOperands]) {
    args.loop = loop;
    for (std::size_t k = 0; k < n; ++k)
      if (base[k])
        args.data[k] =
            static_cast<std::byte*>(base[k]) + offset[k] * static_cast<std::int64_t>(size_of(operands[k]->dtype()));
    start(args, call.handle());
  });
  call.end();
}

}  // namespace

void CudaBackend::elementwise(int kernel, std::span<const Array* const> in, std::span<Array* const> out) {
  run_elementwise(kernel_name(kernel), elementwise_launch(kernel, in[0]->dtype()), in, out);
}

void CudaBackend::select(const Array& cond, const Array& a, const Array& b, Array& out) {
  const Array* in[] = {&cond, &a, &b};
  Array* outs[] = {&out};
  run_elementwise("where", select_launch(size_of(out.dtype())), in, outs);
}

// ---- copies

namespace {

std::size_t bytes_of(const Array& a) { return static_cast<std::size_t>(a.size()) * size_of(a.dtype()); }

// A matrix read along one axis and written along another: through shared memory, so that both are in whole lines.
bool transposed(const Call& call, const Space<2>& space, const Array& in, Array& out) {
  if (space.ndim() < 2 || space.axis(0).stride[0] != 1 || in.dtype() != out.dtype()) return false;
  int along = 0;
  for (int a = 1; a < space.ndim(); ++a)
    if (space.axis(a).stride[1] == 1 && space.axis(a).length >= 8) along = a;
  if (along == 0 || space.axis(0).length < 8 || space.axis(0).stride[1] <= 1) return false;
  TransposeArgs args{};
  args.rows = space.axis(along).length;
  args.columns = space.axis(0).length;
  args.out_pitch = space.axis(along).stride[0];
  args.in_pitch = space.axis(0).stride[1];
  Space<2> matrices;
  for (int a = 1; a < space.ndim(); ++a)
    if (a != along) matrices.add(space.axis(a));
  auto* to = static_cast<std::byte*>(call.data(out));
  auto* from = static_cast<std::byte*>(call.data(in));
  const auto item = static_cast<std::int64_t>(size_of(in.dtype()));
  matrices.for_parts([&](const Loop<2>& loop, const std::int64_t (&offset)[2]) {
    args.matrices = loop;
    args.out = to + offset[0] * item;
    args.in = from + offset[1] * item;
    start_transpose(size_of(in.dtype()), args, call.handle());
  });
  return true;
}

void copy_on_device(const Call& call, const Array& in, Array& out) {
  if (out.size() == 0) return;
  if (in.dtype() == out.dtype() && in.shape() == out.shape() && in.contiguous() && out.contiguous() && !in.on_host())
    return call.stream().check(
        cudaMemcpyAsync(call.data(out), call.data(in), bytes_of(out), cudaMemcpyDeviceToDevice, call.handle()), "copy");
  CopyArgs args{};
  const bool constant = call.immediate(in, args.immediate);
  const Array* operands[] = {&out, &in};
  const auto space = space_of<2>(out.shape(), operands, 0);
  if (!constant && transposed(call, space, in, out)) return;
  const std::int64_t group = static_cast<std::int64_t>(16 / std::max(size_of(in.dtype()), size_of(out.dtype())));
  args.packed = space.ndim() > 0 && (space.ndim() == 1 || space.axis(0).length % group == 0);
  for (int k = 0; k < 2 && args.packed; ++k) {
    const std::int64_t inner = space.axis(0).stride[k];
    if (k == 1 && (constant || inner == 0)) continue;
    const std::size_t bytes = static_cast<std::size_t>(group) * size_of(operands[k]->dtype());
    args.packed = inner == 1 && reinterpret_cast<std::uintptr_t>(operands[k]->bytes()) % bytes == 0;
    for (int a = 1; a < space.ndim(); ++a) args.packed = args.packed && space.axis(a).stride[k] % group == 0;
  }
  auto* to = static_cast<std::byte*>(call.data(out));
  const auto* from = constant ? nullptr : static_cast<const std::byte*>(call.data(in));
  space.for_parts([&](const Loop<2>& loop, const std::int64_t (&offset)[2]) {
    args.loop = loop;
    args.out = to + offset[0] * static_cast<std::int64_t>(size_of(out.dtype()));
    args.in = from ? from + offset[1] * static_cast<std::int64_t>(size_of(in.dtype())) : nullptr;
    start_copy(out.dtype(), in.dtype(), args, call.handle());
  });
}

}  // namespace

void CudaBackend::copy(const Array& in, Array& out) {
  Call call("copy");
  if (out.on_host()) {
    if (in.on_host()) return backend(DeviceType::CPU).copy(in, out);
    if (out.size() == 0) return;
    // Laid out and converted here: the transfer is one stretch of bytes.
    Ref<Array> dense(const_cast<Array*>(&in));
    if (in.dtype() != out.dtype() || in.shape() != out.shape() || !in.contiguous()) {
      dense = empty({out.shape(), out.dtype(), in.aval().device});
      copy_on_device(call, in, *dense);
    }
    Ref<Array> arrived(&out);
    if (!out.contiguous()) arrived = empty(out.aval());
    const void* from = call.data(*dense);
    call.end();
    call.stream().download(arrived->bytes(), from, bytes_of(out));
    if (!out.contiguous()) backend(DeviceType::CPU).copy(*arrived, out);
    return;
  }
  if (in.on_host() && !in.is_host_constant() && in.size() > 0) {
    Ref<Array> dense(const_cast<Array*>(&in));
    if (!in.contiguous()) {
      dense = empty({in.shape(), in.dtype(), Device{}});
      backend(DeviceType::CPU).copy(in, *dense);
    }
    Ref<Array> arrived(&out);
    if (in.dtype() != out.dtype() || in.shape() != out.shape() || !out.contiguous())
      arrived = empty({in.shape(), in.dtype(), out.aval().device});
    void* to = call.data(*arrived);
    call.end();
    call.stream().upload(to, dense->bytes(), bytes_of(*dense));
    return arrived.get() != &out ? copy(*arrived, out) : call.stream().end();
  }
  copy_on_device(call, in, out);
  call.end();
}

// ---- numbers made from nothing

void CudaBackend::iota(double start, double step, Array& out) {
  if (out.size() == 0) return;
  Call call("iota");
  start_iota(out.dtype(), start, step, out.size(), out.ndim() ? out.strides()[0] : 1, call.data(out), call.handle());
  call.end();
}

void CudaBackend::random(Distribution d, std::uint64_t seed, Array& out) {
  if (out.size() == 0) return;
  Call call("random");
  start_random(out.dtype(), d == Distribution::Normal, seed, out.size(), call.data(out), call.handle());
  call.end();
}

}  // namespace evolute::cuda
