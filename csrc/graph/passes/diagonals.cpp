// Diagonals: what is known to be zero outside of a few diagonals of a matrix is computed on these alone.
//
// A Jacobian begins with all unit vectors at once, an identity matrix. Elementwise functions scale its rows, slices
// move them: as long as nothing mixes them, the n² numbers are a few diagonals, and the rest would be products with
// zero. A Hessian of a chain of neighbours thus takes n steps, and its n² elements are written once, at the end. Where
// an operation mixes rows, such as a product with a dense matrix, the unit vectors pick its rows.
//
// A zero stays zero whatever it is multiplied by, be that infinite or NaN: a variable that something does not depend on
// has derivative zero.
#include <algorithm>
#include <optional>
#include <unordered_map>

#include "evolute/ops.h"
#include "graph/rewrite.h"
#include "math/elementwise.h"
#include "ops/attrs.h"

namespace evolute {

namespace {

using In = std::span<const Tensor>;

constexpr std::int64_t kMinLength = 32;  // of the longer side: smaller matrices are no work anyway
constexpr std::size_t kMostBands = Dims::kMaxDims;

const Op& diag_embed_op() {
  static const Op& op = primitive("diag_embed");
  return op;
}

struct Band {
  std::int64_t offset;
  Tensor v;  // (…, length)
  // Where element k stands.
  std::int64_t row() const { return std::max<std::int64_t>(-offset, 0); }  // of element 0
  std::int64_t col() const { return std::max<std::int64_t>(offset, 0); }
  std::int64_t length() const { return v.shape(-1); }
};

// The part [start, start + length) of the last axis; zeros beside it in the larger axis for `put`.
Tensor take(const Tensor& v, std::int64_t start, std::int64_t length) { return slice(v, -1, start, start + length); }
Tensor put(const Tensor& v, std::int64_t start, std::int64_t length) {
  Dims before = Dims::filled(v.ndim(), 0), after = before;
  before[v.ndim() - 1] = start;
  after[v.ndim() - 1] = length - start - v.shape(-1);
  return pad(v, before, after);
}

// A matrix, batched over leading axes, that is zero outside of its bands.
struct Banded {
  Shape shape;
  std::vector<Band> bands;
  DType dtype;

