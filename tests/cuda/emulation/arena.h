// What the parts of the emulation share: device memory, and what kernels complain about.
#pragma once

#include <map>
#include <string>

#include "emulation.h"

namespace evolute::cuda::emulation {

enum Shadow : std::uint8_t { kFree = 0, kUninitialised = 1, kInitialised = 2 };

inline constexpr std::size_t kArena = std::size_t{256} << 30;  // of addresses; memory comes when it is touched

struct Arena {
  std::byte* base;
  std::uint8_t* shadow;
  std::size_t total = std::size_t{2} << 30, used = 0;
  std::map<std::size_t, std::size_t> blocks;  // offset → bytes
  // EVOLUTE_EMULATED_SAMPLE: of a kernel with more blocks than that, so many run. For arrays that are larger than the
  // host's memory: of those, only what lies outside of allocations is found, not what nobody has written.
  int sample = 0;

  Arena();
  static Arena& get();
  bool contains(const void* p) const { return p >= base && static_cast<const std::byte*>(p) < base + kArena; }
  bool allocated(const volatile void* p, std::size_t bytes) const;
  std::uint8_t* shadow_of(const volatile void* p) const {
    return shadow + (static_cast<const volatile std::byte*>(p) - base);
  }
};

extern thread_local std::string failure;  // the first one of what is running
bool fail(const std::string& what);       // false
// Throws std::logic_error if something has failed.
void throw_failure(const char* where);

void run_blocks(const char* kernel, dim3 grid, dim3 block, const std::function<void()>& body);

}  // namespace evolute::cuda::emulation
