#include "core/buffer.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <mutex>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#endif
#endif
#ifndef ASAN_POISON_MEMORY_REGION
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

// Two kinds of memory go through here: pool objects (up to 512 bytes, classes 16 bytes apart) and host blocks (a
// 64-byte header, which is the Buffer itself, followed by the data). Both are kept for reuse in free lists of one size
// class each: pool objects and blocks of up to 64 KiB in a cache of the thread that frees them, larger blocks in one
// shared cache. A cache that would grow beyond its limit is emptied first: what it holds is then mostly sizes that are
// no longer in use. Memory may be freed on any thread.

namespace evolute {
namespace {

constexpr std::size_t kUnit = 64;  // alignment of data, and size of a block's header
constexpr std::size_t kPoolStep = 16;
constexpr std::size_t kPoolMax = 512;
constexpr int kPoolClasses = kPoolMax / kPoolStep;

// Classes of data size, in units: 1, 2, 3, 4, then four steps per power of two.
constexpr int class_of(std::size_t units) {
  if (units <= 4) return units == 0 ? 0 : static_cast<int>(units) - 1;
  const int log = std::bit_width(units - 1) - 1;  // 2^log < units <= 2^(log+1)
  return 4 * (log - 1) + static_cast<int>((units - 1) >> (log - 2) & 3);
}
constexpr std::size_t units_in(int size_class) {
  if (size_class < 4) return static_cast<std::size_t>(size_class) + 1;
  return (std::size_t{5} + size_class % 4) << (size_class / 4 - 1);
}
constexpr std::size_t data_bytes(int size_class) { return units_in(size_class) * kUnit; }

constexpr int kSmallClasses = class_of((64 << 10) / kUnit) + 1;
constexpr std::size_t kLargestBlock = std::size_t{1} << 40;  // in bytes of data; refused beyond
constexpr int kClasses = class_of(kLargestBlock / kUnit) + 1;
static_assert(class_of(5) == 4 && units_in(4) == 5 && class_of(17) == 12 && units_in(12) == 20);
static_assert(data_bytes(kSmallClasses - 1) == 64 << 10);

struct FreeNode {
  FreeNode* next;
};

// What a free node does not need is poisoned while it waits, so that sanitizers see a use after free.
void push(FreeNode*& list, void* p, std::size_t bytes) noexcept {
  list = new (p) FreeNode{list};
  ASAN_POISON_MEMORY_REGION(list + 1, bytes - sizeof(FreeNode));
}
void* pop(FreeNode*& list, std::size_t bytes) noexcept {
  FreeNode* p = list;
  list = p->next;
  ASAN_UNPOISON_MEMORY_REGION(p + 1, bytes - sizeof(FreeNode));
  return p;
}

void* system_allocate(std::size_t bytes, std::size_t align) {
  const auto allocate = [&] {
    // Plain malloc beneath is faster than its aligned relatives.
    return align <= __STDCPP_DEFAULT_NEW_ALIGNMENT__ ? ::operator new(bytes)
                                                     : ::operator new(bytes, std::align_val_t{align});
  };
  try {
    return allocate();
  } catch (const std::bad_alloc&) {
    release_cached_memory();
    return allocate();
  }
}
void system_free(void* p, std::size_t align) noexcept {
  if (align <= __STDCPP_DEFAULT_NEW_ALIGNMENT__)
    ::operator delete(p);
  else
    ::operator delete(p, std::align_val_t{align});
}

void clear(FreeNode*& list, std::size_t bytes, std::size_t align) noexcept {
  while (list) system_free(pop(list, bytes), align);
}

// A counter that one thread writes and others may read.
class Counter {
 public:
  std::int64_t get() const noexcept { return v_.load(std::memory_order_relaxed); }
  void set(std::int64_t x) noexcept { v_.store(x, std::memory_order_relaxed); }

 private:
  std::atomic<std::int64_t> v_{0};
};

struct ThreadCache {
  std::array<FreeNode*, kPoolClasses> pool{};
  std::array<FreeNode*, kSmallClasses> blocks{};
  std::int64_t limit = 0;
  Counter cached;
  // Bytes handed out minus bytes returned on this thread, and their maximum, since they were last added to Shared.
  Counter live, live_max;
  ThreadCache* next = nullptr;

