// CUDA's execution model on the host, for testing kernels where there is no GPU.
//
// A kernel runs its blocks one after the other. The threads of a block are fibres: each runs until it ends or has to
// wait for others (__syncthreads, warp shuffles), then the next one runs. Device memory is an arena with a shadow byte
// for each of its bytes: accesses through Global<T> find out what lies outside of an allocation and what nobody has
// written. Streams run at once, or as late as they may (runtime.cpp); one that is being captured keeps closures
// instead.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

// ---- the runtime's types and functions, as far as the plug-in uses them

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

enum cudaError_t : int {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInsufficientDriver = 35,
  cudaErrorNoDevice = 100,
  cudaErrorNotReady = 600,
  cudaErrorIllegalAddress = 700,
  cudaErrorLaunchOutOfResources = 701,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureIsolation = 905,
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice, cudaMemcpyDefault };
enum cudaStreamCaptureMode { cudaStreamCaptureModeRelaxed };
struct cudaDeviceProp {
  char name[256];
  int major, minor, multiProcessorCount;
  std::size_t totalGlobalMem;
};
using cudaStream_t = struct EmulatedStream*;
using cudaEvent_t = struct EmulatedEvent*;
using cudaGraph_t = struct EmulatedGraph*;
using cudaGraphExec_t = struct EmulatedGraph*;

inline constexpr unsigned cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2, cudaHostAllocMapped = 2;
#define cudaStreamLegacy (reinterpret_cast<cudaStream_t>(1))
#define cudaStreamPerThread (reinterpret_cast<cudaStream_t>(2))

const char* cudaGetErrorString(cudaError_t e);
cudaError_t cudaGetLastError();
cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaGetDeviceCount(int* n);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total);
cudaError_t cudaMalloc(void** p, std::size_t bytes);
cudaError_t cudaFree(void* p);
cudaError_t cudaHostAlloc(void** p, std::size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void* p);
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* p, int value, std::size_t bytes, cudaStream_t stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned flags);
cudaError_t cudaStreamSynchronize(cudaStream_t s);
cudaError_t cudaStreamQuery(cudaStream_t s);
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned flags = 0);
cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t* g);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned flags);
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s);
cudaError_t cudaEventQuery(cudaEvent_t e);
cudaError_t cudaEventSynchronize(cudaEvent_t e);
cudaError_t cudaEventDestroy(cudaEvent_t e);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t g, unsigned long long flags);
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t s);
cudaError_t cudaGraphDestroy(cudaGraph_t g);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);

// ---- what kernels see

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define EV_NOINLINE [[gnu::noinline]]
#define __launch_bounds__(...)
#define __grid_constant__
#define __restrict__ __restrict

#pragma GCC visibility push(default)  // kernels made at run time use it
namespace evolute::cuda::emulation {

struct Place {
  dim3 thread, block, block_size, grid;
};
extern thread_local constinit Place place;

void sync_threads();
// Shares `bytes` (up to 8) with the warp and waits for its lanes; gives what lane `from(lane)` has shared.
std::uint64_t exchange(std::uint64_t mine, int (*from)(int lane, int argument), int argument);
std::uint64_t ballot(bool mine);
// What all lanes of the warp share.
std::array<std::uint64_t, 32> exchange_all(std::uint64_t mine);
void* shared_memory(std::size_t bytes);

// False, and an error of the launch, where an access is wrong.
bool check(const volatile void* p, std::size_t bytes, bool write);
bool check_aligned(const volatile void* p, std::size_t bytes);
void run(const char* kernel, dim3 grid, dim3 block, cudaStream_t stream, std::function<void()> body);

#pragma GCC visibility pop

template <class T>
T shuffle(T x, int (*from)(int, int), int argument) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, &x, sizeof x);
  bits = exchange(bits, from, argument);
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

}  // namespace evolute::cuda::emulation

#define threadIdx (::evolute::cuda::emulation::place.thread)
#define blockIdx (::evolute::cuda::emulation::place.block)
#define blockDim (::evolute::cuda::emulation::place.block_size)
#define gridDim (::evolute::cuda::emulation::place.grid)

inline void __syncthreads() { evolute::cuda::emulation::sync_threads(); }
inline void __syncwarp(unsigned = ~0u) { evolute::cuda::emulation::ballot(true); }
inline void __threadfence() {}
inline unsigned __ballot_sync(unsigned, bool mine) {
  return static_cast<unsigned>(evolute::cuda::emulation::ballot(mine));
}
template <class T>
T __shfl_xor_sync(unsigned, T x, int mask) {
  return evolute::cuda::emulation::shuffle(x, [](int lane, int m) { return lane ^ m; }, mask);
}
template <class T>
T __shfl_down_sync(unsigned, T x, int by) {
  return evolute::cuda::emulation::shuffle(x, [](int lane, int b) { return lane + b < 32 ? lane + b : lane; }, by);
}
template <class T>
T __shfl_up_sync(unsigned, T x, int by) {
  return evolute::cuda::emulation::shuffle(x, [](int lane, int b) { return lane - b >= 0 ? lane - b : lane; }, by);
}
template <class T>
T __shfl_sync(unsigned, T x, int lane) {
  return evolute::cuda::emulation::shuffle(x, [](int, int l) { return l; }, lane);
}
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>((static_cast<std::uint64_t>(a) * b) >> 32);
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }

