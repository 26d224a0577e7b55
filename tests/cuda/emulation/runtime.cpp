// The runtime: streams, events, graphs, memory, what the driver says, and how tests look at all of it and make it fail.
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <memory>
#include <mutex>
#include <random>
#include <stdexcept>
#include <vector>

#include "arena.h"

using namespace evolute::cuda::emulation;

// ---- streams
//
// Work is queued. It runs when it is asked for, or, with EVOLUTE_EMULATED_DEFER=seed, when somebody waits for it: then
// in an order that is drawn from all that streams and events leave open, with the work of other streams as late as can
// be in half of the cases.

struct EmulatedGraph {
  std::vector<std::function<void()>> work;
};

namespace {

// What an event has recorded.
struct Point {
  cudaStream_t stream;
  bool passed = false;
};

struct Work {
  std::function<void()> run;
  std::shared_ptr<Point> passes, needs;
};

}  // namespace

struct EmulatedStream {
  std::unique_ptr<EmulatedGraph> capture;
  std::deque<Work> queue;
};
struct EmulatedEvent {
  std::shared_ptr<Point> point;
  bool captured = false;
};

namespace {

thread_local cudaError_t last_error = cudaSuccess;
cudaError_t report(cudaError_t e) {
  if (e != cudaSuccess && e != cudaErrorNotReady) last_error = e;
  return e;
}

constexpr std::size_t kPage = 4096;

enum Count { kWaits, kUploads, kDownloads, kLaunches, kAllocations, kCounts };

struct Device {
  std::recursive_mutex mutex;
  std::vector<cudaStream_t> streams;
  bool deferred = false;
  std::minstd_rand random;
  long long counts[kCounts] = {};
  long long launches_to_failure = 0, launches_to_refusal = 0;
  cudaError_t failure = cudaSuccess;  // of the kernel that is to fail
  cudaError_t broken = cudaSuccess;   // since a kernel has failed: nothing works any more, as on a device

  Device() {
    if (const char* seed = std::getenv("EVOLUTE_EMULATED_DEFER")) defer(std::atoi(seed));
  }
  static Device& get() {
    static Device& device = *new Device;
    return device;
  }
  void defer(int seed) {
    deferred = seed >= 0;
    random.seed(static_cast<unsigned>(seed) + 1);
  }

  cudaStream_t make_stream() {
    streams.push_back(new EmulatedStream);
    return streams.back();
  }
  cudaStream_t stream(cudaStream_t s) {
    static const cudaStream_t legacy = make_stream();
    static thread_local const cudaStream_t own = make_stream();
    return !s || s == cudaStreamLegacy ? legacy : s == cudaStreamPerThread ? own : s;
  }

