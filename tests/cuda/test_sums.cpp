// Positions in spaces that no test could run through.
#include <doctest/doctest.h>

#include <vector>

#include "cuda/sums.cuh"

using namespace evolute::cuda;

TEST_CASE("offsets of places in loops with sums") {
  struct Case {
    std::vector<std::int64_t> rows, others;  // lengths
  };
  for (const Case& c : {Case{{5}, {7}}, Case{{5, 3}, {7, 2}}, Case{{}, {4, 6, 10}}, Case{{70'000, 80'000}, {70'001, 3}},
                        Case{{3, std::int64_t{1} << 34}, {2'000'000'000, 2'000'000'001}}}) {
    FusedArgs a{};
    std::vector<std::int64_t> lengths{11};
    lengths.insert(lengths.end(), c.rows.begin(), c.rows.end());
    lengths.insert(lengths.end(), c.others.begin(), c.others.end());
    a.ndim = static_cast<int>(lengths.size());
    a.tiles.row_axes = static_cast<int>(c.rows.size());
    std::int64_t rows = 1, others = 1;
    for (auto n : c.rows) rows *= n;
    for (auto n : c.others) others *= n;
    a.tiles.wide = rows >> 31 != 0 || others >> 31 != 0;
    for (int d = 0; d < a.ndim; ++d) {
      const auto length = lengths[static_cast<std::size_t>(d)];
      if (length >> 32 == 0) a.length[d] = Divisor(static_cast<std::uint32_t>(length));
      a.stride[3][d] = d % 2 == 0 ? 1 + 10 * d : -d;
    }
    for (const std::int64_t row : {std::int64_t{0}, rows / 3, rows - 1})
      for (const std::int64_t rest : {std::int64_t{0}, others / 2, others - 1}) {
        std::int64_t want = 9 * a.stride[3][0], r = row, o = rest;
        for (int d = 1; d < a.ndim; ++d) {
          const auto length = lengths[static_cast<std::size_t>(d)];
          std::int64_t& left = d <= a.tiles.row_axes ? r : o;
          want += left % length * a.stride[3][d];
          left /= length;
        }
        CHECK(offset_of(a, 3, {9, row, rest, 1}) == want);
      }
  }
}