namespace evolute::cuda {

// A pointer to device memory whose accesses are checked.
template <class T>
class Global {
  using Value = std::remove_const_t<T>;

 public:
  class Element {
   public:
    explicit Element(T* p) : p_(p) {}
    operator Value() const {
      Value v{};
      if (emulation::check(p_, sizeof(T), false)) std::memcpy(&v, p_, sizeof v);
      return v;
    }
    const Element& operator=(Value v) const
      requires(!std::is_const_v<T>)
    {
      if (emulation::check(p_, sizeof(T), true)) std::memcpy(p_, &v, sizeof v);
      return *this;
    }
    const Element& operator=(const Element& o) const
      requires(!std::is_const_v<T>)
    {
      return *this = static_cast<Value>(o);
    }
    Element(const Element&) = default;

   private:
    T* p_;
  };

  Global() = default;
  Global(std::nullptr_t) {}
  Global(T* p) : p_(p) {}
  template <class U>
    requires(std::is_const_v<T> && std::is_same_v<U, Value>)
  Global(const Global<U>& o) : p_(o.raw()) {}

  Element operator[](std::int64_t i) const { return Element(p_ + i); }
  Element operator*() const { return Element(p_); }
  Global operator+(std::int64_t i) const { return Global(p_ + i); }
  Global operator-(std::int64_t i) const { return Global(p_ - i); }
  explicit operator bool() const { return p_ != nullptr; }
  T* raw() const { return p_; }

 private:
  T* p_ = nullptr;
};

template <class T, int n>
struct alignas(sizeof(T) * n) Pack {
  T v[n];
};
template <class T, int n>
Pack<T, n> load_pack(Global<const T> p) {
  emulation::check_aligned(p.raw(), sizeof(T) * n);
  Pack<T, n> x;
  for (int i = 0; i < n; ++i) x.v[i] = p[i];
  return x;
}
template <class T, int n>
void store_pack(Global<T> p, const Pack<T, n>& x) {
  emulation::check_aligned(p.raw(), sizeof(T) * n);
  for (int i = 0; i < n; ++i) p[i] = x.v[i];
}

// Arrives at once.
template <class T, int n>
void async_copy(T* to, Global<const T> from, bool valid) {
  if (valid) emulation::check_aligned(from.raw(), sizeof(T) * n);
  for (int i = 0; i < n; ++i) to[i] = valid ? static_cast<T>(from[i]) : T(0);
}
inline std::uint32_t to_tf32(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return x - x == 0 ? (bits + (1u << 12)) & ~0u << 13 : bits;
}
inline void multiply_tf32(float& c0, float& c1, float& c2, float& c3, const std::uint32_t (&a)[4],
                          const std::uint32_t (&b)[2]) {
  const auto pair = [](std::uint32_t low, std::uint32_t high) { return low | static_cast<std::uint64_t>(high) << 32; };
  const auto upper = emulation::exchange_all(pair(a[0], a[2])), lower = emulation::exchange_all(pair(a[1], a[3]));
  const auto all_b = emulation::exchange_all(pair(b[0], b[1]));
  const int lane = static_cast<int>(emulation::place.thread.x) % 32, q = lane / 4, r = lane % 4;
  for (int k = 0; k < 8; ++k) {
    const auto of = [k](const std::array<std::uint64_t, 32>& all, int from) {
      return std::bit_cast<float>(static_cast<std::uint32_t>(all[static_cast<std::size_t>(from)] >> (k < 4 ? 0 : 32)));
    };
    const float x = of(upper, 4 * q + k % 4), y = of(lower, 4 * q + k % 4);
    const float u = of(all_b, 8 * r + k % 4), v = of(all_b, 8 * r + 4 + k % 4);
    c0 += x * u, c1 += x * v, c2 += y * u, c3 += y * v;
  }
}
inline void async_commit() {}
template <int n>
void async_wait() {}

// What blocks share is full of NaNs when one starts.
#define EV_SHARED(Type, name) Type& name = *static_cast<Type*>(::evolute::cuda::emulation::shared_memory(sizeof(Type)))

template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, cudaStream_t stream, A&&... args) {
  std::tuple<std::remove_cv_t<P>...> values(std::forward<A>(args)...);
  emulation::run(__PRETTY_FUNCTION__, grid, block, stream, [kernel, values] { std::apply(kernel, values); });
}

// Who owns which bytes of a cached block, from here on in the stream's order.
void mark_allocated(void* p, std::size_t bytes, cudaStream_t stream);
void mark_freed(void* p, std::size_t bytes, cudaStream_t stream);

}  // namespace evolute::cuda

template <class T>
T atomicAdd(evolute::cuda::Global<T> p, T x) {
  if (!evolute::cuda::emulation::check(p.raw(), sizeof(T), false)) return {};
  std::atomic_ref<T> a(*p.raw());
  return a.fetch_add(x);
}
template <class T>
T atomicMax(evolute::cuda::Global<T> p, T x) {
  if (!evolute::cuda::emulation::check(p.raw(), sizeof(T), false)) return {};
  std::atomic_ref<T> a(*p.raw());
  T seen = a.load();
  while (seen < x && !a.compare_exchange_weak(seen, x)) {
  }
  return seen;
}
inline int atomicCAS(int* p, int expected, int desired) {
  std::atomic_ref<int>(*p).compare_exchange_strong(expected, desired);
  return expected;
}
