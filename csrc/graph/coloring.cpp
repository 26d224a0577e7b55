// Colours: which columns of a sparse matrix can share one direction.
#include <algorithm>
#include <numeric>

#include "evolute/sparsity.h"

namespace evolute {

namespace {

std::span<const std::int32_t> row(const Sparsity& p, std::int64_t i) {
  const auto first = static_cast<std::size_t>(p.start[static_cast<std::size_t>(i)]);
  return std::span(p.columns).subspan(first,
                                      static_cast<std::size_t>(p.start[static_cast<std::size_t>(i) + 1]) - first);
}

// The colours that the vertex at hand must not have.
class Forbidden {
 public:
  void next() { ++round_; }
  void add(std::int32_t color) {
    if (color < 0) return;
    const auto at = static_cast<std::size_t>(color);
    if (at >= seen_.size()) seen_.resize(at + 1);
    seen_[at] = round_;
  }
  std::int32_t first_free() const {
    const auto at = std::ranges::find_if(seen_, [&](std::int64_t r) { return r != round_; });
    return static_cast<std::int32_t>(at - seen_.begin());
  }

 private:
  std::int64_t round_ = 0;
  std::vector<std::int64_t> seen_;  // round in which a colour was last forbidden
};

}  // namespace

Sparsity transposed(const Sparsity& p) {
  Sparsity t{p.n_rows(), std::vector<std::int64_t>(static_cast<std::size_t>(p.n_columns) + 1), {}};
  for (std::int32_t c : p.columns) ++t.start[static_cast<std::size_t>(c) + 1];
  std::partial_sum(t.start.begin(), t.start.end(), t.start.begin());
  t.columns.resize(p.columns.size());
  std::vector<std::int64_t> next = t.start;
  for (std::int64_t i = 0; i < p.n_rows(); ++i)
    for (std::int32_t c : row(p, i))
      t.columns[static_cast<std::size_t>(next[static_cast<std::size_t>(c)]++)] = static_cast<std::int32_t>(i);
  return t;
}

std::vector<std::int32_t> color_columns(const Sparsity& pattern) {
  const Sparsity by_column = transposed(pattern);
  std::vector<std::int32_t> colors(static_cast<std::size_t>(pattern.n_columns), -1);
  Forbidden forbidden;
  for (std::int64_t j = 0; j < pattern.n_columns; ++j) {
    forbidden.next();
    for (std::int32_t i : row(by_column, j))
      for (std::int32_t k : row(pattern, i)) forbidden.add(colors[static_cast<std::size_t>(k)]);
    colors[static_cast<std::size_t>(j)] = forbidden.first_free();
  }
  return colors;
}

// After Gebremedhin, Manne and Pothen, "What color is your Jacobian?", SIAM Review 47 (2005): no path of four vertices
// has two colours.
std::vector<std::int32_t> color_symmetric(const Sparsity& pattern) {
  const std::int64_t n = pattern.n_columns;
  std::vector<std::int32_t> order(static_cast<std::size_t>(n)), colors(order.size(), -1);
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, std::greater{}, [&](std::int32_t v) { return row(pattern, v).size(); });
  std::vector<std::int32_t> members;  // how many vertices have each colour
  const auto color = [&](std::int32_t v) { return colors[static_cast<std::size_t>(v)]; };
  Forbidden forbidden;
  for (std::int32_t v : order) {
    forbidden.next();
    for (std::int32_t w : row(pattern, v)) {
      if (w == v) continue;
      forbidden.add(color(w));
      if (color(w) >= 0 && members[static_cast<std::size_t>(color(w))] == 1) continue;
      for (std::int32_t x : row(pattern, w)) {
        if (x == w || x == v || color(x) < 0) continue;
        const bool closes =
            color(w) < 0 ||
            std::ranges::any_of(
                row(pattern, x), [&](std::int32_t y) { return y != w && y != x && color(y) == color(w); });
        if (closes) forbidden.add(color(x));
      }
    }
    const std::int32_t c = colors[static_cast<std::size_t>(v)] = forbidden.first_free();
    if (static_cast<std::size_t>(c) >= members.size()) members.resize(static_cast<std::size_t>(c) + 1);
    ++members[static_cast<std::size_t>(c)];
  }
  return colors;
}

std::vector<std::int64_t> places_of(const Sparsity& pattern, const std::vector<std::int32_t>& colors) {
  const std::int64_t n = pattern.n_rows();
  std::vector<std::int64_t> places;
  std::vector<std::int64_t> counted(colors.size());
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int32_t j : row(pattern, i)) ++counted[static_cast<std::size_t>(colors[static_cast<std::size_t>(j)])];
    for (std::int32_t j : row(pattern, i)) {
      const std::int64_t c = colors[static_cast<std::size_t>(j)];
      // Where others of the colour are in the row, the element shows in the place of its transpose.
      const bool alone = counted[static_cast<std::size_t>(c)] == 1;
      places.push_back(alone ? c * n + i : std::int64_t{colors[static_cast<std::size_t>(i)]} * n + j);
    }
    for (std::int32_t j : row(pattern, i)) counted[static_cast<std::size_t>(colors[static_cast<std::size_t>(j)])] = 0;
  }
  return places;
}

}  // namespace evolute
