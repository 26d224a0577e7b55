// Which operations treat the rows of their operands alike: they can run block of rows by block of rows, and where a
// row depends on one number, one tangent finds all derivatives by these numbers.
//
// A row is what belongs to one index of the leading axis, of length n: one collocation point, one configuration. An
// operation takes each operand by rows or whole, and gives either rows, each computed from the same row of the
// operands, or a sum over all rows.
#pragma once

#include "ops/op.h"

namespace evolute {

enum class RowRole : std::uint8_t { None, Rows, Sum };

struct RowRule {
  RowRole role = RowRole::None;
  std::uint32_t by_rows = 0;  // bit i: operand i is taken by rows; the others whole

  bool takes_rows(std::size_t i) const { return by_rows >> i & 1u; }
};

// How an operation acts on arrays of n rows, given what its operands and its first result look like.
RowRule row_rule(const Op& op, const Attrs* attrs, std::span<const Aval* const> in, const Aval& out, std::int64_t n);

// The parameters of an operation that gives rows, for blocks of `rows` of them.
AttrsPtr attrs_for_rows(const Op& op, const AttrsPtr& attrs, std::int64_t rows);

}  // namespace evolute
