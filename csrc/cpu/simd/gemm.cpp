// Kernels of the matrix product; compiled once per instruction set.
//
// A tile of C is kept in registers while k goes by: MR rows times NV vectors of columns. Each step loads NV vectors of
// B and MR scalars of A (Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008; Van Zee and
// van de Geijn, "BLIS", 2015). Scalars are read through any strides, so that A needs no packing to be transposed;
// vectors are read from dense rows. Every element of C is summed in the order of k, whichever tile it falls into.
#include "cpu/simd.h"
#include "cpu/simd/lanes.h"

namespace evolute::cpu {
inline namespace EV_SIMD_LEVEL {

extern const GemmKernels<float> gemm_float;
extern const GemmKernels<double> gemm_double;

namespace {

// ---- tiles ----------------------------------------------------------------------------------------------------------

// The shape of the largest tile fills the registers: accumulators, one vector of B per column, a scalar of A.
#if defined(__AVX512F__)
constexpr int kVectors = 2, kRows = 14, kRowsOfOneVector = 14;
#elif defined(__AVX2__)
constexpr int kVectors = 2, kRows = 6, kRowsOfOneVector = 12;
#elif defined(__aarch64__)
constexpr int kVectors = 3, kRows = 8, kRowsOfOneVector = 8;
#else
constexpr int kVectors = 2, kRows = 4, kRowsOfOneVector = 8;
#endif

template <class T>
struct Tile {
  Index k;
  const T* a;
  Index a_rs, a_cs;
  const T* b;
  Index b_rs;
  T* c;
  Index c_rs;
  Part<T> last;  // columns in the last vector
  bool add;
  const char* ahead = nullptr;  // memory to prefetch, one line per step of k, `ahead_step` bytes apart
  Index ahead_step = 0;
};

// Address of row r, given those of rows 0, 5, 10, ...: multiples of a stride that x86 forms in an address, and one
// more.
template <class T, int r>
EV_INLINE const T* row_address(const char* const* fifth, Index rs, Index rs3) {
  const char* p = fifth[r / 5];
  constexpr int i = r % 5;
  return reinterpret_cast<const T*>(i == 3 ? p + rs3 : p + i * rs);
}

template <class T, int NV, bool whole>
EV_INLINE V<T> load_column(const T* p, int v, const Part<T>& last) {
  return whole || v < NV - 1 ? load(p + v * Lanes<T>::count) : last.load(p + v * Lanes<T>::count);
}

template <class T, int MR, int NV, bool whole>
void tile(const Tile<T>& t) {
  constexpr int L = Lanes<T>::count, kFifths = (MR + 4) / 5;
  const Part<T> last = t.last;
  const Index rs = t.a_rs * Index{sizeof(T)}, rs3 = 3 * rs, cs = t.a_cs * Index{sizeof(T)};
  const char* fifth[kFifths];
  for (int i = 0; i < kFifths; ++i) fifth[i] = reinterpret_cast<const char*>(t.a) + 5 * i * rs;
  const T* b = t.b;

  const char* ahead = t.ahead;
  const Index ahead_step = t.ahead_step;

  V<T> acc[MR][NV] = {};
  for (Index k = t.k; k > 0; --k) {
    V<T> y[NV];
    __builtin_prefetch(ahead);
    ahead += ahead_step;
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) y[v] = load_column<T, NV, whole>(b, v, last);
    [&]<int... r>(std::integer_sequence<int, r...>) __attribute__((always_inline)) {
      const auto row = [&](V<T>* sum, const T* a) __attribute__((always_inline)) {
        const V<T> x = broadcast(*a);
#pragma GCC unroll 8
        for (int v = 0; v < NV; ++v) sum[v] += x * y[v];
      };
      (row(acc[r], row_address<T, r>(fifth, rs, rs3)), ...);
    }(std::make_integer_sequence<int, MR>{});
#pragma GCC unroll 8
    for (int i = 0; i < kFifths; ++i) fifth[i] += cs;
    b += t.b_rs;
  }

  const bool add = t.add;
  const Index c_rs = t.c_rs;
  T* c = t.c;
#pragma GCC unroll 16
  for (int r = 0; r < MR; ++r, c += c_rs) {
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) {
      if (add) acc[r][v] += load_column<T, NV, whole>(c, v, last);
      if (whole || v < NV - 1)
        store(acc[r][v], c + v * L);
      else
        last.store(acc[r][v], c + v * L);
    }
  }
}

template <class T>
using TileFunction = void (*)(const Tile<T>&);

// By rows - 1, vectors - 1, and whether the last vector is whole.
template <class T>
struct TileTable {
  TileFunction<T> f[kRowsOfOneVector][kVectors][2];
};
template <class T, int MR, int NV, bool whole>
constexpr TileFunction<T> tile_function() {
  if constexpr (NV > 1 && MR > kRows)
    return nullptr;
  else
    return tile<T, MR, NV, (whole && !Part<T>::free)>;
}
template <class T, int... r, int... v>
constexpr TileTable<T> make_tiles(std::integer_sequence<int, r...>, std::integer_sequence<int, v...>) {
  TileTable<T> t{};
  const auto row = [&]<int MR>(std::integral_constant<int, MR>) {
    ((t.f[MR - 1][v][0] = tile_function<T, MR, v + 1, false>(),
      t.f[MR - 1][v][1] = tile_function<T, MR, v + 1, true>()),
     ...);
  };
  (row(std::integral_constant<int, r + 1>{}), ...);
  return t;
}
template <class T>
constexpr TileTable<T> kTiles =
    make_tiles<T>(std::make_integer_sequence<int, kRowsOfOneVector>{}, std::make_integer_sequence<int, kVectors>{});

// ---- blocks ---------------------------------------------------------------------------------------------------------

constexpr Index smaller(Index a, Index b) { return a < b ? a : b; }
constexpr Index quotient_up(Index a, Index b) { return (a + b - 1) / b; }

template <class T>
constexpr Index kPanel = kVectors * Lanes<T>::count;
// Rows of A in use stay in L1 while the panels of B go by.
template <class T>
constexpr Index kDepth = 2048 / sizeof(T);

// Copies rows of A to where they are close together, and gives the copy.
template <class T>
Matrix<const T> pack_rows(Matrix<const T> a, Index m, Index k, T* out) {
  constexpr int L = Lanes<T>::count;
  if (a.rs == 1) {  // column after column
    const Part<T> part(smaller(m, L));
    for (Index p = 0; p < k; ++p) {
      const T* from = a.p + p * a.cs;
      T* to = out + p * m;
      if (m <= L)
        part.store(part.load(from), to);
      else
        for (Index r = 0; r < m; ++r) to[r] = from[r];
    }
    return {out, 1, m};
  }
  const Index pitch = k + 64 / Index{sizeof(T)};  // not a multiple of what would make rows compete
  for (Index r = 0; r < m; ++r) {
    const T* from = a.p + r * a.rs;
    T* to = out + r * pitch;
    if (a.cs == 1)
      std::memcpy(to, from, static_cast<std::size_t>(k) * sizeof(T));
    else
      for (Index p = 0; p < k; ++p) to[p] = from[p * a.cs];
  }
  return {out, pitch, 1};
}

// Which memory a tile prefetches: the rows of A for the next row of tiles, where they lie in one piece, or else the
// next rows of B. That is what a long product of few rows or columns waits for: the hardware prefetches along streams,
// but not along as many as a tile has rows. Beyond the end of a matrix a prefetch does nothing.
template <class T>
class Ahead {
 public:
  Ahead(const GemmBlock<T>& g, Index rows) : a_columns_(g.a.rs == 1), a_step_(g.a.cs * Index{sizeof(T)}) {
    const auto [m, n, k] = g.extent;
    line_of_a_ = a_columns_ ? -kLine : k * kLine;
    if (a_columns_ || (g.a.cs == 1 && g.a.rs == k)) a_tiles_ = quotient_up(rows * Index{sizeof(T)}, kLine);
    if (g.b_panel == kPanel<T> && g.b_rs == n) b_ = reinterpret_cast<const char*>(g.b + k * n);
  }
  // For the tile in column `j` of tiles; the rows of A that follow are those at `first` to `last`.
  EV_INLINE void set(Tile<T>& t, const T* first, const T* last, Index j) {
    t.ahead_step = kLine;
    if (j < a_tiles_) {
      t.ahead = reinterpret_cast<const char*>(a_columns_ ? last : first) + j * line_of_a_;
      if (a_columns_) t.ahead_step = a_step_;
    } else if (b_) {
      t.ahead = b_;
      b_ += t.k * kLine;
    } else {
      t.ahead = reinterpret_cast<const char*>(t.c);
      t.ahead_step = 0;
    }
  }

