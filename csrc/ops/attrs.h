// Static parameters of the primitives, one record per kind: for their own rules, and for those who rewrite or batch
// them.
#pragma once

#include <vector>

#include "core/attrs.h"

namespace evolute {

// One length per operand of concat.
struct Extents : std::vector<std::int64_t> {
  using std::vector<std::int64_t>::vector;
};
std::ostream& operator<<(std::ostream& s, const Extents& e);

}  // namespace evolute

template <>
struct std::hash<evolute::Extents> {
  std::size_t operator()(const evolute::Extents& e) const noexcept {
    std::size_t h = e.size();
    for (auto x : e) h = evolute::hash_mix(h, static_cast<std::size_t>(x));
    return h;
  }
};

namespace evolute {

// reshape, broadcast_to: the shape of the result.
struct ShapeAttrs {
  Shape shape;
  auto fields() const { return std::tie(shape); }
};
// transpose: axis i of the result is axis perm[i] of the operand.
struct PermAttrs {
  Axes perm;
  auto fields() const { return std::tie(perm); }
};
// slice reads, unslice writes, elements start + i * step of each axis of the larger tensor; `shape` is that of the
// result. Empty windows have start 0 and step 1, windows of one element step 1, so that equal windows compare equal.
struct SliceAttrs {
  Dims start, step;
  Shape shape;
  auto fields() const { return std::tie(start, step, shape); }
};
// concat: lengths of the operands along the axis, which the reverse rule needs also of operands nobody asks about.
struct ConcatAttrs {
  int axis;
  Extents extents;
  auto fields() const { return std::tie(axis, extents); }
};
// diagonal, over the last two axes: elements (i, i + offset).
struct DiagonalAttrs {
  std::int64_t offset;
  auto fields() const { return std::tie(offset); }
};
// diag_embed: the last axes of the operands become diagonals of (rows, cols) matrices, at different offsets.
struct DiagEmbedAttrs {
  Dims offsets;
  std::int64_t rows, cols;
  auto fields() const { return std::tie(offsets, rows, cols); }
};
// Number of elements (i, i + offset) in a matrix.
std::int64_t diagonal_length(std::int64_t rows, std::int64_t cols, std::int64_t offset);
// gather (x, index…), scatter_set and scatter_add (base, updates, index…): index j runs along axes[j]; axes sorted.
struct IndexAttrs {
  Axes axes;
  auto fields() const { return std::tie(axes); }
};
struct CastAttrs {
  DType dtype;
  auto fields() const { return std::tie(dtype); }
};
struct DeviceAttrs {
  Device device;
  auto fields() const { return std::tie(device); }
};
// iota: start + i * step.
struct IotaAttrs {
  std::int64_t n;
  double start, step;
  DType dtype;
  Device device;
  auto fields() const { return std::tie(n, start, step, dtype, device); }
};
// linspace: n values from start to stop, both exact.
struct LinspaceAttrs {
  std::int64_t n;
  double start, stop;
  DType dtype;
  Device device;
  auto fields() const { return std::tie(n, start, stop, dtype, device); }
};
// uniform, standard_normal.
struct RandomAttrs {
  Shape shape;
  std::uint64_t seed;
  DType dtype;
  Device device;
  auto fields() const { return std::tie(shape, seed, dtype, device); }
};
// matmul: which operands have their last two axes exchanged.
struct MatmulAttrs {
  bool transpose_a, transpose_b;
  auto fields() const { return std::tie(transpose_a, transpose_b); }
};
// sum, prod, max, min, any, all: the axes that go, sorted.
struct ReduceAttrs {
  Axes axes;
  auto fields() const { return std::tie(axes); }
};
// argmax, argmin.
struct ArgReduceAttrs {
  int axis;
  auto fields() const { return std::tie(axis); }
};
struct CumsumAttrs {
  int axis;
  bool reverse;
  auto fields() const { return std::tie(axis, reverse); }
};
struct TriangularAttrs {
  bool lower, transpose, unit_diagonal;
  auto fields() const { return std::tie(lower, transpose, unit_diagonal); }
};
struct SolveAttrs {
  bool transpose;
  auto fields() const { return std::tie(transpose); }
};

}  // namespace evolute