  // Runs one piece of work: of this stream, or of one that it waits for.
  void step(EmulatedStream& s) {
    const std::shared_ptr<Point> needs = s.queue.front().needs;
    if (needs && !needs->passed) return step(*needs->stream);
    const Work work = std::move(s.queue.front());
    s.queue.pop_front();
    if (work.passes) work.passes->passed = true;
    if (work.run && broken == cudaSuccess) work.run();
  }
  EmulatedStream& any() {
    std::vector<cudaStream_t> busy;
    for (cudaStream_t s : streams)
      if (!s->queue.empty()) busy.push_back(s);
    return *busy[random() % busy.size()];
  }
  void finish(EmulatedStream& s) {
    const bool others_late = random() % 2;
    while (!s.queue.empty()) step(others_late ? s : any());
  }
  void finish_all() {
    for (cudaStream_t s : streams) finish(*s);
  }
  void enqueue(cudaStream_t s, Work work) {
    s->queue.push_back(std::move(work));
    while (!deferred && !s->queue.empty()) step(*s);
  }
  void in_order(cudaStream_t s, std::function<void()> work) {
    s = stream(s);
    if (s->capture)
      s->capture->work.push_back(std::move(work));
    else
      enqueue(s, {std::move(work), {}, {}});
  }
};

// f(device), one thread at a time, unless the device is broken.
template <class F>
cudaError_t on_device(F f) {
  Device& d = Device::get();
  std::lock_guard lock(d.mutex);
  return report(d.broken != cudaSuccess ? d.broken : f(d));
}

// Copies the pages that the host has memory for: the others are zeros.
void copy_touched(std::byte* to, std::byte* from, std::size_t bytes) {
  std::size_t n = kPage - reinterpret_cast<std::uintptr_t>(from) % kPage;  // to the end of the page
  std::byte* const first = from + n - kPage;
  std::vector<unsigned char> touched((bytes + kPage) / kPage + 1);
  mincore(first, static_cast<std::size_t>(from + bytes - first), touched.data());
  for (std::size_t at = 0; at < bytes; at += n, n = kPage) {
    n = std::min(n, bytes - at);
    if (touched[static_cast<std::size_t>(from + at - first) / kPage] & 1) std::memcpy(to + at, from + at, n);
  }
}

// Copies with their shadow.
void copy_bytes(void* to, const void* from, std::size_t bytes) {
  Arena& arena = Arena::get();
  if (arena.sample > 0) {
    for (const void* p : {static_cast<const void*>(to), from})
      if (arena.contains(p) && !arena.allocated(p, bytes)) fail("a copy outside of all allocations");
    throw_failure("cudaMemcpyAsync");
    return copy_touched(static_cast<std::byte*>(to), static_cast<std::byte*>(const_cast<void*>(from)), bytes);
  }
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
  throw_failure("cudaMemcpyAsync");
}

void mark(void* p, std::size_t bytes, Shadow state) {
  if (Arena::get().sample == 0) std::memset(Arena::get().shadow_of(p), state, bytes);
}

int from_environment(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text ? std::atoi(text) : otherwise;
}

}  // namespace

namespace evolute::cuda {

void mark_allocated(void* p, std::size_t bytes, cudaStream_t stream) {
  on_device([=](Device& d) { return d.in_order(stream, [=] { mark(p, bytes, kUninitialised); }), cudaSuccess; });
}
void mark_freed(void* p, std::size_t bytes, cudaStream_t stream) {
  on_device([=](Device& d) { return d.in_order(stream, [=] { mark(p, bytes, kFree); }), cudaSuccess; });
}

}  // namespace evolute::cuda

namespace evolute::cuda::emulation {

void throw_failure(const char* where) {
  if (failure.empty()) return;
  const std::string text = "emulated CUDA: " + failure + ", in " + where;
  failure.clear();
  throw std::logic_error(text);
}

void run(const char* kernel, dim3 grid, dim3 block, cudaStream_t stream, std::function<void()> body) {
  on_device([&](Device& d) {
    const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
    if (threads == 0 || threads > 1024 || grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffff ||
        grid.y > 65535 || grid.z > 65535)
      return cudaErrorInvalidValue;
    if (d.launches_to_refusal > 0 && --d.launches_to_refusal == 0) return cudaErrorLaunchOutOfResources;
    ++d.counts[kLaunches];
    d.in_order(stream, [&d, kernel, grid, block, body = std::move(body)] {
      if (d.launches_to_failure > 0 && --d.launches_to_failure == 0)
        d.broken = d.failure;
      else
        run_blocks(kernel, grid, block, body);
    });
    return cudaSuccess;
  });
}

}  // namespace evolute::cuda::emulation

const char* cudaGetErrorString(cudaError_t e) {
  switch (e) {
    case cudaSuccess: return "no error";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInsufficientDriver: return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
    case cudaErrorLaunchOutOfResources: return "too many resources requested for launch";
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureIsolation: return "dependency created on uncaptured work in another stream";
    default: return "invalid argument";
  }
}
cudaError_t cudaGetLastError() {
  const cudaError_t e = std::exchange(last_error, cudaSuccess);
  const cudaError_t broken = Device::get().broken;
  return broken != cudaSuccess ? broken : e;
}

// ---- the driver: the environment can take it and the device away, to test what is said then

