// What the CUDA backend works out on the host: how iteration spaces are cut, for sizes that no test could run.
#include <doctest/doctest.h>

#include <random>
#include <vector>

#include "cuda/space.h"
#include "cuda/sums.h"

using namespace evolute::cuda;

namespace {

constexpr std::int64_t kLimit = std::int64_t{1} << 31;

struct Part {
  std::int64_t size, offset;
  int ndim;
};

// Of a row-major space, by the offsets of one operand.
template <class... Lengths>
std::vector<Part> parts_of(Space<2>& space, Lengths... outermost_first) {
  const std::int64_t lengths[] = {outermost_first...};
  std::int64_t step = 1;
  for (int i = static_cast<int>(sizeof...(Lengths)) - 1; i >= 0; --i) {
    space.add({lengths[i], {step, i % 2}});  // the second operand keeps axes from merging
    step *= lengths[i];
  }
  space.arrange(0);
  std::vector<Part> parts;
  space.for_parts([&](const Loop<2>& loop, const std::int64_t (&offset)[2]) {
    parts.push_back({loop.size, offset[0], loop.ndim});
  });
  return parts;
}

// Every element is in one part, in order.
void check_whole(const std::vector<Part>& parts, std::int64_t size) {
  std::int64_t next = 0;
  for (const Part& p : parts) {
    CHECK(p.offset == next);
    CHECK(p.size > 0);
    if (p.ndim > 1) CHECK(p.size < kLimit);
    next += p.size;
  }
  CHECK(next == size);
}

// A row-major space: operand 0 as it is, and for each mask one that is the same along the axes whose bits are set, the
// outermost axis having bit 0.
FusedSpace space_with_sums(const std::vector<std::int64_t>& lengths, const std::vector<unsigned>& masks) {
  FusedSpace space;
  std::vector<std::int64_t> step(masks.size() + 1, 1);
  for (std::size_t i = lengths.size(); i-- > 0;) {
    FusedSpace::Axis axis{lengths[i], {}};
    axis.stride[0] = step[0];
    step[0] *= lengths[i];
    for (std::size_t k = 0; k < masks.size(); ++k) {
      if (masks[k] >> i & 1) continue;
      axis.stride[k + 1] = step[k + 1];
      step[k + 1] *= lengths[i];
    }
    space.add(axis);
  }
  space.arrange(0);
  return space;
}

// That tiles are of a size that a block can do, and lie over the whole space and no more of it than needed.
void check_tiles(const SumPass& pass, int group) {
  const SumTiles& t = pass.tiles;
  CHECK(std::has_single_bit(static_cast<unsigned>(t.lanes)));
  CHECK(std::has_single_bit(static_cast<unsigned>(t.height)));
  CHECK(t.lanes <= 32);
  CHECK(t.lanes * t.height <= kBlock);
  CHECK(t.per >= 1);
  CHECK(t.per <= 32);
  CHECK(t.columns == pass.axes[0].length);
  std::int64_t rows = 1, others = 1;
  for (std::size_t a = 1; a < pass.axes.size(); ++a)
    (a <= static_cast<std::size_t>(t.row_axes) ? rows : others) *= pass.axes[a].length;
  CHECK(t.rows == rows);
  const std::int64_t width = std::int64_t{t.lanes} * group, height = std::int64_t{t.height} * t.per;
  CHECK(t.column_tiles * width >= t.columns);
  CHECK((t.column_tiles - 1) * width < t.columns);
  CHECK(t.row_tiles * height >= t.rows);
  CHECK((t.row_tiles - 1) * height < t.rows);
  CHECK(t.units == t.column_tiles * t.row_tiles * others);
}

}  // namespace

TEST_CASE("divisors divide") {
  std::mt19937_64 random(1);
  for (int i = 0; i < 20000; ++i) {
    const auto d = static_cast<std::uint32_t>(i < 2000 ? i + 1 : random() % (kLimit - 1) + 1);
    const Divisor divisor(d);
    for (std::uint64_t n : {std::uint64_t{0}, std::uint64_t{d} - 1, std::uint64_t{d}, random() % kLimit,
                            static_cast<std::uint64_t>(kLimit - 1), (kLimit - 1) / d * std::uint64_t{d}})
      if (n < static_cast<std::uint64_t>(kLimit)) REQUIRE(divisor.quotient(static_cast<std::uint32_t>(n)) == n / d);
  }
}

