#include "emulation.h"

#include <sys/mman.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <vector>

// ---- device memory

namespace evolute::cuda::emulation {
namespace {

enum Shadow : std::uint8_t { kFree = 0, kUninitialised = 1, kInitialised = 2 };

constexpr std::size_t kArena = std::size_t{8} << 30;  // of addresses; memory comes when it is touched

struct Arena {
  std::mutex mutex;
  std::byte* base;
  std::uint8_t* shadow;
  std::size_t total = std::size_t{2} << 30, used = 0;
  std::map<std::size_t, std::size_t> blocks;  // offset → bytes

  Arena() {
    const auto map = [] {
      void* p = mmap(nullptr, kArena, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (p == MAP_FAILED) throw std::bad_alloc();
      return p;
    };
    base = static_cast<std::byte*>(map());
    shadow = static_cast<std::uint8_t*>(map());
    if (const char* bytes = std::getenv("EVOLUTE_EMULATED_BYTES")) total = std::strtoull(bytes, nullptr, 10);
  }
  static Arena& get() {
    static Arena& arena = *new Arena;
    return arena;
  }
  bool contains(const void* p) const { return p >= base && static_cast<const std::byte*>(p) < base + kArena; }
  std::uint8_t* shadow_of(const volatile void* p) const {
    return shadow + (static_cast<const volatile std::byte*>(p) - base);
  }
};

thread_local std::string failure;       // the first one of a launch
thread_local const char* running = "";  // the kernel

bool fail(const std::string& what) {
  if (failure.empty()) failure = what;
  return false;
}

}  // namespace

bool check_aligned(const volatile void* p, std::size_t bytes) {
  return reinterpret_cast<std::uintptr_t>(p) % bytes == 0 ||
         fail("an access of " + std::to_string(bytes) + " bytes that is not aligned");
}

bool check(const volatile void* p, std::size_t bytes, bool write) {
  Arena& arena = Arena::get();
  if (!arena.contains(const_cast<const void*>(p)))
    return fail("an access of " + std::to_string(bytes) + " bytes outside of device memory");
  std::uint8_t* state = arena.shadow_of(p);
  for (std::size_t i = 0; i < bytes; ++i) {
    if (state[i] == kFree)
      return fail(std::string(write ? "a write" : "a read") + " of " + std::to_string(bytes) +
                  " bytes outside of all allocations");
    if (write)
      state[i] = kInitialised;
    else if (state[i] == kUninitialised)
      return fail("a read of " + std::to_string(bytes) + " bytes that nobody has written");
  }
  return true;
}

}  // namespace evolute::cuda::emulation

namespace evolute::cuda {

void mark_allocated(void* p, std::size_t bytes) {
  std::memset(emulation::Arena::get().shadow_of(p), emulation::kUninitialised, bytes);
}
void mark_freed(void* p, std::size_t bytes) {
  std::memset(emulation::Arena::get().shadow_of(p), emulation::kFree, bytes);
}

}  // namespace evolute::cuda

// ---- fibres

namespace evolute::cuda::emulation {

thread_local constinit Place place;

namespace {

constexpr std::size_t kStack = 128 << 10;

#if defined(__x86_64__)
extern "C" void evolute_switch_fibre(void** from, void* to);
asm(R"(
.text
.type evolute_switch_fibre, @function
evolute_switch_fibre:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size evolute_switch_fibre, .-evolute_switch_fibre
)");
#else
#error "the emulation's fibres are written for x86-64"
#endif

struct Stack {
  std::byte* base = static_cast<std::byte*>(
      mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
};

struct Warp {
  int alive = 0, arrived = 0;
  unsigned generation = 0;
  std::uint64_t slot[2][32];  // of even and odd generations: a lane may be one ahead of another
};

enum class Waits : std::uint8_t { No, Block, Warp };

struct Fibre {
  void* sp = nullptr;
  int stack = -1;
  Waits waits = Waits::No;
  unsigned generation = 0;  // of what it waits for
  bool ended = false;
};

// One block at a time on each host thread.
struct Block {
  const std::function<void()>* body = nullptr;
  std::vector<Stack> stacks;
  std::vector<int> free_stacks;
  std::vector<Fibre> fibres;
  std::vector<Warp> warps;
  int current = 0, alive = 0, arrived = 0;
  unsigned generation = 0;
  void* scheduler = nullptr;
  alignas(128) std::byte shared[96 << 10];

  Warp& warp() { return warps[static_cast<std::size_t>(current) / 32]; }

