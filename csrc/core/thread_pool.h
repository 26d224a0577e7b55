// Threads for kernels: one pool per process, started when first needed.
//
// A kernel cuts its work into parts that do not depend on the number of threads, or at least whose results do not;
// which thread runs which part is then of no consequence. The caller runs part 0 and whatever no worker has begun in
// time, so that a region is never much slower than a plain loop, even when the workers are asleep or the machine is
// busy.
#pragma once

#include <cstdint>
#include <type_traits>

#include "evolute/threads.h"

namespace evolute {

namespace detail {
using PartFunction = void (*)(void* context, std::int64_t part);
void run_parts(std::int64_t parts, PartFunction f, void* context);
}  // namespace detail

// Calls f(part) for every part in [0, parts), on up to num_threads() threads, and returns when all are done.
//
// On the caller's thread alone inside of another region, and while another thread has the pool. If parts throw, the
// exception of the lowest of them is rethrown; parts after it may or may not have run. f must not wait for another
// part.
template <class F>
void parallel_for(std::int64_t parts, F&& f) {
  if (parts == 1) return f(std::int64_t{0});
  detail::run_parts(
      parts, [](void* context, std::int64_t part) { (*static_cast<std::remove_reference_t<F>*>(context))(part); },
      const_cast<void*>(static_cast<const void*>(&f)));
}

// Into how many parts to cut work that takes one thread `ns` nanoseconds: waking the others must pay. A kernel whose
// results depend on the cut uses something else.
int worthwhile_parts(double ns);

// The same with up to a few parts per thread, so that none waits long for another that was late or was interrupted.
int balanced_parts(double ns);

// Calls f(begin, end) on ranges that cover [0, n), one after the other or side by side. `ns` is the time that one
// thread takes for one of the n items; ranges begin at multiples of `align`.
template <class F>
void parallel_ranges(std::int64_t n, double ns, F&& f, std::int64_t align = 1) {
  const std::int64_t units = (n + align - 1) / align;
  const std::int64_t parts = units > 1 ? balanced_parts(static_cast<double>(n) * ns) : 1;
  if (parts == 1) return n > 0 ? f(std::int64_t{0}, n) : void();
  const std::int64_t count = parts < units ? parts : units;
  parallel_for(count, [&](std::int64_t part) {
    const std::int64_t begin = units * part / count * align, end = units * (part + 1) / count * align;
    f(begin, end < n ? end : n);
  });
}

}  // namespace evolute
