// A fused loop as kernels get it: interpreted (fused.cu), or compiled at run time (compiler.cpp).
#pragma once

#include "cuda/gemm.h"

namespace evolute::cuda {

inline constexpr int kFusedOperands = 24, kFusedSlots = 96, kFusedOps = 64, kFusedSums = 8;
struct FusedOp {
  std::int16_t kernel;
  std::uint8_t dtype, inputs, outputs;
  std::uint8_t slot[8];
};

// How a loop is cut that has results which are summed (sums.h). Its axes are in three groups: the columns, one axis;
// the rows, the next `row_axes`; and others, along which none of these results is summed. A tile is `lanes` threads
// along the columns by `height` along the rows. Each takes as many neighbours as move together, in `per` rows.
struct SumTiles {
  std::int64_t columns, rows;
  std::int64_t size;  // of columns and rows; less than their product where one axis has been made both
  std::int64_t column_tiles, row_tiles, units;  // units: tiles in all
  std::int64_t pitch[kFusedSums];               // from what a tile contributes to a result to what the next one does
  int row_axes, lanes, height, per;
  bool over_columns[kFusedSums], over_rows[kFusedSums];
  bool wide;  // positions that take 64 bits
};

// Operands: inputs, outputs, results that are summed.
struct FusedArgs {
  std::int64_t size;
  int ndim;
  Divisor length[kMaxAxes];
  std::int64_t stride[kFusedOperands][kMaxAxes];
  void* data[kFusedOperands];
  std::uint64_t immediate[kFusedOperands];
  std::uint8_t dtype[kFusedOperands];
  int inputs, outputs, sums, ops;
  std::uint8_t sum_slot[kFusedSums];
  SumTiles tiles;
  FusedOp op[kFusedOps];
};

// A loop over a product: axis 0 is what lies side by side, rows of the product or columns, axis 1 the other one, and
// the batch is behind them. What it does is in the source.
struct ProductArgs {
  GemmArgs product;
  FusedArgs loop;
};
static_assert(sizeof(ProductArgs) <= 4096, "what a kernel's parameters may take");
}  // namespace evolute::cuda
