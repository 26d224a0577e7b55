#include "core/thread_pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "evolute/error.h"

// One region runs at a time. Each thread has a range of its parts, the same share every time: what it wrote in one
// kernel is still in its caches when the next one reads it. Who is done with its own takes from the others. A range is
// one atomic word: its end in the upper half, the next part in the lower. Adding 1 to it claims a part, if there was
// one left. A claim says by itself whether it is valid, so that a worker which comes too late touches nothing of a
// region that is over; and a region with a valid claim cannot end before that part is done, so that what the claim
// gives access to stays as it is.

namespace evolute {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::nanoseconds;

// How long an idle worker, or a caller whose workers are not done, spins before it sleeps. Waking a thread takes about
// as long. It bridges the last part of a region, which others may still be at, and the gap to the next kernel of the
// same computation.
constexpr nanoseconds kSpin{100'000};

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

// Spins until `done()`; false if that took longer than `limit`.
template <class F>
bool spin(nanoseconds limit, F&& done) {
  for (int i = 0; i < 64; ++i) {
    if (done()) return true;
    relax();
  }
  const auto end = Clock::now() + limit;
  do {
    for (int i = 0; i < 16; ++i) {
      if (done()) return true;
      relax();
    }
  } while (Clock::now() < end);
  return done();
}

constexpr std::int64_t kMaxParts = std::int64_t{1} << 30;

// The parts of a region that one thread is to do.
struct alignas(64) Range {
  std::atomic<std::uint64_t> word{0};

  void set(std::int64_t begin, std::int64_t end) {
    word.store(static_cast<std::uint64_t>(end) << 32 | static_cast<std::uint64_t>(begin), std::memory_order_release);
  }
  // The next part, or -1.
  std::int64_t claim() {
    const auto left = [](std::uint64_t w) { return (w & 0xffff'ffff) < w >> 32; };
    if (!left(word.load(std::memory_order_relaxed))) return -1;
    const std::uint64_t w = word.fetch_add(1, std::memory_order_acq_rel);
    return left(w) ? static_cast<std::int64_t>(w & 0xffff'ffff) : -1;
  }
};

thread_local bool in_region = false;

class Pool {
 public:
  explicit Pool(Pool* of_parent) : of_parent(of_parent) {}
  Pool* const of_parent;  // from before a fork: its threads are not in this process, but its memory is

  // Has `n` workers, or as many as the system allows. No region is running.
  void resize(int n) {
    if (wanted_ == n) return;
    stop();
    wanted_ = n;
    workers_.reserve(static_cast<std::size_t>(n));
    ranges_ = std::vector<Range>(static_cast<std::size_t>(n) + 1);  // the last one is the caller's
    sigset_t all, old;                                              // signals are for the threads of the program
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    try {
      while (workers_.size() < static_cast<std::size_t>(n))
        workers_.emplace_back([this, own = workers_.size()] { work(own); });
    } catch (const std::system_error&) {
    }
    pthread_sigmask(SIG_SETMASK, &old, nullptr);
  }

  void stop() {
    stopping_.store(true);
    wake(workers_.size());
    for (std::thread& t : workers_) t.join();
    workers_.clear();
    stopping_.store(false);
    wanted_ = 0;
    avoided_cpu_ = -1;
  }

  void run(std::int64_t parts, detail::PartFunction f, void* context) {
    function_ = f;
    context_ = context;
    error_ = nullptr;
    pending_.store(static_cast<std::int32_t>(parts), std::memory_order_relaxed);
    const auto threads = static_cast<std::int64_t>(ranges_.size());
    for (std::int64_t i = 0; i < threads; ++i)
      ranges_[static_cast<std::size_t>(i)].set(parts * i / threads, parts * (i + 1) / threads);
    region_.fetch_add(1);
    if (sleeping_.load() > 0) keep_off_this_cpu();
    if (const int n = sleeping_.load()) wake(static_cast<std::size_t>(std::min<std::int64_t>(n, parts - 1)));

    run_parts(ranges_.size() - 1);
    const auto done = [this] { return pending_.load(std::memory_order_acquire) == 0; };
    if (!spin(kSpin, done))
      for (std::int32_t n; (n = pending_.load(std::memory_order_acquire)) != 0;) pending_.wait(n);
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

 private:
  // Workers that sleep must not be woken on the caller's own CPU: they would wait there until the caller is done.
  void keep_off_this_cpu() {
#if defined(__linux__)
    const int cpu = sched_getcpu();
    if (cpu == avoided_cpu_) return;
    cpu_set_t cpus;
    if (cpu < 0 || sched_getaffinity(0, sizeof cpus, &cpus) != 0 || CPU_COUNT(&cpus) < 2) return;
    CPU_CLR(static_cast<std::size_t>(cpu), &cpus);
    for (std::thread& t : workers_) pthread_setaffinity_np(t.native_handle(), sizeof cpus, &cpus);
    avoided_cpu_ = cpu;
#endif
  }

  // All parts that are left, those of one's own range first.
  void run_parts(std::size_t own) {
    for (std::size_t i = 0; i < ranges_.size(); ++i) {
      Range& range = ranges_[(own + i) % ranges_.size()];
      for (std::int64_t part; (part = range.claim()) >= 0;) run_part(part);
    }
  }

  void run_part(std::int64_t part) {
    try {
      function_(context_, part);
    } catch (...) {
      std::lock_guard lock(error_mutex_);
      if (!error_ || part < error_part_) {
        error_ = std::current_exception();
        error_part_ = part;
      }
    }
    if (pending_.fetch_sub(1, std::memory_order_acq_rel) == 1) pending_.notify_one();
  }

  void wake(std::size_t n) {
    wakeups_.fetch_add(1);
    if (n >= workers_.size())
      wakeups_.notify_all();
    else
      for (; n > 0; --n) wakeups_.notify_one();
  }

  void work(std::size_t own) {
    in_region = true;  // whatever a part calls runs on this thread
    std::uint32_t seen = 0;
    for (;;) {
      const auto called = [&] {
        return region_.load(std::memory_order_acquire) != seen || stopping_.load(std::memory_order_relaxed);
      };
      if (!spin(kSpin, called)) {
        const std::uint32_t before = wakeups_.load();
        sleeping_.fetch_add(1);
        // Either this sees the caller's region, or the caller sees that somebody sleeps.
        if (region_.load() == seen && !stopping_.load()) wakeups_.wait(before);
        sleeping_.fetch_sub(1);
      }
      if (stopping_.load()) return;
      seen = region_.load();
      run_parts(own);
    }
  }

  // What a worker needs to begin is on one cache line, what it writes at the end on another.
  alignas(64) std::atomic<std::uint32_t> region_{0};  // counts them
  detail::PartFunction function_ = nullptr;
  void* context_ = nullptr;
  alignas(64) std::atomic<std::int32_t> pending_{0};
  alignas(64) std::atomic<std::uint32_t> wakeups_{0};
  std::atomic<int> sleeping_{0};
  std::atomic<bool> stopping_{false};
  std::mutex error_mutex_;
  std::exception_ptr error_;
  std::int64_t error_part_ = 0;
  std::vector<Range> ranges_;
  std::vector<std::thread> workers_;
  int wanted_ = 0;
  int avoided_cpu_ = -1;  // where no worker runs; -1 before the first wake-up
};

// ---- the process's pool ---------------------------------------------------------------------------------------------

// Whoever has set `busy` may use the pool; nobody waits for it but those who end or fork the process.
std::atomic<bool> busy{false}, closed{false};
Pool* pool = nullptr;
Pool* left_behind = nullptr;
std::atomic<int> wanted_threads{0};

void wait_for_pool() {
  while (busy.exchange(true, std::memory_order_acquire)) std::this_thread::yield();
}
void leave_pool() { busy.store(false, std::memory_order_release); }

struct StopAtExit {
  StopAtExit() {
    // Between two regions the pool is in order; the child then forgets it and makes its own.
    pthread_atfork(wait_for_pool, leave_pool, [] {
      if (pool) left_behind = std::exchange(pool, nullptr);
      leave_pool();
    });
  }
  ~StopAtExit() {
    wait_for_pool();
    closed.store(true);
    if (pool) pool->stop();
    leave_pool();
  }
};

Pool& started_pool(int workers) {
  static StopAtExit at_exit;
  if (!pool) pool = new Pool(left_behind);
  pool->resize(workers);
  return *pool;
}

// The CPU time that a container may use, in CPUs; 0 if it has no limit.
int cgroup_quota() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");  // "max 100000" or "150000 100000"
  double quota = 0, period = 0;
  return file >> quota >> period && quota > 0 && period > 0 ? static_cast<int>(std::ceil(quota / period)) : 0;
}

int default_num_threads() {
  if (const char* text = std::getenv("EVOLUTE_NUM_THREADS"); text && *text) {
    char* end = nullptr;
    const long n = std::strtol(text, &end, 10);
    if (*end != '\0' || n < 1 || n > 1 << 16)
      throw ValueError(cat("EVOLUTE_NUM_THREADS=", text, ": must be a positive integer"));
    return static_cast<int>(n);
  }
  int n = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__)
  cpu_set_t cpus;
  if (sched_getaffinity(0, sizeof cpus, &cpus) == 0) n = CPU_COUNT(&cpus);
#endif
  if (const int quota = cgroup_quota()) n = std::min(n, quota);
  return std::max(n, 1);
}

}  // namespace

int num_threads() {
  const int n = wanted_threads.load(std::memory_order_relaxed);
  if (n > 0) return n;
  static const int chosen = default_num_threads();
  return chosen;
}

void set_num_threads(int n) {
  if (n < 1) throw ValueError(cat("set_num_threads: needs a positive number, got ", n));
  wanted_threads.store(n, std::memory_order_relaxed);
}

int worthwhile_parts(double ns) {
  constexpr double kPartNs = 5'000;  // a region costs one or two microseconds
  if (ns < 2 * kPartNs || in_region) return 1;
  return static_cast<int>(std::min<double>(num_threads(), ns / kPartNs));
}

int balanced_parts(double ns) {
  constexpr double kPartNs = 20'000, kMost = 8;
  const int parts = worthwhile_parts(ns);
  // The same number for each thread, should all be equally fast.
  return parts == 1 ? 1 : parts * static_cast<int>(std::clamp(ns / (parts * kPartNs), 1.0, kMost));
}

void detail::run_parts(std::int64_t parts, PartFunction f, void* context) {
  const int threads = in_region ? 1 : num_threads();
  if (parts <= 1 || parts > kMaxParts || threads == 1 || closed.load(std::memory_order_relaxed) ||
      busy.exchange(true, std::memory_order_acquire)) {
    for (std::int64_t part = 0; part < parts; ++part) f(context, part);
    return;
  }
  struct Region {
    Region() { in_region = true; }
    ~Region() {
      in_region = false;
      leave_pool();
    }
  } region;
  started_pool(threads - 1).run(parts, f, context);
}

}  // namespace evolute
