// Which nodes treat the rows of their operands alike, so that they can run block of rows by block of rows.
//
// A row is what belongs to one index of the leading axis, of length n: one collocation point, one configuration. A node
// takes each operand by rows or whole, and gives either rows, each computed from the same row of the operands, or a sum
// over all rows.
#pragma once

#include "graph/graph.h"

namespace evolute {

enum class RowRole : std::uint8_t { None, Rows, Sum };

struct RowRule {
  RowRole role = RowRole::None;
  std::uint32_t by_rows = 0;  // bit i: operand i is taken by rows; the others whole

  bool takes_rows(std::size_t i) const { return by_rows >> i & 1u; }
};

// How `node` acts on arrays of n rows.
RowRule row_rule(const Graph& graph, const Graph::Node& node, std::int64_t n);

// The parameters of a node that gives rows, for blocks of `rows` of them.
AttrsPtr attrs_for_rows(const Graph::Node& node, std::int64_t rows);

}  // namespace evolute
