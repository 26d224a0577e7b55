// What a plan does with matrix products and nobody else asks for.
#pragma once

#include "ops/op.h"

namespace evolute {

// C + op(A) op(B) of the operands A, B, C, all with two axes; parameters as of a matmul. May write over C.
extern const Op& matmul_add_op;

// A matrix transposed in memory: a matmul that reads it many times then finds its rows dense.
extern const Op& transposed_op;

}  // namespace evolute