  std::int64_t rows() const { return shape[shape.size() - 2]; }
  std::int64_t cols() const { return shape.back(); }
  Banded like(std::int64_t rows, std::int64_t cols) const {
    Banded b{shape, {}, dtype};
    b.shape[shape.size() - 2] = rows;
    b.shape[shape.size() - 1] = cols;
    return b;
  }
  void add(const Band& band) {
    for (Band& b : bands)
      if (b.offset == band.offset) {
        b.v = evolute::add(b.v, band.v);
        return;
      }
    bands.push_back(band);
  }
  void add(const Banded& other) {
    for (const Band& b : other.bands) add(b);
  }
  // Its place within a larger matrix of zeros.
  Banded embedded(std::int64_t row, std::int64_t col, std::int64_t rows, std::int64_t cols) const {
    Banded result = like(rows, cols);
    for (const Band& b : bands) {
      Band moved{b.offset + col - row, {}};
      const std::int64_t first = b.row() + row - moved.row();
      moved.v = put(b.v, first, diagonal_length(rows, cols, moved.offset));
      result.bands.push_back(moved);
    }
    return result;
  }
  Banded window(std::int64_t row, std::int64_t col, std::int64_t rows, std::int64_t cols) const {
    Banded result = like(rows, cols);
    for (const Band& b : bands) {
      const std::int64_t first = std::max<std::int64_t>({0, row - b.row(), col - b.col()});
      const std::int64_t last = std::min({b.length(), row + rows - b.row(), col + cols - b.col()});
      if (first < last) result.bands.push_back({b.offset - col + row, take(b.v, first, last - first)});
    }
    return result;
  }
  Banded transposed() const {
    Banded result = like(cols(), rows());
    for (const Band& b : bands) result.bands.push_back({-b.offset, b.v});
    return result;
  }
};

std::optional<Banded> banded(const Rewriter& r, const Tensor& t) {
  if (t.ndim() < 2 || std::max(t.shape(-1), t.shape(-2)) < kMinLength || !is_floating(t.dtype())) return {};
  const Graph::Node* n = r.made_by(t, diag_embed_op());
  if (!n) return {};
  Banded b{t.shape(), {}, t.dtype()};
  const auto& attrs = attrs_as<DiagEmbedAttrs>(n->attrs.get());
  for (std::size_t i = 0; i < n->in.size(); ++i)
    b.bands.push_back({attrs.offsets[static_cast<int>(i)], r.operand(*n, i)});
  return b;
}

bool give(std::span<Tensor> out, std::size_t i, Banded b) {
  if (b.bands.size() > kMostBands) return false;
  if (b.bands.empty()) {
    out[i] = zeros(b.shape, b.dtype);
    return true;
  }
  std::ranges::sort(b.bands, {}, &Band::offset);
  DiagEmbedAttrs attrs{{}, b.rows(), b.cols()};
  Tensors operands;
  for (const Band& band : b.bands) {
    attrs.offsets.push_back(band.offset);
    operands.push_back(band.v);
  }
  out[i] = apply(diag_embed_op(), make_attrs(attrs), operands);
  return true;
}
bool give(std::span<Tensor> out, const Tensor& t) {
  out[0] = t;
  return true;
}

// The elements of `t` that meet a band when it is broadcast against the matrix.
Tensor along(const Band& b, const Tensor& t) {
  const bool by_col = t.ndim() >= 1 && t.shape(-1) != 1, by_row = t.ndim() >= 2 && t.shape(-2) != 1;
  if (by_col && by_row) return diagonal(t, b.offset, -2, -1);
  if (t.ndim() < 2) return by_col ? take(t, b.col(), b.length()) : t;
  const Tensor line = reshape(t, [&] {
    Shape s = t.shape();
    s.erase(s.size() - (by_col ? 2 : 1));
    return s;
  }());
  return by_col ? take(line, b.col(), b.length()) : by_row ? take(line, b.row(), b.length()) : line;
}

// Operations that are linear in the matrix, element by element; `i` is its place among the operands.
bool on_bands(const Banded& m, std::size_t i, const Graph::Node& node, In in, std::span<Tensor> out) {
  std::vector<Banded> results(out.size(), m.like(m.rows(), m.cols()));
  for (const Band& b : m.bands) {
    Tensors operands, parts(out.size());
    for (std::size_t k = 0; k < in.size(); ++k) operands.push_back(k == i ? b.v : along(b, in[k]));
    apply(*node.op, node.attrs, operands, parts);
    for (std::size_t k = 0; k < out.size(); ++k) {
      if (parts[k].shape() != b.v.shape()) return false;
      results[k].bands.push_back({b.offset, parts[k]});
    }
  }
  for (std::size_t k = 0; k < out.size(); ++k)
    results[k].dtype = results[k].bands.empty() ? m.dtype : results[k].bands[0].v.dtype();
  for (std::size_t k = 0; k < out.size(); ++k) give(out, k, std::move(results[k]));
  return true;
}

bool elementwise(const Rewriter& r, const Graph::Node& node, In in, std::span<Tensor> out) {
  const int kernel = node.op->kernel_id;
  if (kernel == kAdd || kernel == kSub) {
    auto x = banded(r, in[0]), y = banded(r, in[1]);
    if (!x || !y || x->shape != y->shape) return false;
    for (Band& b : y->bands)
      if (kernel == kSub) b.v = neg(b.v);
    x->add(*y);
    return give(out, 0, std::move(*x));
  }
  Shape shape = in[0].shape();
  for (const Tensor& t : in.subspan(1)) shape = broadcast_shapes(shape, t.shape(), "diagonals");
  for (std::size_t i = 0; i < in.size(); ++i)
    if (node.op->linear_in >> i & 1u && in[i].shape() == shape)
      if (const auto m = banded(r, in[i])) return on_bands(*m, i, node, in, out);
  return false;
}

bool choice(const Rewriter& r, const Graph::Node& node, In in, std::span<Tensor> out) {
  for (std::size_t i : {1u, 2u})
    if (const auto m = banded(r, in[i]); m && is_uniform_of(in[3 - i], 0))
      return in[0].ndim() <= in[i].ndim() && broadcast_shapes(in[0].shape(), m->shape, "diagonals") == m->shape &&
             on_bands(*m, i, node,
                      std::array{in[0], i == 1 ? in[1] : scalar(0, m->dtype), i == 2 ? in[2] : scalar(0, m->dtype)},
                      out);
  return false;
}

bool conversion(const Rewriter& r, const Graph::Node& node, In in, std::span<Tensor> out) {
  const auto m = banded(r, in[0]);
  return m && is_floating(attrs_as<CastAttrs>(node.attrs.get()).dtype) && on_bands(*m, 0, node, in, out);
}

// Whether a window leaves the leading axes of a shape whole, and takes neighbours of the last two.
bool of_matrices(const SliceAttrs& w, const Shape& small, const Shape& large) {
  const int n = small.size();
  for (int i = 0; i < n; ++i)
    if (w.step[i] != 1 || (i < n - 2 && small[i] != large[i])) return false;
  return true;
}
bool window(const Rewriter& r, const Graph::Node& node, In in, std::span<Tensor> out) {
  const auto m = banded(r, in[0]);
  const auto& w = attrs_as<SliceAttrs>(node.attrs.get());
  if (!m || !of_matrices(w, w.shape, m->shape)) return false;
  const int n = w.shape.size();
  return give(out, 0, m->window(w.start[n - 2], w.start[n - 1], w.shape[n - 2], w.shape[n - 1]));
}
bool embedding(const Rewriter& r, const Graph::Node& node, In in, std::span<Tensor> out) {
  const auto m = banded(r, in[0]);
  const auto& w = attrs_as<SliceAttrs>(node.attrs.get());
  if (!m || !of_matrices(w, m->shape, w.shape)) return false;
  const int n = w.shape.size();
  return give(out, 0, m->embedded(w.start[n - 2], w.start[n - 1], w.shape[n - 2], w.shape[n - 1]));
}

bool joining(const Rewriter& r, const Graph::Node& node, In in, std::span<Tensor> out) {
  const auto& [axis, extents] = attrs_as<ConcatAttrs>(node.attrs.get());
  const int n = in[0].ndim();
  if (n < 2 || axis < n - 2) return false;
  std::int64_t total = 0, at = 0;
  for (auto e : extents) total += e;
  std::optional<Banded> sum;
  for (const Tensor& t : in) {
    const auto m = banded(r, t);
    if (!m && !is_uniform_of(t, 0)) return false;
    const bool rows = axis == n - 2;
    if (m) {
      const Banded part = rows ? m->embedded(at, 0, total, m->cols()) : m->embedded(0, at, m->rows(), total);
      sum ? sum->add(part) : void(sum = part);
    }
    at += t.shape(axis);
  }
  return sum && give(out, 0, std::move(*sum));
}

bool exchange(const Rewriter& r, const Graph::Node& node, In in, std::span<Tensor> out) {
  const auto m = banded(r, in[0]);
  const Axes& perm = attrs_as<PermAttrs>(node.attrs.get()).perm;
  const int n = perm.size();
  if (!m || perm[n - 1] != n - 2 || perm[n - 2] != n - 1) return false;
  for (int i = 0; i < n - 2; ++i)
    if (perm[i] != i) return false;
  return give(out, 0, m->transposed());
}

// Vectors become columns and rows for products, and vectors again.
bool reshaping(const Rewriter& r, const Graph::Node& node, In in, std::span<Tensor> out) {
  const Graph::Node* n = r.made_by(in[0], *node.op);
  if (!n || r.operand(*n, 0).shape() != attrs_as<ShapeAttrs>(node.attrs.get()).shape) return false;
  return give(out, r.operand(*n, 0));
}

bool one_diagonal(const Rewriter& r, const Graph::Node& node, In in, std::span<Tensor> out) {
  const auto m = banded(r, in[0]);
  if (!m) return false;
  const std::int64_t offset = attrs_as<DiagonalAttrs>(node.attrs.get()).offset;
  for (const Band& b : m->bands)
    if (b.offset == offset) return give(out, b.v);
  Shape shape = m->shape;
  shape.erase(shape.size() - 1);
  shape[shape.size() - 1] = diagonal_length(m->rows(), m->cols(), offset);
  return give(out, zeros(shape, m->dtype));
}

bool summing(const Rewriter& r, const Graph::Node& node, In in, std::span<Tensor> out) {
  const auto m = banded(r, in[0]);
  const Axes& axes = attrs_as<ReduceAttrs>(node.attrs.get()).axes;
  if (!m || axes[0] < m->shape.size() - 2) return false;
  const bool both = axes.size() == 2, over_rows = axes[0] == m->shape.size() - 2;
  Tensor total;
  for (const Band& b : m->bands) {
    const Tensor part = both        ? sum(b.v, Axes{-1})
                        : over_rows ? put(b.v, b.col(), m->cols())
                                    : put(b.v, b.row(), m->rows());
    total = add_cotangents(total, part);
  }
  return give(out, total);
}

// D B scales rows of B, A D columns of A.
bool product(const Rewriter& r, const Graph::Node& node, In in, std::span<Tensor> out) {
  const auto& f = attrs_as<MatmulAttrs>(node.attrs.get());
  const auto lone = [&](std::size_t i, bool transpose) -> std::optional<Banded> {
    const auto m = banded(r, in[i]);
    if (!m || m->bands.size() != 1 || m->shape.size() != 2) return {};
    return transpose ? m->transposed() : *m;
  };
  if (in[0].ndim() != 2 || in[1].ndim() != 2) return false;
  if (const auto d = lone(0, f.transpose_a)) {  // (A D)ᵀ = Dᵀ Aᵀ, with rows last
    const Band& b = d->bands[0];
    const Tensor t = f.transpose_b ? in[1] : swapaxes(in[1], 0, 1);
    return give(out, swapaxes(put(mul(take(t, b.col(), b.length()), b.v), b.row(), d->rows()), 0, 1));
  }
  if (const auto d = lone(1, f.transpose_b)) {
    const Band& b = d->bands[0];
    const Tensor t = f.transpose_a ? swapaxes(in[0], 0, 1) : in[0];
    return give(out, put(mul(take(t, b.row(), b.length()), b.v), b.col(), d->cols()));
  }
  return false;
}

bool rule(const Rewriter& r, const Graph::Node& node, In in, std::span<Tensor> out) {
  static const std::unordered_map<const Op*, RewriteRule> rules = {
      {&primitive("where"), choice},      {&primitive("cast"), conversion},       {&primitive("slice"), window},
      {&primitive("unslice"), embedding}, {&primitive("concat"), joining},        {&primitive("transpose"), exchange},
      {&primitive("reshape"), reshaping}, {&primitive("diagonal"), one_diagonal}, {&primitive("sum"), summing},
      {&primitive("matmul"), product}};
  if (node.op->kernel_id >= 0) return elementwise(r, node, in, out);
  const auto at = rules.find(node.op);
  return at != rules.end() && at->second(r, node, in, out);
}

}  // namespace

std::shared_ptr<Graph> diagonals(const Graph& graph) {
  const bool any =
      std::ranges::any_of(graph.nodes, [](const Graph::Node& node) { return node.op == &diag_embed_op(); });
  return any ? rewrite(graph, rule) : std::make_shared<Graph>(graph);
}

}  // namespace evolute
