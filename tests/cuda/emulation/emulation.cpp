// Kernels: memory that is checked, and threads as fibres.
#include "emulation.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <vector>

#include "arena.h"

namespace evolute::cuda::emulation {

Arena::Arena() {
  const auto map = [] {
    void* p = mmap(nullptr, kArena, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    return p;
  };
  base = static_cast<std::byte*>(map());
  shadow = static_cast<std::uint8_t*>(map());
  if (const char* bytes = std::getenv("EVOLUTE_EMULATED_BYTES")) total = std::strtoull(bytes, nullptr, 10);
  if (const char* blocks = std::getenv("EVOLUTE_EMULATED_SAMPLE")) sample = std::max(std::atoi(blocks), 2);
}
bool Arena::allocated(const volatile void* p, std::size_t bytes) const {
  const auto offset = static_cast<std::size_t>(static_cast<const volatile std::byte*>(p) - base);
  const auto next = blocks.upper_bound(offset);
  if (next == blocks.begin()) return false;
  const auto& [begin, size] = *std::prev(next);
  return offset + bytes <= begin + size;
}
Arena& Arena::get() {
  static Arena& arena = *new Arena;
  return arena;
}

thread_local std::string failure;

bool fail(const std::string& what) {
  if (failure.empty()) failure = what;
  return false;
}

bool check_aligned(const volatile void* p, std::size_t bytes) {
  return reinterpret_cast<std::uintptr_t>(p) % bytes == 0 ||
         fail("an access of " + std::to_string(bytes) + " bytes that is not aligned");
}

bool check(const volatile void* p, std::size_t bytes, bool write) {
  Arena& arena = Arena::get();
  if (!arena.contains(const_cast<const void*>(p)))
    return fail("an access of " + std::to_string(bytes) + " bytes outside of device memory");
  if (arena.sample > 0)
    return arena.allocated(p, bytes) ||
           fail("an access of " + std::to_string(bytes) + " bytes outside of all allocations");
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

std::array<std::uint64_t, 32> exchange_all(std::uint64_t mine) {
  Block& b = block();
  Warp& w = b.warp();
  const unsigned parity = w.generation % 2;
  w.slot[parity][b.current % 32] = mine;
  sync_warp(b, w);
  std::array<std::uint64_t, 32> all;
  std::memcpy(all.data(), w.slot[parity], sizeof all);
  return all;
}

void* shared_memory(std::size_t bytes) {
  if (bytes > sizeof(Block::shared)) std::abort();
  return block().shared;
}

void run_blocks(const char* kernel, dim3 grid, dim3 block_size, const std::function<void()>& body) {
  Block& b = block();
  b.body = &body;
  place.block_size = block_size;
  place.grid = grid;
  const std::uint64_t blocks = std::uint64_t{grid.x} * grid.y * grid.z;
  const auto sample = static_cast<std::uint64_t>(Arena::get().sample);
  const std::uint64_t runs = sample > 0 ? std::min(blocks, sample) : blocks;
  for (std::uint64_t i = 0; i < runs; ++i) {  // the first, the last, and some between them
    const std::uint64_t n = runs < blocks ? i * (blocks - 1) / (runs - 1) : i;
    place.block = {static_cast<unsigned>(n % grid.x), static_cast<unsigned>(n / grid.x % grid.y),
                   static_cast<unsigned>(n / grid.x / grid.y)};
    run_block(b, block_size);
  }
  throw_failure(kernel);
}

}  // namespace evolute::cuda::emulation
