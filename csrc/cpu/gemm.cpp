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
  Product(const GemmKernels<T>& kernels, Extent e, Matrix<const T> a, Matrix<const T> b, Matrix<T> c)
      : kernels_(kernels), e_(e), a_(a), b_(b), c_(c) {
    tidy_strides();
    choose_method();
  }

  void run() const {
    if (e_.m * e_.n <= kFewResults && e_.k >= 4 * kLongSum) return run_chunks();
    if (method_ == Method::Blocks && c_.cs != 1) return run_aside();
    const Index parts = worthwhile_parts(nanoseconds());
    if (parts == 1) return run_part({0, e_.m}, {0, e_.n});
    const auto [rows, columns] = grid(parts);
    parallel_for(rows * columns, [&](Index part) {
      run_part(share(e_.m, rows, part / columns, 1), share(e_.n, columns, part % columns, kernels_.panel));
    });
  }

 private:
  static constexpr Index kFewResults = 128 * 128, kLongSum = 1024;
  static constexpr Index kBlockBytes = 1 << 20;  // of B; half of a common L2

  struct Range {
    Index begin, end;
    Index size() const { return end - begin; }
  };

  // Along an axis of length 1 a stride means nothing: let it be that of a dense matrix.
  void tidy_strides() {
    if (e_.k == 1) a_.cs = 1, b_.rs = e_.n;
    if (e_.m == 1) c_.rs = e_.n;
    if (e_.n == 1) b_.cs = 1, c_.cs = 1;
  }
  void transpose() {
    std::swap(e_.m, e_.n);
    std::swap(a_, b_);
    std::swap(a_.rs, a_.cs);
    std::swap(b_.rs, b_.cs);
    std::swap(c_.rs, c_.cs);
  }

  bool fits_dot() const { return e_.n <= kernels_.columns && a_.cs == 1 && e_.k >= kDotLength * e_.n; }
  bool fits_row() const { return e_.m == 1 && b_.cs == 1; }
  static constexpr Index kDotLength = 12;  // from where on a sum over lanes costs less than idle lanes

  void choose_method() {
    for (int turn = 0; turn < 2; ++turn, transpose())
      if (fits_dot()) return void(method_ = Method::Dot);
    for (int turn = 0; turn < 2; ++turn, transpose())
      if (fits_row()) return void(method_ = Method::Row);
    const bool narrow = e_.n <= kernels_.columns && e_.m > kernels_.columns && a_.rs == 1;
    if (narrow || (c_.cs != 1 && c_.rs == 1)) transpose();
  }

  // What one thread takes, about: the arithmetic at full rate, or the reading of both matrices.
  double nanoseconds() const {
    const double m = static_cast<double>(e_.m), n = static_cast<double>(e_.n), k = static_cast<double>(e_.k);
    if (method_ != Method::Blocks) return (m + n) * k * sizeof(T) / 10;
    return m * n * k / (3 * static_cast<double>(kernels_.panel));
  }

  static Range share(Index n, Index parts, Index part, Index unit) {
    const Index units = quotient_up(n, unit);
    return {units * part / parts * unit, std::min(units * (part + 1) / parts * unit, n)};
  }

  // Parts along the rows and the columns of C: so that the largest is small, and little of B is packed twice.
  std::pair<Index, Index> grid(Index parts) const {
    if (method_ == Method::Dot) return {std::min(parts, e_.m), 1};
    std::pair<Index, Index> best{1, 1};
    double least = 0;
    for (Index columns = 1; columns <= parts; ++columns) {
      const Index rows = std::min(parts / columns, e_.m);
      if (columns > quotient_up(e_.n, kernels_.panel)) break;
      const double m = static_cast<double>(quotient_up(e_.m, rows));
      const double n = static_cast<double>(round_up(quotient_up(e_.n, columns), kernels_.panel));
      const double work = (m + 8) * n;
      if (columns == 1 || work < least) best = {rows, columns}, least = work;
    }
    return best;
  }

  // Few results, each a long sum: partial sums side by side, then their sum.
  void run_chunks() const {
    const Index chunks = std::min<Index>(std::bit_floor(static_cast<std::uint64_t>(e_.k / kLongSum)), 16);
    const Index size = e_.m * e_.n;
    T* sums;
    const Ref<Buffer> buffer = allocate(chunks * size, sums);
    const auto chunk = [&](Index i) {
      const Range k = share(e_.k, chunks, i, 64);
      Product part = *this;
      part.e_.k = k.size();
      part.a_.p += k.begin * a_.cs;
      part.b_.p += k.begin * b_.rs;
      part.c_ = {sums + i * size, e_.n, 1};
      part.run_part({0, e_.m}, {0, e_.n});
    };
    if (worthwhile_parts(nanoseconds()) > 1)
      parallel_for(chunks, chunk);
    else
      for (Index i = 0; i < chunks; ++i) chunk(i);
    for (Index i = 1; i < chunks; ++i)
      for (Index j = 0; j < size; ++j) sums[j] += sums[i * size + j];
    copy_result(sums);
  }

  // Where neither rows nor columns of C are dense, or the transposed product is the better one.
  void run_aside() const {
    T* result;
    const Ref<Buffer> buffer = allocate(e_.m * e_.n, result);
    Product aside = *this;
    aside.c_ = {result, e_.n, 1};
    aside.run();
    copy_result(result);
  }
  void copy_result(const T* from) const {
    for (Index i = 0; i < e_.m; ++i)
      for (Index j = 0; j < e_.n; ++j) c_.p[i * c_.rs + j * c_.cs] = from[i * e_.n + j];
  }

  void run_part(Range rows, Range columns) const {
    const Extent e{rows.size(), columns.size(), e_.k};
    const Matrix<const T> a{a_.p + rows.begin * a_.rs, a_.rs, a_.cs}, b{b_.p + columns.begin * b_.cs, b_.rs, b_.cs};
    const Matrix<T> c{c_.p + rows.begin * c_.rs + columns.begin * c_.cs, c_.rs, c_.cs};
    switch (method_) {
      case Method::Dot: return run_dot(e, a, b, c);
      case Method::Row: return kernels_.row(e, a, b, c);
      case Method::Blocks: return run_blocks(e, a, b, c);
    }
  }

  void run_dot(Extent e, Matrix<const T> a, Matrix<const T> b, Matrix<T> c) const {
    if (b.rs == 1) return kernels_.dot(e, a, b, c);
    T* columns;
    const Ref<Buffer> buffer = allocate(e.n * e.k, columns);
    for (Index j = 0; j < e.n; ++j)
      for (Index p = 0; p < e.k; ++p) columns[j * e.k + p] = b.p[p * b.rs + j * b.cs];
    kernels_.dot(e, a, {columns, 1, e.k}, c);
  }

  bool worth_packing(Extent e, Matrix<const T> b) const {
    if (b.cs != 1) return true;
    const Index pitch = b.rs * Index{sizeof(T)};
    return (pitch >= 4096 && e.m > 2 * kernels_.rows) || (pitch >= 1024 && e.m > 12 * kernels_.rows);
  }

  void run_blocks(Extent e, Matrix<const T> a, Matrix<const T> b, Matrix<T> c) const {
    const Index panel = kernels_.panel;
    const Index depth = quotient_up(e.k, quotient_up(e.k, kernels_.depth));
    const Index most = std::max<Index>(kBlockBytes / (depth * Index{sizeof(T)} * panel), 1) * panel;
    const Index width = round_up(quotient_up(e.n, quotient_up(e.n, most)), panel);
    const bool pack_b = worth_packing(e, b);
    const bool pack_a = a.cs * Index{sizeof(T)} >= 1024 && width >= 4 * panel;
    T* packed = nullptr;
    const Ref<Buffer> buffer = pack_b ? allocate(depth * width, packed) : Ref<Buffer>();
    for (Index j = 0; j < e.n; j += width) {
      const Index n = std::min(width, e.n - j);
      for (Index p = 0; p < e.k; p += depth) {
        const Index k = std::min(depth, e.k - p);
        const Matrix<const T> from{b.p + p * b.rs + j * b.cs, b.rs, b.cs};
        GemmBlock<T> block{{e.m, n, k}, {a.p + p * a.cs, a.rs, a.cs}, from.p, b.rs, panel, c.p + j, c.rs, p > 0,
                           pack_a};
        if (pack_b) {
          kernels_.pack(from, k, n, packed);
          block.b = packed;
          block.b_rs = panel;
          block.b_panel = panel * k;
        }
        kernels_.block(block);
      }
    }
  }

  const GemmKernels<T>& kernels_;
  Extent e_;
  Matrix<const T> a_, b_;
  Matrix<T> c_;
  Method method_ = Method::Blocks;
};

}  // namespace

template <class T>
void gemm(const GemmKernels<T>& kernels, Extent e, Matrix<const T> a, Matrix<const T> b, Matrix<T> c) {
  if (e.m == 0 || e.n == 0) return;
  if (e.k == 0) {
    for (Index i = 0; i < e.m; ++i)
      for (Index j = 0; j < e.n; ++j) c.p[i * c.rs + j * c.cs] = T(0);
    return;
  }
  Product<T>(kernels, e, a, b, c).run();
}
template void gemm(const GemmKernels<float>&, Extent, Matrix<const float>, Matrix<const float>, Matrix<float>);
template void gemm(const GemmKernels<double>&, Extent, Matrix<const double>, Matrix<const double>, Matrix<double>);

}  // namespace evolute::cpu
