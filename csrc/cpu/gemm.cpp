// How a matrix product is cut into blocks and parts; what is done within a block is in cpu/simd/gemm.cpp.
//
// A block of B stays in L2 while rows of A pass by, read where they are. B is packed into panels where its rows are not
// dense, or so far apart that they compete for few sets of the caches and pages of the TLB; small and narrow matrices
// never are. Threads compute parts of C, each with its own packed panels. Products with few results and a long sum are
// cut along k instead, at places that depend on the shape alone.
#include "cpu/gemm.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "core/buffer.h"
#include "core/thread_pool.h"

namespace evolute::cpu {

namespace {

using Index = std::int64_t;

constexpr Index quotient_up(Index a, Index b) { return (a + b - 1) / b; }
constexpr Index round_up(Index a, Index unit) { return quotient_up(a, unit) * unit; }

template <class T>
Ref<Buffer> allocate(Index count, T*& data) {
  Ref<Buffer> buffer = allocate_host(static_cast<std::size_t>(count) * sizeof(T));
  data = reinterpret_cast<T*>(buffer->data());
  return buffer;
}

// The kernel that does the work.
enum class Method { Blocks, Dot, Row };

template <class T>
class Product {
 public:
  Product(const GemmKernels<T>& kernels, const Gemm<T>& g) : kernels_(kernels), g_(g) {
    tidy_strides();
    choose_method();
  }

  // Every product of a batch, this one being the first.
  void run(const Batch& batch) const {
    if (batch.count == 1) return run();
    const auto some = [&](Index begin, Index end) {
      Product product = *this;
      const auto step = [&](Index i) {
        product.g_.a.p += i * (transposed_ ? batch.b : batch.a);
        product.g_.b.p += i * (transposed_ ? batch.a : batch.b);
        product.g_.c.p += i * batch.c;
      };
      step(begin);
      for (Index i = begin; i < end; ++i, step(1)) product.run();
    };
    const double ns = nanoseconds();
    if (ns > kLong)
      some(0, batch.count);
    else
      parallel_ranges(batch.count, kCallNs + ns, some);
  }

  void run() const {
    const Extent& e = g_.extent;
    if (e.m * e.n <= kFewResults && e.k >= 4 * kLongSum) return run_chunks();
    if (method_ == Method::Blocks && g_.c.cs != 1) return run_aside();
    const Index parts = worthwhile_parts(nanoseconds());
    if (parts == 1) return run_part({0, e.m}, {0, e.n});
    const auto [rows, columns] = grid(parts);
    parallel_for(rows * columns, [&](Index part) {
      run_part(share(e.m, rows, part / columns, 1), share(e.n, columns, part % columns, kernels_.panel));
    });
  }

 private:
  static constexpr Index kFewResults = 128 * 128, kLongSum = 1024;
  static constexpr Index kBlockElements = (1 << 20) / sizeof(T);  // of B; half of a common L2
  static constexpr double kLong = 100'000;  // ns; of a batch, products that take longer are better cut themselves
  static constexpr double kCallNs = 20;

  struct Range {
    Index begin, end;
    Index size() const { return end - begin; }
  };

  // Along an axis of length 1 a stride means nothing: let it be that of a dense matrix.
  void tidy_strides() {
    const Extent& e = g_.extent;
    if (e.k == 1) g_.a.cs = 1, g_.b.rs = e.n;
    if (e.m == 1) g_.c.rs = e.n;
    if (e.n == 1) g_.b.cs = 1, g_.c.cs = 1;
  }
  void transpose() {
    std::swap(g_.extent.m, g_.extent.n);
    std::swap(g_.a, g_.b);
    std::swap(g_.a.rs, g_.a.cs);
    std::swap(g_.b.rs, g_.b.cs);
    std::swap(g_.c.rs, g_.c.cs);
    transposed_ = !transposed_;
  }

  // From where on a sum over lanes costs less than idle lanes.
  static constexpr Index kDotLength = 12;

