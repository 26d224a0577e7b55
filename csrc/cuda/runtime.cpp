#include "cuda/runtime.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace evolute::cuda {

namespace {

bool waits_always() {
  static const bool always = [] {
    const char* text = std::getenv("EVOLUTE_CUDA_BLOCKING");
    return text && *text && *text != '0';
  }();
  return always;
}

}  // namespace

void check(cudaError_t e, const char* what) {
  if (e == cudaSuccess) return;
  cudaGetLastError();  // it has been told
  throw DeviceError(cat(what, ": CUDA says: ", cudaGetErrorString(e)));
}

const DeviceInfo& device_info() {
  static const DeviceInfo info = [] {
    int driver = 0, devices = 0;
    const cudaError_t e = cudaGetDeviceCount(&devices);
    cudaDriverGetVersion(&driver);
    cudaGetLastError();
    if (driver == 0) throw DeviceError("no CUDA driver is installed (libcuda.so.1 is missing)");
    if (e == cudaErrorInsufficientDriver)
      throw DeviceError(cat("the CUDA driver is too old: it is for CUDA ", driver / 1000, ".", driver % 1000 / 10,
                            "; install a newer one"));
    if (e != cudaSuccess || devices == 0)
      throw DeviceError(cat("there is no CUDA device", e == cudaSuccess || e == cudaErrorNoDevice
                                                           ? std::string()
                                                           : cat(" (", cudaGetErrorString(e), ")")));
    cudaDeviceProp p;
    check(cudaGetDeviceProperties(&p, 0), "looking for a device");
    if (p.major < 8)
      throw DeviceError(cat("the CUDA device ", p.name, " has compute capability ", p.major, ".", p.minor,
                            "; the kernels need 8.0 or newer"));
    check(cudaSetDevice(0), "choosing the device");
    return DeviceInfo{p.name, p.major, p.minor, p.multiProcessorCount};
  }();
  return info;
}

// ---- streams

Stream::Stream() {
  check(cudaStreamCreateWithFlags(&handle_, cudaStreamNonBlocking), "making a stream");
  check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "making an event");
  check(cudaHostAlloc(reinterpret_cast<void**>(&fault_), sizeof(Fault), cudaHostAllocMapped), "pinning memory");
  std::memset(fault_, 0, sizeof(Fault));
}

void Stream::begin(const char* op) {
  if (std::find(asked_.begin(), asked_.end(), op) == asked_.end()) asked_.push_back(op);
}

void Stream::end() {
  if (const cudaError_t e = cudaGetLastError(); e != cudaSuccess) {
    const char* op = asked_.empty() ? "" : asked_.back();
    throw DeviceError(cat(op, ": CUDA refused a launch: ", cudaGetErrorString(e)));
  }
  if (waits_always() && !capture) synchronize();
}

void Stream::synchronize() {
  const cudaError_t e = cudaStreamSynchronize(handle_);
  const std::vector<const char*> asked = std::exchange(asked_, {});
  if (e != cudaSuccess) {
    cudaGetLastError();
    std::string names;
    for (const char* name : asked) names += (names.empty() ? "" : ", ") + std::string(name);
    throw DeviceError(cat("an operation on the GPU failed: ", cudaGetErrorString(e),
                          "; asked for since the last wait: ", names,
                          ". Set EVOLUTE_CUDA_BLOCKING=1 to learn which one it was"));
  }
  if (fault_->set) {
    const Fault f = *fault_;
    std::memset(fault_, 0, sizeof(Fault));
    throw IndexError(cat(f.scatter ? "scatter" : "gather", ": index ", f.index, " is out of range for axis ", f.axis,
                         " of length ", f.length));
  }
}

void Stream::wait_for(cudaStream_t other) {
  check(cudaEventRecord(event_, other), "ordering streams");
  check(cudaStreamWaitEvent(handle_, event_), "ordering streams");
}

Stream::Staging& Stream::staging() {
  Staging& s = staging_[next_];
  next_ = 1 - next_;
  if (!s.memory) {
    check(cudaHostAlloc(&s.memory, kStaging, 0), "pinning memory");
    check(cudaEventCreateWithFlags(&s.done, cudaEventDisableTiming), "making an event");
  } else {
    while (cudaEventQuery(s.done) == cudaErrorNotReady) {
    }
  }
  return s;
}

void Stream::upload(void* to, const void* from, std::size_t bytes) {
  for (std::size_t at = 0; at < bytes; at += kStaging) {
    const std::size_t n = std::min(kStaging, bytes - at);
    Staging& s = staging();
    std::memcpy(s.memory, static_cast<const std::byte*>(from) + at, n);
    check(cudaMemcpyAsync(static_cast<std::byte*>(to) + at, s.memory, n, cudaMemcpyHostToDevice, handle_),
          "copying to the device");
    check(cudaEventRecord(s.done, handle_), "copying to the device");
  }
}

void Stream::download(void* to, const void* from, std::size_t bytes) {
  // The next piece is on its way while the last one is unpacked.
  Staging* arriving = nullptr;
  std::size_t before = 0, length = 0;
  const auto unpack = [&] {
    if (!arriving) return;
    while (cudaEventQuery(arriving->done) == cudaErrorNotReady) {
    }
    std::memcpy(static_cast<std::byte*>(to) + before, arriving->memory, length);
  };
  for (std::size_t at = 0; at < bytes; at += kStaging) {
    const std::size_t n = std::min(kStaging, bytes - at);
    Staging& s = staging();
    check(cudaMemcpyAsync(s.memory, static_cast<const std::byte*>(from) + at, n, cudaMemcpyDeviceToHost, handle_),
          "copying to the host");
    check(cudaEventRecord(s.done, handle_), "copying to the host");
    unpack();
    arriving = &s, before = at, length = n;
  }
  synchronize();
  unpack();
}

namespace {

// Streams of threads that have ended serve new ones.
struct StreamPool {
  std::mutex mutex;
  std::vector<Stream*> free;
  static StreamPool& get() {
    static StreamPool& pool = *new StreamPool;
    return pool;
  }
};

struct ThreadStream {
  Stream* stream = nullptr;
  ~ThreadStream() {
    if (!stream) return;
    std::lock_guard lock(StreamPool::get().mutex);
    StreamPool::get().free.push_back(stream);
  }
};

}  // namespace

Stream& this_stream() {
  static thread_local ThreadStream mine;
  if (!mine.stream) {
    check(cudaSetDevice(0), "choosing the device");  // also for the driver's own interface, which chooses none
    StreamPool& pool = StreamPool::get();
    std::lock_guard lock(pool.mutex);
    if (pool.free.empty()) {
      mine.stream = new Stream;
    } else {
      mine.stream = pool.free.back();
      pool.free.pop_back();
    }
  }
  return *mine.stream;
}

}  // namespace evolute::cuda
