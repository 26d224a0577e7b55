// A stretch of a graph that runs block of rows by block of rows: what is computed on the way stays in the second-level
// cache, and threads meet once, at the end.
#pragma once

#include "graph/plan.h"

namespace evolute {

struct RowBlocks {
  std::int64_t n;                          // rows
  std::int64_t rows;                       // in a block; the last may have fewer
  std::shared_ptr<const Plan> plan, last;  // for whole blocks and for the last; either may be null
  // Which operands and results go by rows; other results are sums over blocks. The plans take the sum so far of each of
  // these as a first operand, and give the same with what a block adds.
  std::vector<bool> rows_in, rows_out;
  double ns;  // what a row takes one thread, about
};

// Parameters of the operation that runs one: equal only to themselves.
struct RowBlocksRef : std::shared_ptr<const RowBlocks> {
  using std::shared_ptr<const RowBlocks>::shared_ptr;
  RowBlocksRef(std::shared_ptr<const RowBlocks> p) : std::shared_ptr<const RowBlocks>(std::move(p)) {}
};
inline std::ostream& operator<<(std::ostream& s, const RowBlocksRef& b) { return s << b->rows << " of " << b->n; }

}  // namespace evolute

template <>
struct std::hash<evolute::RowBlocksRef> : std::hash<std::shared_ptr<const evolute::RowBlocks>> {};

namespace evolute {

struct RowBlocksAttrs {
  RowBlocksRef blocks;
  auto fields() const { return std::tie(blocks); }
};

// Results by rows, and sums over rows of the partial results of each block.
extern const Op& row_blocks_op;

}  // namespace evolute