cudaError_t cudaDriverGetVersion(int* version) {
  *version = from_environment("EVOLUTE_EMULATED_DRIVER", 13000);
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* n) {
  *n = from_environment("EVOLUTE_EMULATED_DEVICES", 1);
  if (from_environment("EVOLUTE_EMULATED_DRIVER", 13000) < 13000) return report(cudaErrorInsufficientDriver);
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
  return on_device([&](Device&) {
    *free = Arena::get().total - Arena::get().used;
    *total = Arena::get().total;
    return cudaSuccess;
  });
}

// ---- memory

cudaError_t cudaMalloc(void** p, std::size_t bytes) {
  return on_device([&](Device& d) {
    constexpr std::size_t kGap = kPage;  // between allocations: belongs to nobody, and no page to two of them
    Arena& arena = Arena::get();
    if (bytes > arena.total - arena.used) return cudaErrorMemoryAllocation;
    std::size_t at = kGap;
    for (const auto& [offset, size] : arena.blocks) {
      if (at + bytes + kGap <= offset) break;
      at = (offset + size + 2 * kGap - 1) / kGap * kGap;
    }
    if (at + bytes > kArena) return cudaErrorMemoryAllocation;
    ++d.counts[kAllocations];
    arena.blocks[at] = bytes;
    arena.used += bytes;
    *p = arena.base + at;
    mark(*p, bytes, kUninitialised);
    return cudaSuccess;
  });
}
cudaError_t cudaFree(void* p) {
  return on_device([&](Device& d) {
    if (!p) return cudaSuccess;
    Arena& arena = Arena::get();
    const auto block = arena.blocks.find(static_cast<std::size_t>(static_cast<std::byte*>(p) - arena.base));
    if (block == arena.blocks.end()) return cudaErrorInvalidValue;
    ++d.counts[kWaits];
    d.finish_all();
    mark(p, block->second, kFree);
    madvise(p, block->second, MADV_DONTNEED);  // the host has its pages again, which come back as zeros
    arena.used -= block->second;
    arena.blocks.erase(block);
    return cudaSuccess;
  });
}
cudaError_t cudaHostAlloc(void** p, std::size_t bytes, unsigned) {
  *p = std::malloc(bytes);
  return *p ? cudaSuccess : report(cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void* p) {
  std::free(p);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return on_device([&](Device& d) {
    if (kind == cudaMemcpyHostToDevice) ++d.counts[kUploads];
    if (kind == cudaMemcpyDeviceToHost) ++d.counts[kDownloads];
    d.in_order(stream, [=] { copy_bytes(to, from, bytes); });
    return cudaSuccess;
  });
}
cudaError_t cudaMemsetAsync(void* p, int value, std::size_t bytes, cudaStream_t stream) {
  return on_device([&](Device& d) {
    d.in_order(stream, [=] {
      check(p, bytes, true);
      throw_failure("cudaMemsetAsync");
      std::memset(p, value, bytes);
    });
    return cudaSuccess;
  });
}

// ---- streams, events, graphs

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned) {
  return on_device([&](Device& d) { return *s = d.make_stream(), cudaSuccess; });
}
cudaError_t cudaStreamSynchronize(cudaStream_t s) {
  return on_device([&](Device& d) {
    s = d.stream(s);
    if (s->capture) return cudaErrorStreamCaptureUnsupported;  // nothing may wait for work that is recorded
    ++d.counts[kWaits];
    d.finish(*s);
    return d.broken;
  });
}
cudaError_t cudaStreamQuery(cudaStream_t s) {
  return on_device([&](Device& d) { return d.stream(s)->queue.empty() ? cudaSuccess : cudaErrorNotReady; });
}
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned) {
  return on_device([&](Device& d) {
    s = d.stream(s);
    // A device would record what the other stream does from now on, too.
    if (e->captured != (s->capture != nullptr)) return cudaErrorStreamCaptureIsolation;
    if (e->point && !s->capture) d.enqueue(s, {{}, {}, e->point});
    return cudaSuccess;
  });
}
cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode) {
  return on_device([&](Device&) { return s->capture = std::make_unique<EmulatedGraph>(), cudaSuccess; });
}
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t* g) {
  return on_device([&](Device&) { return *g = s->capture.release(), cudaSuccess; });
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned) {
  return on_device([&](Device&) { return *e = new EmulatedEvent, cudaSuccess; });
}
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) {
  return on_device([&](Device& d) {
    s = d.stream(s);
    e->captured = s->capture != nullptr;
    if (e->captured) return cudaSuccess;
    e->point = std::make_shared<Point>(s);
    d.enqueue(s, {{}, e->point, {}});
    return cudaSuccess;
  });
}
cudaError_t cudaEventQuery(cudaEvent_t e) {
  return on_device([&](Device&) { return !e->point || e->point->passed ? cudaSuccess : cudaErrorNotReady; });
}
cudaError_t cudaEventSynchronize(cudaEvent_t e) {
  return on_device([&](Device& d) {
    if (!e->point || e->point->passed) return cudaSuccess;
    ++d.counts[kWaits];
    while (!e->point->passed) d.step(*e->point->stream);
    return d.broken;
  });
}
cudaError_t cudaEventDestroy(cudaEvent_t e) {
  delete e;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t g, unsigned long long) {
  return on_device([&](Device&) { return *exec = new EmulatedGraph(*g), cudaSuccess; });
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t s) {
  return on_device([&](Device& d) {
    ++d.counts[kLaunches];
    for (const auto& work : exec->work) d.in_order(s, work);
    return cudaSuccess;
  });
}
cudaError_t cudaGraphDestroy(cudaGraph_t g) {
  delete g;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}