  void yield(Waits waits, unsigned generation) {
    Fibre& f = fibres[static_cast<std::size_t>(current)];
    f.waits = waits;
    f.generation = generation;
    evolute_switch_fibre(&f.sp, scheduler);
  }
};

Block& block() {
  static thread_local std::unique_ptr<Block> b = std::make_unique<Block>();
  return *b;
}

void enter() {
  Block& b = block();
  (*b.body)();
  Fibre& f = b.fibres[static_cast<std::size_t>(b.current)];
  f.ended = true;
  // Those who wait for this one go on without it.
  if (--b.alive > 0 && b.arrived == b.alive) b.arrived = 0, ++b.generation;
  Warp& w = b.warp();
  if (--w.alive > 0 && w.arrived == w.alive) w.arrived = 0, ++w.generation;
  void* unused;
  evolute_switch_fibre(&unused, b.scheduler);
}

void start(Block& b, Fibre& f) {
  if (b.free_stacks.empty()) {
    b.free_stacks.push_back(static_cast<int>(b.stacks.size()));
    b.stacks.emplace_back();
  }
  f.stack = b.free_stacks.back();
  b.free_stacks.pop_back();
  auto** top = reinterpret_cast<void**>(b.stacks[static_cast<std::size_t>(f.stack)].base + kStack);
  *--top = nullptr;  // where `enter` would return to; keeps the stack aligned as after a call
  *--top = reinterpret_cast<void*>(enter);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  f.sp = top;
}

dim3 unflatten(unsigned i, dim3 size) { return {i % size.x, i / size.x % size.y, i / size.x / size.y}; }

void run_block(Block& b, dim3 size) {
  const unsigned n = size.x * size.y * size.z;
  b.fibres.assign(n, {});
  b.warps.assign((n + 31) / 32, {});
  for (unsigned t = 0; t < n; ++t) ++b.warps[t / 32].alive;
  b.alive = static_cast<int>(n);
  b.arrived = 0;
  std::memset(b.shared, 0xff, sizeof b.shared);
  while (b.alive > 0) {
    bool progress = false;
    for (unsigned t = 0; t < n; ++t) {
      Fibre& f = b.fibres[t];
      if (f.ended) continue;
      if (f.waits == Waits::Block && f.generation == b.generation) continue;
      if (f.waits == Waits::Warp && f.generation == b.warps[t / 32].generation) continue;
      if (f.stack < 0) start(b, f);
      f.waits = Waits::No;
      b.current = static_cast<int>(t);
      place.thread = unflatten(t, size);
      evolute_switch_fibre(&b.scheduler, f.sp);
      progress = true;
      if (f.ended) b.free_stacks.push_back(f.stack);
    }
    if (!progress) {
      fail("threads that wait for each other: not all of them reach a barrier");
      for (Fibre& f : b.fibres)
        if (!f.ended && f.stack >= 0) b.free_stacks.push_back(f.stack);
      return;
    }
  }
}

}  // namespace

void sync_threads() {
  Block& b = block();
  if (++b.arrived == b.alive) {
    b.arrived = 0;
    ++b.generation;
    return;
  }
  b.yield(Waits::Block, b.generation);
}

namespace {
void sync_warp(Block& b, Warp& w) {
  if (++w.arrived == w.alive) {
    w.arrived = 0;
    ++w.generation;
    return;
  }
  b.yield(Waits::Warp, w.generation);
}
}  // namespace

std::uint64_t exchange(std::uint64_t mine, int (*from)(int lane, int argument), int argument) {
  Block& b = block();
  Warp& w = b.warp();
  const int lane = b.current % 32;
  const unsigned parity = w.generation % 2;
  w.slot[parity][lane] = mine;
  sync_warp(b, w);
  return w.slot[parity][from(lane, argument) & 31];
}

std::uint64_t ballot(bool mine) {
  Block& b = block();
  Warp& w = b.warp();
  const int lanes = std::min(32, static_cast<int>(b.fibres.size()) - b.current / 32 * 32);
  const unsigned parity = w.generation % 2;
  w.slot[parity][b.current % 32] = mine;
  sync_warp(b, w);
  std::uint64_t bits = 0;
  for (int i = 0; i < lanes; ++i) bits |= (w.slot[parity][i] & 1) << i;
  return bits;
}

void* shared_memory(std::size_t bytes) {
  if (bytes > sizeof(Block::shared)) std::abort();
  return block().shared;
}

}  // namespace evolute::cuda::emulation

// ---- streams and graphs

struct EmulatedGraph {
  std::vector<std::function<void()>> work;
};
struct EmulatedStream {
  std::unique_ptr<EmulatedGraph> capture;
};
struct EmulatedEvent {};

namespace {

using namespace evolute::cuda::emulation;

thread_local cudaError_t last_error = cudaSuccess;

cudaError_t report(cudaError_t e) { return last_error = e; }

template <class F>
void in_order(cudaStream_t stream, F work) {
  if (stream && stream->capture)
    stream->capture->work.push_back(work);
  else
    work();
}

// Copies with their shadow.
void copy_bytes(void* to, const void* from, std::size_t bytes) {
  Arena& arena = Arena::get();
  if (arena.contains(from)) {
    for (std::size_t i = 0; i < bytes; ++i)
      if (arena.shadow_of(from)[i] != kInitialised) {
        fail(arena.shadow_of(from)[i] == kFree ? "a copy from outside of all allocations"
                                               : "a copy of bytes that nobody has written");
        break;
      }
  }
  if (arena.contains(to)) {
    for (std::size_t i = 0; i < bytes; ++i)
      if (arena.shadow_of(to)[i] == kFree) {
        fail("a copy to outside of all allocations");
        break;
      }
    std::memset(arena.shadow_of(to), kInitialised, bytes);
  }
  std::memcpy(to, from, bytes);
}

void throw_failure(const char* what) {
  if (failure.empty()) return;
  const std::string text = "emulated CUDA: " + failure + ", in " + what;
  failure.clear();
  throw std::logic_error(text);
}

}  // namespace

namespace evolute::cuda::emulation {

void run(const char* kernel, dim3 grid, dim3 block_size, cudaStream_t stream, std::function<void()> body) {
  const std::uint64_t threads = std::uint64_t{block_size.x} * block_size.y * block_size.z;
  if (threads == 0 || threads > 1024 || grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffff ||
      grid.y > 65535 || grid.z > 65535) {
    report(cudaErrorInvalidValue);
    return;
  }
  in_order(stream, [=] {
    running = kernel;
    Block& b = block();
    b.body = &body;
    place.block_size = block_size;
    place.grid = grid;
    for (unsigned z = 0; z < grid.z; ++z)
      for (unsigned y = 0; y < grid.y; ++y)
        for (unsigned x = 0; x < grid.x; ++x) {
          place.block = {x, y, z};
          run_block(b, block_size);
        }
    throw_failure(kernel);
  });
}

}  // namespace evolute::cuda::emulation

const char* cudaGetErrorString(cudaError_t e) {
  switch (e) {
    case cudaSuccess: return "no error";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorInsufficientDriver: return "CUDA driver version is insufficient for CUDA runtime version";
    default: return "invalid argument";
  }
}
cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }

// The environment can take driver and devices away, to test what is said then.
namespace {
int from_environment(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text ? std::atoi(text) : otherwise;
}
}  // namespace
cudaError_t cudaDriverGetVersion(int* version) {
  *version = from_environment("EVOLUTE_EMULATED_DRIVER", 13000);
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* n) {
  *n = from_environment("EVOLUTE_EMULATED_DEVICES", 1);
  if (from_environment("EVOLUTE_EMULATED_DRIVER", 13000) == 0) return report(cudaErrorInsufficientDriver);
  return *n > 0 ? cudaSuccess : report(cudaErrorNoDevice);
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
  std::strcpy(p->name, "emulated");
  p->major = from_environment("EVOLUTE_EMULATED_MAJOR", 9);
  p->minor = 0;
  p->multiProcessorCount = 2;
  p->totalGlobalMem = Arena::get().total;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int) { return cudaSuccess; }
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  Arena& arena = Arena::get();
  std::lock_guard lock(arena.mutex);
  *free = arena.total - arena.used;
  *total = arena.total;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** p, std::size_t bytes) {
  constexpr std::size_t kGap = 512;  // between allocations: belongs to nobody
  Arena& arena = Arena::get();
  std::lock_guard lock(arena.mutex);
  if (bytes > arena.total - arena.used) return report(cudaErrorMemoryAllocation);
  std::size_t at = kGap;
  for (const auto& [offset, size] : arena.blocks) {
    if (at + bytes + kGap <= offset) break;
    at = (offset + size + 2 * kGap - 1) / kGap * kGap;
  }
  if (at + bytes > kArena) return report(cudaErrorMemoryAllocation);
  arena.blocks[at] = bytes;
  arena.used += bytes;
  *p = arena.base + at;
  evolute::cuda::mark_allocated(*p, bytes);
  return cudaSuccess;
}
cudaError_t cudaFree(void* p) {
  if (!p) return cudaSuccess;
  Arena& arena = Arena::get();
  std::lock_guard lock(arena.mutex);
  const auto block = arena.blocks.find(static_cast<std::size_t>(static_cast<std::byte*>(p) - arena.base));
  if (block == arena.blocks.end()) return report(cudaErrorInvalidValue);
  evolute::cuda::mark_freed(p, block->second);
  arena.used -= block->second;
  arena.blocks.erase(block);
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** p, std::size_t bytes, unsigned) {
  *p = std::malloc(bytes);
  return *p ? cudaSuccess : report(cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void* p) {
  std::free(p);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  in_order(stream, [=] {
    copy_bytes(to, from, bytes);
    throw_failure("cudaMemcpyAsync");
  });
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* p, int value, std::size_t bytes, cudaStream_t stream) {
  in_order(stream, [=] {
    check(p, bytes, true);
    throw_failure("cudaMemsetAsync");
    std::memset(p, value, bytes);
  });
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned) {
  *s = new EmulatedStream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t s) {
  return s && s->capture ? report(cudaErrorInvalidValue) : cudaSuccess;  // nothing may wait for work that is recorded
}
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }
cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode) {
  s->capture = std::make_unique<EmulatedGraph>();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t* g) {
  *g = s->capture.release();
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned) {
  *e = new EmulatedEvent;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaEventQuery(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventDestroy(cudaEvent_t e) {
  delete e;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t g, unsigned long long) {
  *exec = new EmulatedGraph(*g);
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t s) {
  for (const auto& work : exec->work) in_order(s, work);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t g) {
  delete g;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}