  void clear() noexcept {
    for (int c = 0; c < kPoolClasses; ++c) evolute::clear(pool[c], (c + 1) * kPoolStep, kPoolStep);
    for (int c = 0; c < kSmallClasses; ++c) evolute::clear(blocks[c], kUnit + data_bytes(c), kUnit);
    cached.set(0);
  }
  bool has_room(std::size_t bytes) const noexcept { return cached.get() + static_cast<std::int64_t>(bytes) <= limit; }
  inline void add_live(std::int64_t bytes) noexcept;
};

struct Shared {
  std::mutex mutex;  // guards the three members below
  std::array<FreeNode*, kClasses> blocks{};
  std::int64_t cached = 0;
  ThreadCache* threads = nullptr;

  std::int64_t limit = 0;
  std::atomic<std::int64_t> live{0}, peak{0};

  Shared() {
    const std::int64_t pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    limit = pages > 0 && page > 0 ? pages / 4 * page : std::int64_t{1} << 30;
    pthread_atfork([] { get().mutex.lock(); }, [] { get().mutex.unlock(); }, [] { get().mutex.unlock(); });
  }
  // Never destroyed: objects with static storage may free memory after every destructor here has run.
  static Shared& get() {
    static Shared& instance = *new Shared;
    return instance;
  }
  void clear() noexcept {
    for (int c = 0; c < kClasses; ++c) evolute::clear(blocks[c], kUnit + data_bytes(c), kUnit);
    cached = 0;
  }
  void add_live(std::int64_t bytes, std::int64_t highest) noexcept {
    const std::int64_t top = live.fetch_add(bytes, std::memory_order_relaxed) + highest;
    std::int64_t seen = peak.load(std::memory_order_relaxed);
    while (seen < top && !peak.compare_exchange_weak(seen, top, std::memory_order_relaxed)) {
    }
  }
};

void ThreadCache::add_live(std::int64_t bytes) noexcept {
  constexpr std::int64_t kFlush = 64 << 10;
  const std::int64_t now = live.get() + bytes;
  live.set(now);
  if (now > live_max.get()) live_max.set(now);
  if (now > kFlush || now < -kFlush) {
    const std::int64_t highest = live_max.get();
    live.set(0);
    live_max.set(0);
    Shared::get().add_live(now, highest);
  }
}

// Stand-ins for the cache of a thread that has none yet, or no longer: always empty, always full.
constinit ThreadCache not_attached, detached;

// As for `thread_state`, see core/level.h.
#if defined(__GLIBC__)
[[gnu::tls_model("initial-exec")]]
#endif
constinit thread_local ThreadCache* this_cache = &not_attached;

struct DetachAtExit {
  ~DetachAtExit() {
    ThreadCache* cache = this_cache;
    this_cache = &detached;
    cache->clear();
    Shared& shared = Shared::get();
    {
      std::lock_guard lock(shared.mutex);
      ThreadCache** p = &shared.threads;
      while (*p != cache) p = &(*p)->next;
      *p = cache->next;
      shared.add_live(cache->live.get(), cache->live_max.get());
    }
    delete cache;
  }
};

// The thread's cache; created at its first use, null when the thread is ending.
ThreadCache* attached_cache() {
  if (this_cache == &not_attached) {
    constexpr std::int64_t kThreadLimit = 16 << 20;
    Shared& shared = Shared::get();
    ThreadCache* cache = new ThreadCache;
    cache->limit = kThreadLimit;
    static thread_local DetachAtExit at_exit;
    {
      std::lock_guard lock(shared.mutex);
      cache->next = std::exchange(shared.threads, cache);
    }
    this_cache = cache;
  }
  return this_cache == &detached ? nullptr : this_cache;
}

void add_live(std::int64_t bytes) noexcept {
  if (this_cache != &not_attached && this_cache != &detached)
    this_cache->add_live(bytes);
  else
    Shared::get().add_live(bytes, std::max<std::int64_t>(bytes, 0));
}

[[gnu::noinline]] void* block_from_system(int size_class) {
  attached_cache();
  return system_allocate(kUnit + data_bytes(size_class), kUnit);
}

void* large_block(int size_class) {
  Shared& shared = Shared::get();
  {
    std::lock_guard lock(shared.mutex);
    if (FreeNode*& list = shared.blocks[size_class]) {
      shared.cached -= kUnit + data_bytes(size_class);
      return pop(list, kUnit + data_bytes(size_class));
    }
  }
  return block_from_system(size_class);
}

void free_large_block(void* p, int size_class) noexcept {
  const auto bytes = static_cast<std::int64_t>(kUnit + data_bytes(size_class));
  Shared& shared = Shared::get();
  if (bytes > shared.limit) return system_free(p, kUnit);
  std::lock_guard lock(shared.mutex);
  if (shared.cached + bytes > shared.limit) shared.clear();
  shared.cached += bytes;
  push(shared.blocks[size_class], p, bytes);
}

// Called with a full cache, or with a stand-in for one: returns one with room, or null.
[[gnu::noinline]] ThreadCache* make_room(std::size_t bytes) noexcept {
  try {
    ThreadCache* cache = attached_cache();
    if (cache && !cache->has_room(bytes)) cache->clear();
    return cache;
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

void free_block(void* p, std::size_t requested) noexcept {
  const int size_class = class_of((requested + kUnit - 1) / kUnit);
  const std::size_t bytes = kUnit + data_bytes(size_class);
  if (size_class >= kSmallClasses) {
    free_large_block(p, size_class);
  } else {
    ThreadCache* cache = this_cache;
    if (!cache->has_room(bytes)) cache = make_room(bytes);
    if (cache) {
      cache->cached.set(cache->cached.get() + bytes);
      push(cache->blocks[size_class], p, bytes);
    } else {
      system_free(p, kUnit);
    }
  }
  add_live(-static_cast<std::int64_t>(data_bytes(size_class)));
}

// A Buffer that is the header of its own block.
class HostBuffer final : public Buffer {
 public:
  explicit HostBuffer(std::size_t bytes) : Buffer(reinterpret_cast<std::byte*>(this) + kUnit, bytes) {}
  static void operator delete(HostBuffer* p, std::destroying_delete_t) {
    const std::size_t bytes = p->bytes();
    p->~HostBuffer();
    free_block(p, bytes);
  }
};
static_assert(sizeof(HostBuffer) <= kUnit);

}  // namespace

Ref<Buffer> allocate_host(std::size_t bytes) {
  if (bytes > kLargestBlock) throw std::bad_alloc();
  const int size_class = class_of((bytes + kUnit - 1) / kUnit);
  void* block;
  if (size_class >= kSmallClasses) {
    block = large_block(size_class);
  } else {
    ThreadCache* cache = this_cache;
    if (FreeNode*& list = cache->blocks[size_class]) {
      cache->cached.set(cache->cached.get() - static_cast<std::int64_t>(kUnit + data_bytes(size_class)));
      block = pop(list, kUnit + data_bytes(size_class));
    } else {
      block = block_from_system(size_class);
    }
  }
  add_live(static_cast<std::int64_t>(data_bytes(size_class)));
  return Ref<Buffer>(::new (block) HostBuffer(bytes));
}

void* pool_allocate(std::size_t bytes) {
  if (bytes > kPoolMax) return ::operator new(bytes);
  const std::size_t index = bytes ? (bytes - 1) / kPoolStep : 0, size = (index + 1) * kPoolStep;
  ThreadCache* cache = this_cache;
  if (FreeNode*& list = cache->pool[index]) {
    cache->cached.set(cache->cached.get() - static_cast<std::int64_t>(size));
    return pop(list, size);
  }
  return system_allocate(size, kPoolStep);
}

void pool_free(void* p, std::size_t bytes) noexcept {
  if (bytes > kPoolMax) return ::operator delete(p);
  const std::size_t index = bytes ? (bytes - 1) / kPoolStep : 0, size = (index + 1) * kPoolStep;
  ThreadCache* cache = this_cache;
  if (!cache->has_room(size)) cache = make_room(size);
  if (!cache) return system_free(p, kPoolStep);
  cache->cached.set(cache->cached.get() + static_cast<std::int64_t>(size));
  push(cache->pool[index], p, size);
}

AllocatorStats allocator_stats() {
  Shared& shared = Shared::get();
  std::lock_guard lock(shared.mutex);
  std::int64_t live = shared.live.load(std::memory_order_relaxed), peak = live, cached = shared.cached;
  for (ThreadCache* t = shared.threads; t; t = t->next) {
    live += t->live.get();
    peak += t->live_max.get();
    cached += t->cached.get();
  }
  peak = std::max({peak, live, shared.peak.load(std::memory_order_relaxed)});
  const auto bytes = [](std::int64_t x) { return static_cast<std::size_t>(std::max<std::int64_t>(x, 0)); };
  return {bytes(live), bytes(cached), bytes(peak)};
}

void reset_peak_bytes() {
  Shared& shared = Shared::get();
  std::lock_guard lock(shared.mutex);
  shared.peak.store(0, std::memory_order_relaxed);
  for (ThreadCache* t = shared.threads; t; t = t->next) t->live_max.set(t->live.get());
}

// Caches of other threads are theirs alone: only the calling thread's and the shared one are emptied.
void release_cached_memory() {
  if (this_cache != &not_attached && this_cache != &detached) this_cache->clear();
  Shared& shared = Shared::get();
  std::lock_guard lock(shared.mutex);
  shared.clear();
}

}  // namespace evolute
