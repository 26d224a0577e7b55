// What the CUDA backend computes on the host before it launches a product: no GPU needed.
#include <doctest/doctest.h>

#include <set>
#include <tuple>
#include <utility>

#include "cuda/product.h"

using namespace evolute;
using namespace evolute::cuda;

namespace {

GemmArgs sized(std::int64_t m, std::int64_t k, std::int64_t n, std::int64_t batches = 1) {
  GemmArgs g{};
  g.m = m, g.k = k, g.n = n, g.batches = batches, g.splits = 1, g.per = k;
  return g;
}

template <class T>
Tile tile_for(std::int64_t m, std::int64_t k, std::int64_t n, bool tensor_cores = false) {
  return choose_tile<T>(sized(m, k, n), tensor_cores);
}

// Every element of a tile belongs to one thread, in one chunk.
template <class Of>
void check_threads() {
  std::set<std::pair<int, int>> elements;
  for (int thread = 0; thread < Of::kThreads; ++thread)
    for (int i = 0; i < Of::TM; ++i)
      for (int j = 0; j < Of::TN; ++j) {
        const int within = Of::row(thread) + i % Of::kGroup * Of::kRowStep;
        REQUIRE(within < Of::kChunkRows);
        elements.insert({i / Of::kGroup * Of::kChunkRows + within,
                         Of::column(thread) + j / Of::GN * Of::GN * Of::kColumns + j % Of::GN});
      }
  CHECK(elements.size() == static_cast<std::size_t>(Of::kM * Of::kN));
  CHECK(elements.rbegin()->first == Of::kM - 1);
  CHECK(Of::kM == Of::kChunks * Of::kChunkRows);
}

}  // namespace

