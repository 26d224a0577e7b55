// Batching rules that many ops share, and what the others are made of.
#pragma once

#include "ops/op.h"

namespace evolute {

// Operand i with the axis of examples, which repeats it where it is the same for all.
Tensor with_examples(const BatchArgs& a, std::size_t i);
// Operand i, with axes of length 1 behind that of the examples so that one example has `ndim` axes: broadcasting then
// pairs up the axes that it pairs up for one example.
Tensor aligned(const BatchArgs& a, std::size_t i, int ndim);
// Axes of operand i for one example, and the largest number of them.
int example_ndim(const BatchArgs& a, std::size_t i);
int most_axes(const BatchArgs& a);

// `shape` with the axis of examples in front; axes counted from behind it.
Shape batched_shape(std::int64_t size, const Shape& shape);
Axes batched_axes(const Axes& axes);

// Operands broadcast against each other: elementwise ops, where, systems of equations.
void batch_broadcasting(const Op& op, BatchArgs& a);
// Leading axes are batch axes already, the same for all operands.
void batch_leading(const Op& op, BatchArgs& a);
// Without operands there is nothing to differ.
void batch_same_for_all(const Op& op, BatchArgs& a);

}  // namespace evolute
