// What the CUDA backend works out on the host: how iteration spaces are cut, for sizes that no test could run.
#include <doctest/doctest.h>

#include <random>
#include <vector>

#include "cuda/space.h"

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
