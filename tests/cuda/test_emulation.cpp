// The emulation itself: that it does what CUDA does, and sees what it is there to see.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "cuda/device.h"

using namespace evolute::cuda;

namespace {

struct Memory {
  explicit Memory(std::size_t n) { cudaMalloc(reinterpret_cast<void**>(&p), n * sizeof(float)); }
  ~Memory() { cudaFree(p); }
  float* p;
};

std::string failure_of(void (*kernel)(float*), float* p, dim3 block = 32) {
  try {
    launch(kernel, 1, block, nullptr, p);
  } catch (const std::logic_error& e) {
    return e.what();
  }
  return "";
}

template <int at>
void read_kernel(float* p) {
  const float x = Global<float>(p)[at];
  (void)x;
}
template <int at>
void write_kernel(float* p) {
  const Global<float> a(p);
  a[at] = 1;
}
void packed_kernel(float* p) { load_pack<float, 4>(Global<const float>(p) + 1); }
void divergent_kernel(float*) {
  if (threadIdx.x % 2 != 0)
    __syncthreads();
  else
    __syncwarp();
}

struct Values {
  float v[96];
};
// Reverses through shared memory, and sums by shuffles.
void cooperating_kernel(float* p) {
  EV_SHARED(Values, shared);
  const Global<float> a(p);
  const auto i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  shared.v[threadIdx.x] = a[i];
  __syncthreads();
  const float mine = shared.v[blockDim.x - 1 - threadIdx.x];
  float sum = mine;
  for (int by = 16; by > 0; by /= 2) sum += __shfl_xor_sync(~0u, sum, by);
  const float first = __shfl_sync(~0u, mine, 0), before = __shfl_up_sync(~0u, mine, 1);
  const unsigned odd = __ballot_sync(~0u, threadIdx.x % 2);
  a[i] = sum + 1000 * first + (threadIdx.x % 32 ? before : 0) + (odd == 0xaaaaaaaau ? 0.5f : 0);
}
void shared_kernel(float* p) {
  EV_SHARED(Values, shared);
  const Global<float> a(p);
  a[threadIdx.x] = shared.v[threadIdx.x];
}
void adding_kernel(int* p) { atomicAdd(Global<int>(p), 1); }

}  // namespace

TEST_CASE("accesses outside of allocations, and of what nobody has written, are seen") {
  Memory m(64);
  CHECK(failure_of(read_kernel<0>, m.p).find("a read of 4 bytes that nobody has written") != std::string::npos);
  CHECK(failure_of(write_kernel<0>, m.p) == "");
  CHECK(failure_of(read_kernel<0>, m.p) == "");
  CHECK(failure_of(read_kernel<63>, m.p).find("nobody has written") != std::string::npos);
  CHECK(failure_of(read_kernel<64>, m.p).find("a read of 4 bytes outside of all allocations") != std::string::npos);
  CHECK(failure_of(write_kernel<64>, m.p).find("a write of 4 bytes outside") != std::string::npos);
  CHECK(failure_of(write_kernel<-1>, m.p).find("a write of 4 bytes outside") != std::string::npos);
  float on_host;
  CHECK(failure_of(write_kernel<0>, &on_host).find("outside of device memory") != std::string::npos);
  CHECK(failure_of(packed_kernel, m.p).find("not aligned") != std::string::npos);
  mark_freed(m.p, 4, nullptr);
  CHECK(failure_of(read_kernel<0>, m.p).find("outside of all allocations") != std::string::npos);
  mark_allocated(m.p, 4, nullptr);
  CHECK(failure_of(read_kernel<0>, m.p).find("nobody has written") != std::string::npos);
}

TEST_CASE("threads that do not all reach a barrier are seen, and none is stuck") {
  CHECK(failure_of(divergent_kernel, nullptr).find("not all of them reach a barrier") != std::string::npos);
  Memory m(1);
  CHECK(failure_of(write_kernel<0>, m.p) == "");
}

TEST_CASE("threads of a block meet, and those of a warp exchange values") {
  const int n = 192;
  Memory m(n);
  std::vector<float> host(n), back(n);
  for (int i = 0; i < n; ++i) host[static_cast<std::size_t>(i)] = static_cast<float>(i);
  cudaMemcpyAsync(m.p, host.data(), n * sizeof(float), cudaMemcpyHostToDevice, nullptr);
  launch(cooperating_kernel, 2, 96, nullptr, m.p);
  cudaMemcpyAsync(back.data(), m.p, n * sizeof(float), cudaMemcpyDeviceToHost, nullptr);
  for (int i = 0; i < n; ++i) {
    const int block = i / 96, thread = i % 96, warp = thread / 32;
    const auto reversed = [&](int t) { return static_cast<float>(block * 96 + 95 - t); };
    float sum = 0;
    for (int l = 0; l < 32; ++l) sum += reversed(warp * 32 + l);
    const float want = sum + 1000 * reversed(warp * 32) + (thread % 32 ? reversed(thread - 1) : 0) + 0.5f;
    CHECK(back[static_cast<std::size_t>(i)] == want);
  }
}

TEST_CASE("what blocks share is not a number until it is written") {
  Memory m(96);
  launch(shared_kernel, 1, 96, nullptr, m.p);
  std::vector<float> back(96);
  cudaMemcpyAsync(back.data(), m.p, 96 * sizeof(float), cudaMemcpyDeviceToHost, nullptr);
  for (float x : back) CHECK(x != x);
}

TEST_CASE("work that is captured runs when its graph is launched, each time") {
  Memory m(1);
  cudaMemsetAsync(m.p, 0, sizeof(float), nullptr);
  cudaStream_t stream;
  cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed);
  launch(adding_kernel, 2, 32, stream, reinterpret_cast<int*>(m.p));
  CHECK(cudaStreamSynchronize(stream) != cudaSuccess);
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  cudaStreamEndCapture(stream, &graph);
  cudaGraphInstantiate(&exec, graph, 0);
  int count = -1;
  const auto read = [&] {
    cudaMemcpyAsync(&count, m.p, sizeof count, cudaMemcpyDeviceToHost, stream);
    return count;
  };
  CHECK(read() == 0);
  cudaGraphLaunch(exec, stream);
  CHECK(read() == 64);
  cudaGraphLaunch(exec, stream);
  CHECK(read() == 128);
  cudaGraphExecDestroy(exec);
  cudaGraphDestroy(graph);
}

TEST_CASE("launches that CUDA refuses are refused") {
  launch(divergent_kernel, 1, 2048, nullptr, nullptr);
  CHECK(cudaGetLastError() == cudaErrorInvalidValue);
  launch(divergent_kernel, 0, 32, nullptr, nullptr);
  CHECK(cudaGetLastError() == cudaErrorInvalidValue);
  CHECK(cudaGetLastError() == cudaSuccess);
}
