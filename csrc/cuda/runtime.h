// Streams, device memory and errors.
//
// Each thread has a stream. Memory belongs to the stream that it was allocated for, where it can be used again at once:
// whatever still works on it comes before. A buffer remembers the stream that used it last, and changes over in order.
#pragma once

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

// What may not be thrown away while others are recorded that use it.
class Capture;

class Stream {
 public:
  Stream();
  cudaStream_t handle() const { return handle_; }
  Fault* fault() const { return fault_; }
  Capture* capture = nullptr;  // set while this stream is recorded

  // Notes what is being asked for, to name it where something goes wrong.
  void begin(const char* op);
  // After its last launch. Throws DeviceError if one was refused; waits if the environment says so.
  void end();
  // Waits, and throws what went wrong: DeviceError, or IndexError.
  void synchronize();
  // What runs here from now on waits for what `other` has been asked for.
  void wait_for(cudaStream_t other);
  void wait_for(Stream& other) { wait_for(other.handle_); }

  // Between host memory, of any kind, and the device, through pinned memory. The first returns when `from` may change,
  // the second when the data has arrived.
  void upload(void* to, const void* from, std::size_t bytes);
  void download(void* to, const void* from, std::size_t bytes);

 private:
  struct Staging {
    void* memory = nullptr;
    cudaEvent_t done;
  };
  static constexpr std::size_t kStaging = 4 << 20;
  Staging& staging();

  cudaStream_t handle_;
  cudaEvent_t event_;
  Fault* fault_;
  Staging staging_[2];
  int next_ = 0;
  std::vector<const char*> asked_;  // since the stream was waited for, each name once
};

// The stream of this thread.
Stream& this_stream();

// Throws DeviceError.
void check(cudaError_t e, const char* what);

// Device memory on this thread's stream. Throws DeviceError when there is none left.
Ref<Buffer> allocate_device(std::size_t bytes);
Ref<Buffer> adopt_device(void* data, std::size_t bytes, std::function<void()> release);
// Orders this thread's stream behind whatever else used the buffer.
void use(const Buffer& buffer, Stream& stream);
void release_cached_device_memory();

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
Ref<Replay> record_stream(const std::function<void()>& work);

// What there is, or DeviceError saying what is missing.
struct DeviceInfo {
  std::string name;
  int major, minor, processors;
};
const DeviceInfo& device_info();

}  // namespace evolute::cuda
