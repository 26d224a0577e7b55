#include "ops/batching.h"

#include <algorithm>

#include "evolute/ops.h"

namespace evolute {

Shape batched_shape(std::int64_t size, const Shape& shape) {
  Shape s{size};
  for (auto n : shape) s.push_back(n);
  return s;
}

Axes batched_axes(const Axes& axes) {
  Axes shifted = axes;
  for (auto& axis : shifted) ++axis;
  return shifted;
}

int example_ndim(const BatchArgs& a, std::size_t i) { return a.in[i].ndim() - (a.batched[i] ? 1 : 0); }

int most_axes(const BatchArgs& a) {
  int most = 0;
  for (std::size_t i = 0; i < a.in.size(); ++i) most = std::max(most, example_ndim(a, i));
  return most;
}

Tensor with_examples(const BatchArgs& a, std::size_t i) {
  return a.batched[i] ? a.in[i] : broadcast_to(a.in[i], batched_shape(a.size, a.in[i].shape()));
}

Tensor aligned(const BatchArgs& a, std::size_t i, int ndim) {
  if (!a.batched[i]) return a.in[i];
  Shape shape = a.in[i].shape();
  while (shape.size() <= ndim) shape.insert(1, 1);
  return reshape(a.in[i], shape);
}

void batch_broadcasting(const Op& op, BatchArgs& a) {
  const int ndim = most_axes(a);
  Tensors operands;
  for (std::size_t i = 0; i < a.in.size(); ++i) operands.push_back(aligned(a, i, ndim));
  apply(op, AttrsPtr(a.attrs), operands, a.out);
}

void batch_leading(const Op& op, BatchArgs& a) {
  Tensors operands;
  for (std::size_t i = 0; i < a.in.size(); ++i) operands.push_back(with_examples(a, i));
  apply(op, AttrsPtr(a.attrs), operands, a.out);
}

void batch_same_for_all(const Op& op, BatchArgs& a) {
  apply(op, AttrsPtr(a.attrs), a.in, a.out);
  std::ranges::fill(a.out_batched, false);
}

}  // namespace evolute
