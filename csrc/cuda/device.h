// The CUDA that kernels are written in: the runtime's own, or its emulation on the host (tests/cuda/emulation), where
// global memory is checked. Kernels reach it through Global<T>, load_pack and store_pack, share memory declared by
// EV_SHARED, and are started by `launch`.
#pragma once

#if !defined(EVOLUTE_CUDA_EMULATION)  // which has been included ahead of everything

#include <cstdint>
#if !defined(__CUDACC_RTC__)
#include <cuda_runtime.h>

#include <cstddef>
#include <tuple>
#endif

namespace evolute::cuda {

template <class T>
using Global = T*;

// Elements that move as one access of up to 16 bytes.
template <class T, int n>
struct alignas(sizeof(T) * n) Pack {
  T v[n];
};

#if defined(__CUDACC__)
template <class T, int n>
__device__ __forceinline__ Pack<T, n> load_pack(const T* p) {
  return *reinterpret_cast<const Pack<T, n>*>(p);
}
template <class T, int n>
__device__ __forceinline__ void store_pack(T* p, const Pack<T, n>& x) {
  *reinterpret_cast<Pack<T, n>*>(p) = x;
}

// Copies n elements, 4, 8 or 16 bytes in all, from global to shared memory behind the thread's back; zeros where not
// `valid`.
template <class T, int n>
__device__ __forceinline__ void async_copy(T* to, const T* from, bool valid) {
  constexpr int bytes = sizeof(T) * n;
  const auto target = static_cast<unsigned>(__cvta_generic_to_shared(to));
  const int size = valid ? bytes : 0;
  if constexpr (bytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(target), "l"(from), "r"(size));
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;\n" ::"r"(target), "l"(from), "n"(bytes), "r"(size));
}
__device__ __forceinline__ void async_commit() { asm volatile("cp.async.commit_group;\n"); }
// Until all but the latest n groups have arrived.
template <int n>
__device__ __forceinline__ void async_wait() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(n));
}

// Rounds to the 10 bits of mantissa that tensor cores take.
__device__ __forceinline__ std::uint32_t to_tf32(float x) {
  std::uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;\n" : "=r"(bits) : "f"(x));
  return bits;
}
// c += a b of 16 × 8 by 8 × 8 elements, by the 32 threads of a warp. With q, r = lane / 4, lane % 4, a thread has of a
// elements (q, r), (q + 8, r), (q, r + 4), (q + 8, r + 4), of b (r, q), (r + 4, q), and of c (q, 2r), (q, 2r + 1),
// (q + 8, 2r), (q + 8, 2r + 1).
__device__ __forceinline__ void multiply_tf32(float& c0, float& c1, float& c2, float& c3, const std::uint32_t (&a)[4],
                                              const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};\n"
      : "+f"(c0), "+f"(c1), "+f"(c2), "+f"(c3)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#define EV_SHARED(Type, name) __shared__ Type name
#define EV_NOINLINE __noinline__
#endif

#if !defined(__CUDACC_RTC__)
// Passes arguments as the kernel's own types. Errors are for cudaGetLastError.
template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, cudaStream_t stream, A&&... args) {
  std::tuple<P...> values(std::forward<A>(args)...);
  std::apply(
      [&](P&... v) {
        void* pointers[] = {&v...};
        cudaLaunchKernel(reinterpret_cast<const void*>(kernel), grid, block, pointers, 0, stream);
      },
      values);
}

// For the emulation's checks: who owns which bytes of a cached block, from here on in the stream's order.
inline void mark_allocated(void*, std::size_t, cudaStream_t) {}
inline void mark_freed(void*, std::size_t, cudaStream_t) {}
#endif

}  // namespace evolute::cuda

#endif