TEST_CASE("an axis by itself has any length, and 64-bit offsets") {
  const std::int64_t n = 3 * kLimit + 5;
  Space<2> space;
  space.add({n, {1, 2}});
  space.arrange(0);
  int parts = 0;
  space.for_parts([&](const Loop<2>& loop, const std::int64_t (&)[2]) {
    ++parts;
    CHECK(loop.size == n);
    std::int64_t at[2];
    loop.offsets(n - 1, at);
    CHECK(at[0] == n - 1);
    CHECK(at[1] == 2 * (n - 1));
  });
  CHECK(parts == 1);
}

TEST_CASE("spaces of several axes are cut to fewer than 2^31 elements") {
  SUBCASE("one launch") {
    Space<2> space;
    const auto parts = parts_of(space, 1000, 1000, 2000);
    CHECK(parts.size() == 1);
    check_whole(parts, 2000000000);
  }
  SUBCASE("along the outermost axis") {
    Space<2> space;
    const auto parts = parts_of(space, 70000, 70001);
    CHECK(parts.size() == 3);
    check_whole(parts, std::int64_t{70000} * 70001);
  }
  SUBCASE("rows that are as long") {
    Space<2> space;
    check_whole(parts_of(space, 3, kLimit + 7), 3 * (kLimit + 7));
  }
  SUBCASE("in the middle") {
    Space<2> space;
    check_whole(parts_of(space, 2, 3, 50000, 60000), std::int64_t{6} * 50000 * 60000);
  }
  SUBCASE("nothing") {
    Space<2> space;
    CHECK(parts_of(space, 5, 0, 7).empty());
  }
}

TEST_CASE("axes merge where all operands allow it") {
  Space<2> space;
  space.add({4, {1, 1}});
  space.add({5, {4, 4}});
  space.add({1, {99, 99}});
  space.add({6, {20, 0}});
  space.arrange(0);
  CHECK(space.ndim() == 2);
  CHECK(space.axis(0).length == 20);
  CHECK(space.axis(1).length == 6);
  CHECK(space.size() == 120);
}

TEST_CASE("grids have at least one block and no more than a launch takes") {
  CHECK(blocks_for(0, 256) == 1);
  CHECK(blocks_for(257, 256) == 2);
  CHECK(blocks_for(std::int64_t{1} << 40, 256) == 1u << 20);  // kernels step by the grid
}

TEST_CASE("sums over leading, trailing and all axes take one pass") {
  for (const int group : {1, 4}) {
    const auto passes = sum_passes(space_with_sums({1000, 64}, {0b01, 0b10, 0b11}), 1, 3, group);
    REQUIRE(passes.size() == 1);
    check_tiles(passes[0], group);
    const SumTiles& t = passes[0].tiles;
    CHECK(passes[0].sums == std::vector<int>{1, 2, 3});
    CHECK(t.rows == 1000);
    CHECK(!t.over_columns[0]);
    CHECK(t.over_rows[0]);
    CHECK(t.over_columns[1]);
    CHECK(!t.over_rows[1]);
    CHECK(t.over_columns[2]);
    CHECK(t.over_rows[2]);
    CHECK(t.column_tiles == (group == 1 ? 2 : 1));
  }
}

TEST_CASE("rows are the axes that are summed, wherever they are") {
  const auto middle = sum_passes(space_with_sums({10, 20, 30}, {0b010}), 1, 1, 1);
  REQUIRE(middle.size() == 1);
  check_tiles(middle[0], 1);
  CHECK(middle[0].tiles.rows == 20);
  CHECK(!middle[0].tiles.over_columns[0]);
  const auto around = sum_passes(space_with_sums({10, 20, 30}, {0b101}), 1, 1, 1);
  REQUIRE(around.size() == 1);
  CHECK(around[0].tiles.rows == 10);
  CHECK(around[0].tiles.over_columns[0]);
  const auto apart = sum_passes(space_with_sums({10, 2, 20, 3, 30}, {0b00101}), 1, 1, 1);
  REQUIRE(apart.size() == 1);
  check_tiles(apart[0], 1);
  CHECK(apart[0].tiles.row_axes == 2);
  CHECK(apart[0].tiles.rows == 200);
}

