// The allocator, and recordings, which own what they were recorded with.
#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <iomanip>
#include <map>
#include <memory>
#include <set>

#include "core/array.h"
#include "cuda/runtime.h"

namespace evolute::cuda {

namespace {

constexpr std::size_t kUnit = 256;                   // alignment
constexpr std::size_t kSlab = std::size_t{2} << 20;  // of which blocks up to a quarter are cut

// EVOLUTE_CUDA_CACHE=0: each block is CUDA's own, of the size asked for, so that tools see what lies beyond it.
bool caches_blocks() {
  static const bool result = [] {
    const char* text = std::getenv("EVOLUTE_CUDA_CACHE");
    return !text || std::string_view(text) != "0";
  }();
  return result;
}

// Four sizes per power of two.
std::size_t rounded(std::size_t bytes) {
  if (!caches_blocks()) return std::max<std::size_t>(bytes, 1);
  bytes = std::max(bytes, kUnit);
  const std::size_t step = std::max(std::bit_floor(bytes - 1) / 4, kUnit);
  return (bytes + step - 1) / step * step;
}

struct Block {
  void* data;
  std::size_t bytes;  // rounded
};

struct Allocator {
  std::mutex mutex;
  struct Cache {
    std::map<std::size_t, std::vector<void*>> free;  // by rounded size
    std::byte* slab = nullptr;
    std::size_t slab_left = 0;
  };
  std::map<Stream*, Cache> caches;
  std::size_t live = 0, cached = 0;
  // Memory of others, to be given back when its stream has passed the event.
  struct Deferred {
    cudaEvent_t passed;
    std::function<void()> release;
  };
  std::vector<Deferred> deferred;

  static Allocator& get() {
    static Allocator& instance = *new Allocator;
    return instance;
  }

  // Large blocks go back to CUDA, which waits for what uses them.
  void trim() {
    for (auto& [stream, cache] : caches)
      for (auto& [bytes, list] : cache.free) {
        if (bytes <= kSlab / 4) continue;
        for (void* p : list) {
          cudaFree(p);
          cached -= bytes;
        }
        list.clear();
      }
  }

  void* from_cuda(std::size_t bytes, std::size_t asked) {
    void* p = nullptr;
    if (cudaMalloc(&p, bytes) == cudaSuccess) return p;
    cudaGetLastError();
    trim();
    const cudaError_t e = cudaMalloc(&p, bytes);
    if (e == cudaSuccess) return p;
    if (e != cudaErrorMemoryAllocation) this_stream().check(e, "allocating memory");
    cudaGetLastError();
    std::size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    const auto mib = [](std::size_t b) {
      return cat(std::fixed, std::setprecision(1), static_cast<double>(b) / 0x1p20, " MiB");
    };
    throw DeviceError(cat("the GPU is out of memory: asked for ", mib(asked), ", free are ", mib(free), " of ",
                          mib(total), ", and tensors of this process hold ", mib(live)));
  }

  void* take(Stream& stream, std::size_t bytes, std::size_t asked) {
    std::lock_guard lock(mutex);
    Cache& cache = caches[&stream];
    void* p;
    if (auto& list = cache.free[bytes]; !list.empty()) {
      p = list.back();
      list.pop_back();
      cached -= bytes;
    } else if (bytes > kSlab / 4 || !caches_blocks()) {
      p = from_cuda(bytes, asked);
    } else {
      if (cache.slab_left < bytes) {
        cache.slab = static_cast<std::byte*>(from_cuda(kSlab, asked));
        cache.slab_left = kSlab;
        mark_freed(cache.slab, kSlab, stream.handle());
      }
      p = cache.slab;
      cache.slab += bytes;
      cache.slab_left -= bytes;
    }
    live += bytes;
    return p;
  }
  void give(Stream& stream, Block b) {
    std::lock_guard lock(mutex);
    live -= b.bytes;
    if (!caches_blocks()) {
      cudaFree(b.data);  // waits for what uses it
      return;
    }
    caches[&stream].free[b.bytes].push_back(b.data);
    cached += b.bytes;
  }

