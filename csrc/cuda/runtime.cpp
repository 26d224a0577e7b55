#include "cuda/runtime.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace evolute::cuda {

static bool waits_always() {
  static const bool always = [] {
    const char* text = std::getenv("EVOLUTE_CUDA_BLOCKING");
    return text && *text && *text != '0';
  }();
  return always;
}

std::recursive_mutex& Turn::mutex() {
  static std::recursive_mutex& instance = *new std::recursive_mutex;
  return instance;
}

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
  last_asked_ = op;
  if (std::find(asked_.begin(), asked_.end(), op) == asked_.end()) asked_.push_back(op);
}

void Stream::end() {
  check(cudaGetLastError(), last_asked_);
  if (waits_always() && !capture) synchronize();
}

void Stream::check(cudaError_t e, const char* what) {
  if (e == cudaSuccess) return;
  cudaGetLastError();  // it has been told
  const cudaError_t before = capture ? cudaSuccess : cudaStreamQuery(handle_);
  if (before != cudaSuccess && before != cudaErrorNotReady) fail(before);
  throw DeviceError(cat(what, ": CUDA refused it: ", cudaGetErrorString(e)));
}

// A kernel has failed. CUDA does nothing more for the process: whoever asks is told what it was.
void Stream::fail(cudaError_t e) {
  static const std::string message = [&] {
    std::string names;
    for (const char* name : asked_) names += (names.empty() ? "" : ", ") + std::string(name);
    return cat("an operation on the GPU failed: ", cudaGetErrorString(e), "; asked for since the last wait: ", names,
               waits_always() ? "" : ". Set EVOLUTE_CUDA_BLOCKING=1 to learn which one it was",
               ". This process cannot use the GPU any more");
  }();
  throw DeviceError(message);
}

void Stream::synchronize() {
  const cudaError_t e = cudaStreamSynchronize(handle_);
  if (e != cudaSuccess) fail(e);
  asked_.clear();
  if (fault_->set) {
    const Fault f = *fault_;
    std::memset(fault_, 0, sizeof(Fault));
    throw IndexError(cat(f.scatter ? "scatter" : "gather", ": index ", f.index, " is out of range for axis ", f.axis,
                         " of length ", f.length));
  }
}

void Stream::wait_for(cudaStream_t other) {
  check(cudaEventRecord(event_, other), "ordering streams");
  check(cudaStreamWaitEvent(handle_, event_, 0), "ordering streams");
}

Stream::Piece& Stream::take_piece(std::size_t bytes) {
  if (!ring_) check(cudaHostAlloc(reinterpret_cast<void**>(&ring_), kRing, 0), "pinning memory");
  if (next_ + bytes > kRing) next_ = 0;
  Piece piece{next_, next_ + bytes, nullptr};
  const auto in_the_way = [&](const Piece& p) { return p.begin < piece.end && piece.begin < p.end; };
  while (!in_use_.empty()) {
    const Piece& oldest = in_use_.front();
    if (std::any_of(in_use_.begin(), in_use_.end(), in_the_way))
      check(cudaEventSynchronize(oldest.done), "waiting for a transfer");
    else if (cudaEventQuery(oldest.done) == cudaErrorNotReady)
      break;
    spare_.push_back(oldest.done);
    in_use_.pop_front();
  }
  if (spare_.empty()) {
    check(cudaEventCreateWithFlags(&piece.done, cudaEventDisableTiming), "making an event");
  } else {
    piece.done = spare_.back();
    spare_.pop_back();
  }
  next_ = piece.end;
  return in_use_.emplace_back(piece);
}

void Stream::upload(void* to, const void* from, std::size_t bytes) {
  for (std::size_t at = 0; at < bytes; at += kPiece) {
    const std::size_t n = std::min(kPiece, bytes - at);
    const Piece& piece = take_piece(n);
    std::memcpy(ring_ + piece.begin, static_cast<const std::byte*>(from) + at, n);
    check(cudaMemcpyAsync(static_cast<std::byte*>(to) + at, ring_ + piece.begin, n, cudaMemcpyHostToDevice, handle_),
          "copying to the device");
    check(cudaEventRecord(piece.done, handle_), "copying to the device");
  }
}

void Stream::download(void* to, const void* from, std::size_t bytes) {
  // The next piece is on its way while the last one is unpacked.
  Piece arriving{};
  std::size_t before = 0;
  next_ = 0;  // so that pieces lie beside each other
  const auto unpack = [&] {
    if (arriving.begin == arriving.end) return;
    check(cudaEventSynchronize(arriving.done), "copying to the host");
    std::memcpy(static_cast<std::byte*>(to) + before, ring_ + arriving.begin, arriving.end - arriving.begin);
  };
  for (std::size_t at = 0; at < bytes; at += kPiece) {
    const std::size_t n = std::min(kPiece, bytes - at);
    const Piece piece = take_piece(n);
    check(cudaMemcpyAsync(ring_ + piece.begin, static_cast<const std::byte*>(from) + at, n, cudaMemcpyDeviceToHost,
                          handle_),
          "copying to the host");
    check(cudaEventRecord(piece.done, handle_), "copying to the host");
    unpack();
    arriving = piece, before = at;
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