TEST_CASE("sums over different rows take a pass each") {
  const auto passes = sum_passes(space_with_sums({40, 50, 60}, {0b001, 0b010, 0b100}), 1, 3, 1);
  REQUIRE(passes.size() == 2);
  CHECK(passes[0].sums == std::vector<int>{1, 3});  // the third goes over columns, with any
  CHECK(passes[1].sums == std::vector<int>{2});
  for (const SumPass& pass : passes) check_tiles(pass, 1);
}

TEST_CASE("one axis is cut into columns and rows, of any length") {
  for (const std::int64_t n :
       {std::int64_t{200}, std::int64_t{100'001}, kLimit - 1, 3 * kLimit + 5, std::int64_t{1} << 40}) {
    const auto passes = sum_passes(space_with_sums({n}, {1}), 1, 1, 4);
    REQUIRE(passes.size() == 1);
    check_tiles(passes[0], 4);
    const SumTiles& t = passes[0].tiles;
    CHECK(t.columns == 128);
    CHECK(t.size == n);
    CHECK((t.rows - 1) * t.columns < n);
    CHECK(t.rows * t.columns >= n);
    CHECK(passes[0].axes[1].stride[0] == 128);
    CHECK(passes[0].axes[1].stride[1] == 0);
    CHECK(!t.wide);  // nothing is divided
  }
}

TEST_CASE("positions of sums beyond 2^31 are found with 64 bits") {
  const std::int64_t big = 70'000;
  const auto wide = [](std::initializer_list<std::int64_t> lengths, const std::vector<unsigned>& masks) {
    const auto passes = sum_passes(space_with_sums(lengths, masks), 1, static_cast<int>(masks.size()), 1);
    REQUIRE(passes.size() == 1);
    check_tiles(passes[0], 1);
    return passes[0];
  };
  CHECK(!wide({big, big, 8}, {0b011}).tiles.wide);        // one axis of rows, after merging
  const SumPass rows = wide({big, 2, big, 8}, {0b0101});  // rows of two axes that do not merge
  CHECK(rows.tiles.wide);
  CHECK(rows.tiles.rows == big * big);
  const SumPass others = wide({big, 2, big, 8}, {0b0010, 0b1000});
  CHECK(others.tiles.wide);
  CHECK(others.tiles.units >= big * big);
  const SumPass longest = wide({2 * kLimit, 2, 3, 2, 8}, {0b01010});  // the longest of a group is last: not divided by
  CHECK(longest.tiles.wide);
  CHECK(longest.axes.back().length == 2 * kLimit);
}

TEST_CASE("there are tiles enough for all processors, and few results of tiles beside what is summed") {
  struct Case {
    std::int64_t n, m;
    unsigned mask;
  };
  for (const auto& [n, m, mask] :
       {Case{1 << 20, 64, 0b01}, Case{1 << 14, 1 << 14, 0b01}, Case{1 << 14, 1 << 14, 0b10}, Case{1 << 20, 64, 0b11}}) {
    const auto passes = sum_passes(space_with_sums({n, m}, {mask}), 1, 1, 4);
    REQUIRE(passes.size() == 1);
    const SumTiles& t = passes[0].tiles;
    CHECK(t.units * t.lanes * t.height / kBlock >= 1024);
    const std::int64_t kept = (mask & 1 ? 1 : n) * (mask & 2 ? 1 : m);
    const std::int64_t parts = (t.over_rows[0] ? t.row_tiles : 1) * (t.over_columns[0] ? t.column_tiles : 1);
    CHECK(kept * parts * 100 <= n * m);
  }
}