  void release_passed() {
    if (Turn::is_mine()) return;  // what is released may need Python's lock
    std::vector<Deferred> ready;
    {
      std::lock_guard lock(mutex);
      if (deferred.empty()) return;
      const auto waiting = std::partition(deferred.begin(), deferred.end(), [](const Deferred& d) {
        return cudaEventQuery(d.passed) == cudaErrorNotReady;
      });
      ready.assign(std::make_move_iterator(waiting), std::make_move_iterator(deferred.end()));
      deferred.erase(waiting, deferred.end());
    }
    for (Deferred& d : ready) {
      cudaEventDestroy(d.passed);
      d.release();
    }
  }
};

class DeviceBuffer : public Buffer {
 public:
  DeviceBuffer(void* data, std::size_t bytes, Stream& home) : Buffer(data, bytes), home_(&home), last_(&home) {}
  bool on_host() const noexcept override { return false; }

  void use(Stream& stream) const {
    if (last_.load(std::memory_order_relaxed) == &stream) return;
    Stream* before = last_.exchange(&stream);
    if (before != &stream) stream.wait_for(*before);
  }

 protected:
  Stream* const home_;
  mutable std::atomic<Stream*> last_;
};

}  // namespace

// Blocks that recorded work uses: they may serve later parts of the same recording, and nothing else while it lives.
class Capture {
 public:
  explicit Capture(Stream& stream) : stream_(stream) {}
  ~Capture() {
    for (const Block& b : blocks_) {
      mark_freed(b.data, b.bytes, stream_.handle());
      Allocator::get().give(stream_, b);
    }
  }
  void* take(std::size_t bytes) {
    const auto fit = std::find_if(blocks_.begin(), blocks_.end(), [&](const Block& b) { return b.bytes == bytes; });
    if (fit == blocks_.end()) return nullptr;
    void* p = fit->data;
    blocks_.erase(fit);
    return p;
  }
  void give(Block b) { blocks_.push_back(b); }

 private:
  Stream& stream_;
  std::vector<Block> blocks_;
};

namespace {

class OwnBuffer final : public DeviceBuffer {
 public:
  using DeviceBuffer::DeviceBuffer;
  ~OwnBuffer() override {
    const Block block{data(), rounded(bytes())};
    const Turn turn;
    Stream* last = last_.load();
    if (last->capture) {
      last->capture->give(block);
      return;
    }
    try {
      if (last != home_) home_->wait_for(*last);
    } catch (const DeviceError&) {
      return;  // the device is broken: so is its memory
    }
    mark_freed(block.data, block.bytes, home_->handle());
    Allocator::get().give(*home_, block);
  }
};

class ForeignBuffer final : public DeviceBuffer {
 public:
  ForeignBuffer(void* data, std::size_t bytes, Stream& home, std::function<void()> release)
      : DeviceBuffer(data, bytes, home), release_(std::move(release)) {}
  ~ForeignBuffer() override {
    Allocator& allocator = Allocator::get();
    {
      const Turn turn;
      cudaEvent_t passed = nullptr;
      // Of a device that is broken nobody uses anything.
      if (cudaEventCreateWithFlags(&passed, cudaEventDisableTiming) == cudaSuccess)
        cudaEventRecord(passed, last_.load()->handle());
      std::lock_guard lock(allocator.mutex);
      allocator.deferred.push_back({passed, std::move(release_)});
    }
    allocator.release_passed();
  }