// ---- for tests in Python (tests/emulation.py), by ctypes

#pragma GCC visibility push(default)
extern "C" {

// How often the host has waited, and other `Count`s.
long long emulated_count(int what) { return Device::get().counts[what]; }
// From now on streams are late, in an order of this seed; negative: at once.
void emulated_defer(int seed) {
  on_device([=](Device& d) { return d.finish_all(), d.defer(seed), cudaSuccess; });
}
// Pieces of work that have not run.
long long emulated_pending() {
  Device& d = Device::get();
  std::lock_guard lock(d.mutex);
  long long n = 0;
  for (cudaStream_t s : d.streams) n += static_cast<long long>(s->queue.size());
  return n;
}
// The n-th kernel to run from now on fails, and the device with it; or the n-th launch is refused, and no more than
// that.
void emulated_fail(long long nth) {
  Device::get().failure = cudaErrorIllegalAddress;
  Device::get().launches_to_failure = nth;
}
void emulated_refuse(long long nth) { Device::get().launches_to_refusal = nth; }

// Somebody else who works on the device.
void* emulated_malloc(std::size_t bytes) {
  void* p = nullptr;
  cudaMalloc(&p, bytes);
  return p;
}
cudaStream_t emulated_stream() {
  cudaStream_t s = nullptr;
  cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking);
  return s;
}
void emulated_write(cudaStream_t stream, float* p, std::int64_t n, float value) {
  evolute::cuda::launch(
      +[](float* to, std::int64_t n, float value) {
        const evolute::cuda::Global<float> p(to);
        for (std::int64_t i = 0; i < n; ++i) p[i] = value;
      },
      1, 1, stream, p, n, value);
}
void emulated_copy(cudaStream_t stream, void* to, const void* from, std::size_t bytes) {
  cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream);
}
void emulated_order(cudaStream_t waits, cudaStream_t goes_before) {
  cudaEvent_t e;
  cudaEventCreateWithFlags(&e, cudaEventDisableTiming);
  cudaEventRecord(e, goes_before);
  cudaStreamWaitEvent(waits, e);
  cudaEventDestroy(e);
}
void emulated_synchronize(cudaStream_t stream) { cudaStreamSynchronize(stream); }
}
#pragma GCC visibility pop
