// How loops whose results are summed are cut (sums.cuh runs them): by lengths and strides alone, so that equal operands
// give equal bits.
//
// An output is full, or the same along some axes: it is summed over these. A pass computes all outputs that fit one
// grouping of the axes: summed over all rows or none, and over the columns or not. Nearly always that is all of them.
// What another order of the axes would need is computed anew, from the operands, by another pass.
#pragma once

#include <algorithm>
#include <bit>
#include <vector>

#include "cuda/fused.h"
#include "cuda/space.h"

namespace evolute::cuda {

using FusedSpace = Space<kFusedOperands>;

struct SumPass {
  std::vector<FusedSpace::Axis> axes;  // columns, rows, others
  std::vector<int> sums;               // operands
  SumTiles tiles;
};

// Sizes of tiles, for the axes of a pass, `group` elements of which move together. `size`: of columns and rows.
inline SumTiles tiles_of(const std::vector<FusedSpace::Axis>& axes, int row_axes, std::int64_t size, int group) {
  constexpr std::int64_t kBlocks = 1024, kMostRows = 32;  // a thread's terms are added one after the other
  const auto split = [](std::int64_t n, std::int64_t by) { return (n + by - 1) / by; };
  const auto power = [](std::int64_t n, std::int64_t most) {
    return static_cast<int>(std::min<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(n)), most));
  };
  const auto product = [&](std::size_t from, std::size_t to) {
    std::int64_t n = 1;
    for (; from < to; ++from) n *= axes[from].length;
    return n;
  };
  const auto last_row = static_cast<std::size_t>(1 + row_axes);
  const std::int64_t others = product(last_row, axes.size());
  SumTiles t{};
  t.row_axes = row_axes;
  t.columns = axes[0].length;
  t.rows = product(1, last_row);
  t.size = size > 0 ? size : t.columns * t.rows;
  t.lanes = power(split(t.columns, group), 32);
  t.height = power(t.rows, kBlock / t.lanes);
  t.column_tiles = split(t.columns, std::int64_t{t.lanes} * group);
  const std::int64_t rows = split(t.rows, t.height);  // of each thread of one column of tiles
  const std::int64_t blocks = split(others * t.column_tiles * rows, kBlock / (t.lanes * t.height));
  t.per = static_cast<int>(std::clamp<std::int64_t>(blocks / kBlocks, 1, std::min(rows, kMostRows)));
  t.row_tiles = split(t.rows, std::int64_t{t.height} * t.per);
  t.units = others * t.column_tiles * t.row_tiles;
  t.wide = (row_axes > 1 && t.rows >> 31 != 0) || (axes.size() > last_row + 1 && others >> 31 != 0);
  return t;
}

// All passes over a space. Operands from `first` on are summed, over at least one of its axes.
inline std::vector<SumPass> sum_passes(const FusedSpace& space, int first, int count, int group) {
  using Axis = FusedSpace::Axis;
  std::vector<Axis> axes;
  for (int a = 0; a < space.ndim(); ++a) axes.push_back(space.axis(a));
  std::int64_t size = 0;
  if (const std::int64_t columns = std::int64_t{32} * group; axes.size() == 1 && axes[0].length > columns) {
    size = axes[0].length;  // one axis: cut into columns and rows, the last of which may be shorter
    axes.push_back({(size + columns - 1) / columns, {}});
    axes[0].length = columns;
    for (int k = 0; k < kFusedOperands; ++k) axes[1].stride[k] = columns * axes[0].stride[k];
  }
  const auto same_along = [&](int k) {  // a bit for each axis
    unsigned bits = 0;
    for (std::size_t a = 0; a < axes.size(); ++a) bits |= static_cast<unsigned>(axes[a].stride[k] == 0) << a;
    return bits;
  };
  std::vector<int> pending;
  for (int k = first; k < first + count; ++k) pending.push_back(k);
  std::vector<SumPass> passes;
  while (!pending.empty()) {
    const auto leader = std::find_if(pending.begin(), pending.end(), [&](int k) { return same_along(k) > 1; });
    const unsigned rows = leader != pending.end() ? same_along(*leader) & ~1u : axes.size() > 1 ? 2 : 0;
    SumPass pass;
    std::vector<Axis> others;
    for (std::size_t a = 0; a < axes.size(); ++a) (a == 0 || rows >> a & 1 ? pass.axes : others).push_back(axes[a]);
    const auto row_axes = static_cast<int>(pass.axes.size()) - 1;
    // Positions along the last axis of a group are found without a division, whatever its length.
    const auto shorter = [](const Axis& a, const Axis& b) { return a.length < b.length; };
    if (row_axes > 1)
      std::iter_swap(std::max_element(pass.axes.begin() + 1, pass.axes.end(), shorter), pass.axes.end() - 1);
    if (others.size() > 1) std::iter_swap(std::max_element(others.begin(), others.end(), shorter), others.end() - 1);
    pass.axes.insert(pass.axes.end(), others.begin(), others.end());
    std::erase_if(pending, [&](int k) {
      const bool fits = same_along(k) == 1 || (same_along(k) & ~1u) == rows;
      if (fits) pass.sums.push_back(k);
      return fits;
    });
    pass.tiles = tiles_of(pass.axes, row_axes, size, group);
    for (std::size_t j = 0; j < pass.sums.size(); ++j) {
      pass.tiles.over_columns[j] = same_along(pass.sums[j]) & 1;
      pass.tiles.over_rows[j] = same_along(pass.sums[j]) > 1;
    }
    passes.push_back(std::move(pass));
  }
  return passes;
}

}  // namespace evolute::cuda