  void choose_method() {
    const Extent& e = g_.extent;
    const auto few = [&](Index columns, Index stride) {
      return columns <= kernels_.columns && stride == 1 && e.k >= kDotLength * columns;
    };
    const bool dot = few(e.n, g_.a.cs), dot_transposed = few(e.m, g_.b.rs);
    const bool row = e.m == 1 && g_.b.cs == 1, row_transposed = e.n == 1 && g_.a.rs == 1;
    if (dot || dot_transposed) {
      method_ = Method::Dot;
      if (!dot) transpose();
    } else if (row || row_transposed) {
      method_ = Method::Row;
      if (!row) transpose();
    } else {
      const bool narrow = e.n <= kernels_.columns && e.m > kernels_.columns && g_.a.rs == 1;
      if (narrow || (g_.c.cs != 1 && g_.c.rs == 1)) transpose();
    }
  }

  // What one thread takes, about: the arithmetic at full rate, or the reading of both matrices.
  double nanoseconds() const {
    const Extent& e = g_.extent;
    const double m = static_cast<double>(e.m), n = static_cast<double>(e.n), k = static_cast<double>(e.k);
    if (method_ != Method::Blocks) return (m + n) * k * sizeof(T) / 10;
    return m * n * k / (3 * static_cast<double>(kernels_.panel));
  }

  static Range share(Index n, Index parts, Index part, Index unit) {
    const Index units = quotient_up(n, unit);
    return {units * part / parts * unit, std::min(units * (part + 1) / parts * unit, n)};
  }

  // Parts along the rows and the columns of C: so that the largest is small, and reads little of A and B. Along the
  // rows if in doubt: two threads then share no cache lines of C.
  std::pair<Index, Index> grid(Index parts) const {
    const Extent& e = g_.extent;
    if (method_ == Method::Dot) return {std::min(parts, e.m), 1};
    std::pair<Index, Index> best{1, 1};
    double least = 0;
    for (Index columns = 1; columns <= parts; ++columns) {
      const Index rows = std::min(parts / columns, e.m);
      if (columns > quotient_up(e.n, kernels_.panel)) break;
      const double m = static_cast<double>(quotient_up(e.m, rows));
      const double n = static_cast<double>(round_up(quotient_up(e.n, columns), kernels_.panel));
      // Per unit of k: an element that is read costs what some multiplications do, one that is packed what many do.
      const double work = m * n + 8 * m + (worth_packing(quotient_up(e.m, rows)) ? 40 : 8) * n;
      if (columns == 1 || work < 0.97 * least) best = {rows, columns}, least = work;
    }
    return best;
  }

  // Few results, each a long sum: partial sums side by side, then their sum.
  void run_chunks() const {
    const Extent& e = g_.extent;
    const Index chunks = std::min<Index>(std::bit_floor(static_cast<std::uint64_t>(e.k / kLongSum)), 16);
    const Index size = e.m * e.n;
    T* sums;
    const Ref<Buffer> buffer = allocate(chunks * size, sums);
    const auto chunk = [&](Index i) {
      const Range k = share(e.k, chunks, i, 64);
      Product part = aside(sums + i * size);
      part.g_.extent.k = k.size();
      part.g_.a.p += k.begin * g_.a.cs;
      part.g_.b.p += k.begin * g_.b.rs;
      part.run_part({0, e.m}, {0, e.n});
    };
    if (worthwhile_parts(nanoseconds()) > 1)
      parallel_for(chunks, chunk);
    else
      for (Index i = 0; i < chunks; ++i) chunk(i);
    for (Index i = 1; i < chunks; ++i)
      for (Index j = 0; j < size; ++j) sums[j] += sums[i * size + j];
    put(sums);
  }

  // Where neither rows nor columns of C are dense, or the transposed product is the better one.
  void run_aside() const {
    T* result;
    const Ref<Buffer> buffer = allocate(g_.extent.m * g_.extent.n, result);
    aside(result).run();
    put(result);
  }
  // The same product with a dense result elsewhere, and that result put where it belongs.
  Product aside(T* result) const {
    Product product = *this;
    product.g_.c = {result, g_.extent.n, 1};
    product.g_.add = false;
    return product;
  }
  void put(const T* from) const {
    for (Index i = 0; i < g_.extent.m; ++i)
      for (Index j = 0; j < g_.extent.n; ++j, ++from) *g_.c.at(i, j) = g_.add ? *g_.c.at(i, j) + *from : *from;
  }

