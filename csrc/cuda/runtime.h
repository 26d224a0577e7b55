// Streams, device memory and errors.
//
// Each thread has a stream. Memory belongs to the stream that it was allocated for, where it can be used again at once:
// whatever still works on it comes before. A buffer remembers the stream that used it last, and changes over in order.
#pragma once

#include <deque>
#include <mutex>
#include <string>
#include <vector>

#include "core/backend.h"
#include "cuda/device.h"

namespace evolute::cuda {

// What a kernel has to complain about, in memory that the host sees. The first complaint stays.
struct Fault {
  int set;
  int scatter;  // or gather
  int axis;
  long long index, length;
};

// Threads ask for work one after the other: when a stream is noted to use a buffer, it has been asked to do so before
// others order theirs behind it; and none is ordered behind a stream that is being recorded. Whoever has its turn may
// not wait for Python's lock.
class Turn {
 public:
  Turn() { mutex().lock(), ++depth; }
  ~Turn() { end(); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  void end() {
    if (!ended_) --depth, mutex().unlock();
    ended_ = true;
  }
  static bool is_mine() { return depth > 0; }

 private:
  static std::recursive_mutex& mutex();
  static inline thread_local int depth = 0;
  bool ended_ = false;
};

// What may not be thrown away while others are recorded that use it.
class Capture;

class Stream {
 public:
  Stream();
  cudaStream_t handle() const { return handle_; }
  Fault* fault() const { return fault_; }
  Capture* capture = nullptr;  // set while this stream is recorded

  // Notes what is being asked for, to name it where something goes wrong. `op` lives as long as the process.
  void begin(const char* op);
  // After its last launch. Throws DeviceError if one was refused; waits if the environment says so.
  void end();
  // Throws DeviceError: `what` was refused, or something that was asked for before has failed.
  void check(cudaError_t e, const char* what);
  // Waits, and throws what went wrong: DeviceError, or IndexError.
  void synchronize();
  // What has been asked for since the stream was waited for, each name once; and puts other names in their place.
  std::vector<const char*> swap_asked(std::vector<const char*> names) {
    return std::exchange(asked_, std::move(names));
  }
  // What runs here from now on waits for what `other` has been asked for.
  void wait_for(cudaStream_t other);
  void wait_for(Stream& other) { wait_for(other.handle_); }

  // Between host memory, of any kind, and the device, through pinned memory. The first returns when `from` may change,
  // the second when the data has arrived.
  void upload(void* to, const void* from, std::size_t bytes);
  void download(void* to, const void* from, std::size_t bytes);

 private:
  // Pinned memory, given out in a ring: a piece is free again when what uses it is done.
  struct Piece {
    std::size_t begin, end;
    cudaEvent_t done;
  };
  static constexpr std::size_t kRing = 8 << 20, kPiece = kRing / 2;
  Piece& take_piece(std::size_t bytes);
  [[noreturn]] void fail(cudaError_t e);

  cudaStream_t handle_;
  cudaEvent_t event_;
  Fault* fault_;
  std::byte* ring_ = nullptr;
  std::size_t next_ = 0;
  std::deque<Piece> in_use_;  // oldest first
  std::vector<cudaEvent_t> spare_;
  std::vector<const char*> asked_;
  const char* last_asked_ = "";
};

// The stream of this thread.
Stream& this_stream();

// Throws DeviceError. For what concerns no stream.
void check(cudaError_t e, const char* what);

// Device memory on this thread's stream. Throws DeviceError when there is none left.
Ref<Buffer> allocate_device(std::size_t bytes);
Ref<Buffer> adopt_device(void* data, std::size_t bytes, std::function<void()> release);
// Orders this thread's stream behind whatever else used the buffer.
void use(const Buffer& buffer, Stream& stream);

// Working memory of a kernel for as long as it is in scope.
template <class T>
class Workspace {
 public:
  explicit Workspace(std::int64_t n) : buffer_(allocate_device(static_cast<std::size_t>(n) * sizeof(T))) {}
  T* get() const { return reinterpret_cast<T*>(buffer_->data()); }

 private:
  Ref<Buffer> buffer_;
};

// Records what this thread's stream is asked for. Null if that cannot be recorded; then it has been run all the same.
Ref<Replay> record_stream(const std::function<void()>& work, std::span<const Array* const> operands);

// What there is, or DeviceError saying what is missing.
struct DeviceInfo {
  std::string name;
  int major, minor, processors;
};
const DeviceInfo& device_info();

}  // namespace evolute::cuda