 private:
  static constexpr Index kLine = 64;
  bool a_columns_;
  Index a_step_, line_of_a_, a_tiles_ = 0;
  const char* b_ = nullptr;
};

template <class T>
void block(const GemmBlock<T>& g) {
  constexpr int L = Lanes<T>::count;
  constexpr Index panel = kPanel<T>;
  alignas(64) T packed[kRowsOfOneVector * (kDepth<T> + 64 / sizeof(T))];
  const auto [m, n, k] = g.extent;
  const Index tiles = quotient_up(m, n <= L ? kRowsOfOneVector : kRows);
  const Index rows = quotient_up(m, tiles);  // evenly, because a tile of few rows waits for its own sums
  Ahead<T> ahead(g, rows);
  for (Index i = 0; i < m; i += rows) {
    const Index height = smaller(rows, m - i);
    Matrix<const T> a{g.a.p + i * g.a.rs, g.a.rs, g.a.cs};
    const T* next = i + rows < m ? a.p + rows * a.rs : g.a.p + k * a.cs;
    if (g.pack_a) a = pack_rows(a, height, k, packed);
    for (Index j = 0; j * panel < n; ++j) {
      const Index width = smaller(panel, n - j * panel), vectors = quotient_up(width, L),
                  last = width - (vectors - 1) * L;
      Tile<T> t{k,      a.p,           a.rs, a.cs, g.b + j * g.b_panel, g.b_rs, g.c + i * g.c_rs + j * panel,
                g.c_rs, Part<T>(last), g.add};
      ahead.set(t, next, next + (rows - 1) * g.a.rs, j);
      kTiles<T>.f[height - 1][vectors - 1][last == L](t);
    }
  }
}

// ---- packing --------------------------------------------------------------------------------------------------------

// One panel of at most kPanel columns, each of them dense.
template <class T>
void pack_transposed(const T* b, Index cs, Index k, Index n, T* out) {
  constexpr int L = Lanes<T>::count, Q = kQuad<T>;
  Index j = 0;
  for (; j + L <= n; j += L) {
    Index p = 0;
    for (; p + Q <= k; p += Q) {
      V<T> v[Q];
      for (int i = 0; i < Q; ++i) v[i] = load_quads(b + p + (j + i) * cs, Q * cs);
      transpose_quads<T>(v);
      for (int i = 0; i < Q; ++i) store(v[i], out + (p + i) * kPanel<T> + j);
    }
    for (; p < k; ++p)
      for (int i = 0; i < L; ++i) out[p * kPanel<T> + j + i] = b[p + (j + i) * cs];
  }
  if (j == kPanel<T>) return;
  for (Index p = 0; p < k; ++p)
    for (Index i = j; i < kPanel<T>; ++i) out[p * kPanel<T> + i] = i < n ? b[p + i * cs] : T(0);
}

// Whole rows of `panels` panels at a time: as memory likes to be read.
template <class T>
void pack_dense(const T* b, Index rs, Index k, Index panels, T* out) {
  constexpr int L = Lanes<T>::count;
  for (Index p = 0; p < k; ++p, b += rs, out += kPanel<T>) {
    const T* from = b;
    T* to = out;
    for (Index j = 0; j < panels; ++j, from += kPanel<T>, to += kPanel<T> * k)
      for (int v = 0; v < kVectors; ++v) store(load(from + v * L), to + v * L);
  }
}

template <class T>
void pack(Matrix<const T> b, Index k, Index n, T* out) {
  constexpr Index panel = kPanel<T>, kTogether = 8;
  if (b.cs == 1) {
    for (Index width; (width = smaller(n / panel, kTogether)) > 0; n -= width * panel) {
      pack_dense(b.p, b.rs, k, width, out);
      b.p += width * panel;
      out += width * panel * k;
    }
  }
  for (; n > 0; n -= panel, b.p += panel * b.cs, out += panel * k) {
    const Index width = smaller(n, panel);
    if (b.rs == 1 && b.cs != 1) {
      pack_transposed(b.p, b.cs, k, width, out);
    } else {
      for (Index p = 0; p < k; ++p)
        for (Index j = 0; j < panel; ++j) out[p * panel + j] = j < width ? b.p[p * b.rs + j * b.cs] : T(0);
    }
  }
}

// ---- few columns ----------------------------------------------------------------------------------------------------

constexpr int kDotColumns = 4;

// MR rows of A times NC columns of B; lanes run along k.
template <class T, int MR, int NC>
void dot_rows(Index k, Matrix<const T> a, Matrix<const T> b, Matrix<T> c, bool add) {
  constexpr int L = Lanes<T>::count, Q = kQuad<T>;
  V<T> acc[NC][MR] = {};
  const auto step = [&](auto load_at) __attribute__((always_inline)) {
    V<T> y[NC];
#pragma GCC unroll 8
    for (int j = 0; j < NC; ++j) y[j] = load_at(b.p + j * b.cs);
#pragma GCC unroll 8
    for (int i = 0; i < MR; ++i) {
      const V<T> x = load_at(a.p + i * a.rs);
#pragma GCC unroll 8
      for (int j = 0; j < NC; ++j) acc[j][i] += x * y[j];
    }
  };
  Index p = 0;
  for (; p + L <= k; p += L) step([&](const T* q) __attribute__((always_inline)) { return load(q + p); });
  if (p < k) {
    const Part<T> rest(k - p);
    step([&](const T* q) __attribute__((always_inline)) { return rest.load(q + p); });
  }
#pragma GCC unroll 8
  for (int j = 0; j < NC; ++j) {
    T sums[MR < Q ? Q : MR];
    if constexpr (MR == 1) {
      V<T> v[Q] = {acc[j][0]};
      sum_lanes<T>(v, sums);
    } else {
#pragma GCC unroll 8
      for (int i = 0; i < MR; i += Q) sum_lanes<T>(&acc[j][i], sums + i);
    }
    for (int i = 0; i < MR; ++i) *c.at(i, j) = add ? *c.at(i, j) + sums[i] : sums[i];
  }
}

template <class T, int NC>
void dot_columns(const Gemm<T>& g) {
  constexpr int MR = 4;
  const auto rows = [&]<int R>(std::integral_constant<int, R>, Index i) {
    dot_rows<T, R, NC>(g.extent.k, {g.a.at(i, 0), g.a.rs, 1}, g.b, {g.c.at(i, 0), g.c.rs, g.c.cs}, g.add);
  };
  Index i = 0;
  for (; i + MR <= g.extent.m; i += MR) rows(std::integral_constant<int, MR>{}, i);
  for (; i < g.extent.m; ++i) rows(std::integral_constant<int, 1>{}, i);
}

template <class T>
void dot(const Gemm<T>& g) {
  switch (g.extent.n) {
    case 1: return dot_columns<T, 1>(g);
    case 2: return dot_columns<T, 2>(g);
    case 3: return dot_columns<T, 3>(g);
    default: return dot_columns<T, kDotColumns>(g);
  }
}

// ---- one row --------------------------------------------------------------------------------------------------------

// A few rows of B at a time, from end to end: as memory likes to be read. The sums of so many columns stay in L1.
template <class T>
void row(const Gemm<T>& g) {
  const Extent e = g.extent;
  const Matrix<const T> a = g.a, b = g.b;
  const Matrix<T> c = g.c;
  constexpr int L = Lanes<T>::count, kTogether = 8;
  constexpr Index kColumns = 4096 / sizeof(T);
  alignas(64) T sums[kColumns];
  for (Index j0 = 0; j0 < e.n; j0 += kColumns) {
    const Index n = smaller(kColumns, e.n - j0), vectors = quotient_up(n, L);
    const Part<T> last(n - (vectors - 1) * L);
    std::memset(sums, 0, static_cast<std::size_t>(vectors) * sizeof(V<T>));
    const auto rows = [&]<int R>(std::integral_constant<int, R>, Index p) __attribute__((always_inline)) {
      V<T> x[R];
      for (int r = 0; r < R; ++r) x[r] = broadcast(a.p[(p + r) * a.cs]);
      const T* from = b.p + p * b.rs + j0;
      const auto column = [&](T* s, const T* q, auto load_at) __attribute__((always_inline)) {
        V<T> sum = load(s);
        for (int r = 0; r < R; ++r) sum += x[r] * load_at(q + r * b.rs);
        store(sum, s);
      };
      for (Index v = 0; v + 1 < vectors; ++v)
        column(sums + v * L, from + v * L, [](const T* q) __attribute__((always_inline)) { return load(q); });
      const Index v = (vectors - 1) * L;
      column(sums + v, from + v, [&](const T* q) __attribute__((always_inline)) { return last.load(q); });
    };
    Index p = 0;
    for (; p + kTogether <= e.k; p += kTogether) rows(std::integral_constant<int, kTogether>{}, p);
    for (; p < e.k; ++p) rows(std::integral_constant<int, 1>{}, p);
    for (Index j = 0; j < n; ++j) *c.at(0, j0 + j) = g.add ? *c.at(0, j0 + j) + sums[j] : sums[j];
  }
}

}  // namespace

const GemmKernels<float> gemm_float = {kPanel<float>, kRows,       kDepth<float>, kDotColumns,
                                       block<float>,  pack<float>, dot<float>,    row<float>};
const GemmKernels<double> gemm_double = {kPanel<double>, kRows,        kDepth<double>, kDotColumns,
                                         block<double>,  pack<double>, dot<double>,    row<double>};

}  // namespace EV_SIMD_LEVEL
}  // namespace evolute::cpu