  void run_part(Range rows, Range columns) const {
    if (method_ == Method::Blocks) return run_blocks(rows, columns);
    Gemm<T> g = g_;
    g.extent = {rows.size(), columns.size(), g_.extent.k};
    g.a.p = g_.a.at(rows.begin, 0);
    g.b.p = g_.b.at(0, columns.begin);
    g.c.p = g_.c.at(rows.begin, columns.begin);
    method_ == Method::Dot ? run_dot(g) : kernels_.row(g);
  }

  void run_dot(Gemm<T>& g) const {
    if (g.b.rs == 1) return kernels_.dot(g);
    const Index k = g.extent.k;
    T* columns;
    const Ref<Buffer> buffer = allocate(g.extent.n * k, columns);
    for (Index j = 0; j < g.extent.n; ++j)
      for (Index p = 0; p < k; ++p) columns[j * k + p] = *g.b.at(p, j);
    g.b = {columns, 1, k};
    kernels_.dot(g);
  }

  bool worth_packing(Index m) const {
    if (g_.b.cs != 1) return true;
    const Index pitch = g_.b.rs * Index{sizeof(T)};
    return (pitch >= 4096 && m > 2 * kernels_.rows) || (pitch >= 1024 && m > 12 * kernels_.rows);
  }

  void run_blocks(Range rows, Range columns) const {
    const Index panel = kernels_.panel;
    Index depth = g_.extent.k, width = columns.size();
    if (depth > kernels_.depth || depth * (width + panel) > kBlockElements) {
      depth = quotient_up(depth, quotient_up(depth, kernels_.depth));
      const Index most = std::max<Index>(kBlockElements / (depth * panel), 1) * panel;
      width = round_up(quotient_up(width, quotient_up(width, most)), panel);
    }
    const bool pack_b = worth_packing(rows.size());
    const bool pack_a = g_.a.cs * Index{sizeof(T)} >= 1024 && width >= 4 * panel;
    T* packed = nullptr;
    const Ref<Buffer> buffer = pack_b ? allocate(kernels_.panel_elements(depth, width), packed) : Ref<Buffer>();

    for (Index j = columns.begin; j < columns.end; j += width) {
      const Index n = std::min(width, columns.end - j);
      for (Index p = 0; p < g_.extent.k; p += depth) {
        const Index k = std::min(depth, g_.extent.k - p);
        GemmBlock<T> block{{rows.size(), n, k},
                           {g_.a.at(rows.begin, p), g_.a.rs, g_.a.cs},
                           g_.b.at(p, j),
                           g_.b.rs,
                           panel,
                           g_.c.at(rows.begin, j),
                           g_.c.rs,
                           g_.add || p > 0,
                           pack_a};
        if (pack_b) {
          kernels_.pack({g_.b.at(p, j), g_.b.rs, g_.b.cs}, k, n, packed);
          block.b = packed;
          block.b_rs = panel;
          block.b_panel = panel * k;
        }
        kernels_.block(block);
      }
    }
  }

  const GemmKernels<T>& kernels_;
  Gemm<T> g_;
  bool transposed_ = false;
  Method method_ = Method::Blocks;
};

}  // namespace

template <class T>
void gemm(const GemmKernels<T>& kernels, const Gemm<T>& g, const Batch& batch) {
  const auto [m, n, k] = g.extent;
  if (m == 0 || n == 0) return;
  if (k > 0) return Product<T>(kernels, g).run(batch);
  for (Index b = 0; b < batch.count && !g.add; ++b)
    for (Index i = 0; i < m; ++i)
      for (Index j = 0; j < n; ++j) g.c.p[b * batch.c + i * g.c.rs + j * g.c.cs] = T(0);
}
template void gemm(const GemmKernels<float>&, const Gemm<float>&, const Batch&);
template void gemm(const GemmKernels<double>&, const Gemm<double>&, const Batch&);

}  // namespace evolute::cpu
