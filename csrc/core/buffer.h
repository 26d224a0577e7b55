// Memory: 64-byte-aligned blocks from a caching allocator, owned by reference-counted buffers.
#pragma once

#include <cstddef>
#include <functional>

#include "evolute/ref.h"

namespace evolute {

// A block of device memory, or memory of somebody else's kept alive by `release`.
class Buffer : public RefCounted {
 public:
  Buffer(void* data, std::size_t bytes, std::function<void()> release)
      : data_(data), bytes_(bytes), release_(std::move(release)) {}
  ~Buffer() override {
    if (release_) release_();
  }
  std::byte* data() const noexcept { return static_cast<std::byte*>(data_); }
  std::size_t bytes() const noexcept { return bytes_; }
  // Whether the host may read it.
  virtual bool on_host() const noexcept { return true; }

 protected:
  Buffer(void* data, std::size_t bytes) : data_(data), bytes_(bytes) {}

 private:
  void* data_;
  std::size_t bytes_;
  std::function<void()> release_;
};

// Small-object pool: fixed-size classes up to 512 bytes, cached per thread.
void* pool_allocate(std::size_t bytes);
void pool_free(void* p, std::size_t bytes) noexcept;

// Host block from the caching allocator. Throws std::bad_alloc.
Ref<Buffer> allocate_host(std::size_t bytes);

struct AllocatorStats {
  std::size_t live_bytes;    // handed out and not yet returned
  std::size_t cached_bytes;  // returned and kept for reuse
  std::size_t peak_bytes;    // highest live_bytes since the last reset
};
AllocatorStats allocator_stats();
void reset_peak_bytes();
void release_cached_memory();

}  // namespace evolute