 private:
  std::function<void()> release_;
};

// Names of recordings, by what is in them. They live as long as the process.
const char* name_of(const std::vector<const char*>& parts) {
  static std::set<std::string>& names = *new std::set<std::string>;
  std::string name = "compiled function (";
  for (const char* part : parts) name += (part == parts[0] ? "" : ", ") + std::string(part);
  return names.insert(name + ")").first->c_str();
}

class RecordedWork final : public Replay {
 public:
  RecordedWork(Stream& stream, cudaGraphExec_t graph, const char* name, std::unique_ptr<Capture> memory)
      : home_(stream), last_(&stream), graph_(graph), name_(name), memory_(std::move(memory)) {}
  ~RecordedWork() override {
    const Turn turn;
    cudaGraphExecDestroy(graph_);  // once it is done
    try {
      if (last_ != &home_) home_.wait_for(*last_);
    } catch (const DeviceError&) {
      // The device is broken: so is its memory.
    }
    memory_.reset();
  }
  void run(std::span<const Array* const> operands) override {
    Turn turn;
    Stream& stream = this_stream();
    stream.begin(name_);
    for (const Array* a : operands) use(*a->buffer(), stream);
    if (last_ != &stream) stream.wait_for(*std::exchange(last_, &stream));
    stream.check(cudaGraphLaunch(graph_, stream.handle()), name_);
    turn.end();
    stream.end();
  }

 private:
  Stream& home_;
  Stream* last_;
  cudaGraphExec_t graph_;
  const char* const name_;
  std::unique_ptr<Capture> memory_;
};

}  // namespace

Ref<Buffer> allocate_device(std::size_t bytes) {
  Allocator& allocator = Allocator::get();
  allocator.release_passed();
  if (bytes > std::size_t{1} << 48) throw std::bad_alloc();
  Stream& stream = this_stream();
  const std::size_t room = rounded(bytes);
  void* p = stream.capture ? stream.capture->take(room) : nullptr;
  if (!p) p = allocator.take(stream, room, bytes);
  mark_allocated(p, bytes, stream.handle());
  return make_ref<OwnBuffer>(p, bytes, stream);
}

Ref<Buffer> adopt_device(void* data, std::size_t bytes, std::function<void()> release) {
  return make_ref<ForeignBuffer>(data, bytes, this_stream(), std::move(release));
}

void use(const Buffer& buffer, Stream& stream) {
  if (!buffer.on_host()) static_cast<const DeviceBuffer&>(buffer).use(stream);
}

Ref<Replay> record_stream(const std::function<void()>& work, std::span<const Array* const> operands) {
  Stream& stream = this_stream();
  if (stream.capture) {  // part of a recording already
    work();
    return {};
  }
  const Turn turn;
  for (const Array* a : operands) use(*a->buffer(), stream);  // a recording cannot wait for what is not part of it
  auto memory = std::make_unique<Capture>(stream);
  if (cudaStreamBeginCapture(stream.handle(), cudaStreamCaptureModeRelaxed) != cudaSuccess) {
    cudaGetLastError();
    work();
    return {};
  }
  stream.capture = memory.get();
  const std::vector<const char*> asked_before = stream.swap_asked({});
  cudaGraph_t graph = nullptr;
  const char* name = nullptr;
  const auto finish = [&] {
    stream.capture = nullptr;
    name = name_of(stream.swap_asked(asked_before));
    return cudaStreamEndCapture(stream.handle(), &graph);
  };
  try {
    work();
  } catch (...) {
    if (finish() == cudaSuccess && graph) cudaGraphDestroy(graph);
    cudaGetLastError();
    throw;
  }
  cudaGraphExec_t exec = nullptr;
  const bool done = finish() == cudaSuccess && graph && cudaGraphInstantiate(&exec, graph, 0) == cudaSuccess;
  if (graph) cudaGraphDestroy(graph);
  if (!done) {  // nothing has run yet
    cudaGetLastError();
    work();
    return {};
  }
  auto recorded = make_ref<RecordedWork>(stream, exec, name, std::move(memory));
  recorded->run({});
  return recorded;
}

}  // namespace evolute::cuda