TEST_CASE("products are cut into tiles that suit their shape") {
  CHECK(tile_for<float>(4096, 4096, 4096) == Tile::Large);
  CHECK(tile_for<double>(2048, 2048, 2048) == Tile::Large);
  CHECK(tile_for<float>(512, 512, 512) == Tile::Medium);
  CHECK(tile_for<float>(100'000, 64, 64) == Tile::Tall);
  CHECK(tile_for<float>(64, 100'000, 64) == Tile::Medium);
  CHECK(tile_for<float>(100'000, 64, 16) == Tile::Narrow);
  CHECK(tile_for<float>(100'000, 64, 1) == Tile::Column);
  CHECK(tile_for<float>(4096, 4096, 4096, true) == Tile::TensorLarge);
  CHECK(tile_for<float>(100'000, 64, 64, true) == Tile::TensorMedium);
  CHECK(tile_for<float>(100'000, 64, 1, true) == Tile::Column);
  CHECK(tile_for<double>(4096, 4096, 4096, true) == Tile::Large);
}

TEST_CASE("long sums of few tiles are cut into whole slices") {
  const auto split_of = [](std::int64_t m, std::int64_t k, std::int64_t n) {
    GemmArgs g = sized(m, k, n);
    split<float>(g, choose_tile<float>(g, false));
    CHECK(g.per % 16 == 0);
    CHECK(g.per * g.splits >= k);
    CHECK(g.per * (g.splits - 1) < k);  // none is empty
    return g.splits;
  };
  CHECK(split_of(4096, 4096, 4096) == 1);
  CHECK(split_of(64, 255, 64) == 1);
  CHECK(split_of(64, 100'000, 64) > 200);
  CHECK(split_of(64, std::int64_t{1} << 33, 64) == 256);
  for (std::int64_t k = 500; k < 20'000; k += 37) CHECK(split_of(70, k, 70) >= 1);
}

TEST_CASE("threads of a block share a tile among them") {
  for (const Tile tile :
       {Tile::Large, Tile::Tall, Tile::Medium, Tile::Narrow, Tile::Column, Tile::TensorLarge, Tile::TensorMedium})
    with_tiling<float>(tile, []<class Of>() { check_threads<Of>(); });
  for (const Tile tile : {Tile::Large, Tile::Tall, Tile::Medium, Tile::Narrow, Tile::Column})
    with_tiling<double>(tile, []<class Of>() { check_threads<Of>(); });
}

TEST_CASE("each tile of each part of each product is one unit") {
  for (const auto& [m, n, splits, batches] :
       {std::tuple{1000, 300, 3, 2}, std::tuple{128, 128, 1, 5}, std::tuple{9 * 128 + 1, 128, 2, 1}}) {
    GemmArgs g = sized(m, 64, n, batches);
    g.splits = splits;
    const Units units(g, 128, 128);
    std::set<std::tuple<int, int, int, std::int64_t>> places;
    for (std::int64_t u = 0; u < units.count; ++u) {
      const auto at = units[u];
      CHECK((at.row >= 0 && at.row * 128 < m));
      CHECK((at.column >= 0 && at.column * 128 < n));
      CHECK((at.split < splits && at.batch < batches));
      places.insert({at.row, at.column, at.split, at.batch});
    }
    CHECK(places.size() == static_cast<std::size_t>(units.count));
    CHECK(units.count == std::int64_t{(m + 127) / 128} * ((n + 127) / 128) * splits * batches);
  }
}

TEST_CASE("products of more than 2^31 elements") {
  // 2^37 elements: the last unit is the last tile, beyond what 32 bits count.
  GemmArgs g = sized(std::int64_t{1} << 21, 8, std::int64_t{1} << 16);
  REQUIRE(choose_tile<float>(g, false) == Tile::Large);
  const Units units(g, 128, 128);
  CHECK(units.count == std::int64_t{1} << 23);
  CHECK(units[units.count - 1].row == (1 << 14) - 1);
  CHECK(units[units.count - 1].column == (1 << 9) - 1);
  // One column of 2^38 elements.
  const Units column(sized(std::int64_t{1} << 38, 1, 1), 256, 4);
  CHECK(column.count == std::int64_t{1} << 30);
  CHECK(column[column.count - 1].row == (1 << 30) - 1);
  // A batch of 2^33 products of 4 × 4.
  const Units batch(sized(4, 4, 4, std::int64_t{1} << 33), 256, 4);
  CHECK(batch.count == std::int64_t{1} << 33);
  CHECK(batch[batch.count - 1].batch == (std::int64_t{1} << 33) - 1);
  CHECK(blocks_for(batch.count, 1) == 1u << 20);  // blocks step by the grid
}

TEST_CASE("parts of k of batches beyond 2^31") {
  GemmArgs g = sized(200, std::int64_t{1} << 20, 300, std::int64_t{1} << 30);
  g.splits = 5;
  const Units units(g, 128, 128);
  CHECK(units.count == std::int64_t{2 * 3 * 5} << 30);
  const auto last = units[units.count - 1];
  CHECK(last.row == 1);
  CHECK(last.column == 2);
  CHECK(last.split == 4);
  CHECK(last.batch == (std::int64_t{1} << 30) - 1);
  CHECK(g.partial_at(last.split, last.batch) == (5 * (std::int64_t{1} << 30) - 1) * 60'000);
}

TEST_CASE("factors and arrays of a product by strides") {
  const auto array = [](const Shape& shape, const Strides& strides) {
    return make_ref<Array>(Aval{shape, DType::Float32, {}}, make_ref<Buffer>(nullptr, 0, [] {}), nullptr, strides);
  };
  const std::int64_t rows = std::int64_t{1} << 30;  // times 8: more than 2^31
  const auto x = array({8, rows, 64}, {rows * 64, 64, 1});
  const auto w = array({8, 64, 32}, {0, 32, 1});
  const Strides c[] = {{rows * 32, 32, 1}, {0, 0, 1}, {rows, 1, 0}};
  SUBCASE("a shared factor makes more rows") {
    const Product<3> p({8, rows, 32}, *x, *w, c);
    CHECK(p.m == 8 * rows);
    CHECK(p.batch.ndim() == 0);
    CHECK(!p.swapped);
    CHECK(p.args(DType::Float32, nullptr, nullptr).a_lies == Lie::AlongK);
    CHECK(p.args(DType::Float32, nullptr, nullptr).b_lies == Lie::Dense);
    CHECK(!p.by_rows(0));
    CHECK(p.packed(0, false, nullptr, 4, 4));
    CHECK(p.packed(1, false, nullptr, 4, 4));
    CHECK(!p.packed(0, false, reinterpret_cast<void*>(4), 4, 4));
  }
  SUBCASE("but not if another array changes otherwise along it") {
    const Strides other[] = {{rows * 32, 32, 1}, {1, 0, 0}};
    const Product<2> p({8, rows, 32}, *x, *w, other);
    CHECK(p.m == rows);
    CHECK(p.batch.size() == 8);
    std::int64_t last[4] = {};
    p.batch.for_parts([&](const Loop<4>& loop, const std::int64_t (&)[4]) { loop.offsets(7, last); });
    CHECK(last[0] == 7 * rows * 64);
    CHECK(last[1] == 0);
    CHECK(last[2] == 7 * rows * 32);
    CHECK(last[3] == 7);
  }
  SUBCASE("batches beyond 2^31 are cut to what a launch takes") {
    const std::int64_t n = 70'000;
    const auto a = array({n, n, 4, 4}, {16 * n, 16, 4, 1}), b = array({n, n, 4, 4}, {0, 16, 4, 1});
    const Strides out[] = {{16 * n, 16, 4, 1}};
    const Product<1> p({n, n, 4, 4}, *a, *b, out);
    CHECK(p.batch.ndim() == 2);
    std::int64_t done = 0, last[3] = {};
    p.batch.for_parts([&](const Loop<3>& loop, const std::int64_t (&offset)[3]) {
      CHECK(loop.size < std::int64_t{1} << 31);
      CHECK(offset[2] == 16 * done);
      done += loop.size;
      loop.offsets(loop.size - 1, last);
      for (int k = 0; k < 3; ++k) last[k] += offset[k];
    });
    CHECK(done == n * n);
    CHECK(last[0] == 16 * (n * n - 1));
    CHECK(last[1] == 16 * (n - 1));
    CHECK(last[2] == 16 * (n * n - 1));
  }
  SUBCASE("the narrow side is to the right") {
    const auto a = array({1, 4, 64}, {0, 64, 1}), b = array({1, 64, rows}, {0, rows, 1});
    const Strides out[] = {{0, rows, 1}};
    const Product<1> p({1, 4, rows}, *a, *b, out);
    CHECK(p.swapped);
    CHECK(p.m == rows);
    CHECK(p.n == 4);
    CHECK(p.by_rows(0));
    CHECK(p.packed(0, true, nullptr, 4, 4));
    CHECK(p.args(DType::Float32, nullptr, nullptr).a_lies == Lie::Dense);
  }
}
