#include "autodiff/diagonal.h"

#include <algorithm>

#include "evolute/ops.h"
#include "ops/rows.h"
#include "ops/shortcut.h"

namespace evolute {

namespace {

bool acts_in_place(const Op& op) {
  static const Op &where = primitive("where"), &cast = primitive("cast");
  return op.kernel_id >= 0 || &op == &where || &op == &cast;
}

bool is_constant_one(const Tensor& t) { return !t.value()->level() && is_one(t); }

}  // namespace

Diagonal::Diagonal(const Aval& input) : input_(input) {
  const std::int64_t size = input.shape.product();
  if (size == 0) return;
  kind_ = size == 1 ? Kind::Single : input.shape[0] == size ? Kind::Rows : Kind::Elements;
}

bool Diagonal::kept(const Op& op, const Attrs* attrs, std::span<const Aval* const> in, std::uint32_t marked,
                    const Aval& out) const {
  if (!op.jvp || op.jvp_gives_out) return false;
  if (kind_ == Kind::Single) return true;
  if (kind_ == Kind::Rows) {
    const std::int64_t n = input_.shape[0];
    const RowRule rule = row_rule(op, attrs, in, out, n);
    return rule.role == RowRole::Rows && (marked & ~rule.by_rows) == 0;
  }
  if (!acts_in_place(op) || out.shape != input_.shape) return false;
  for (std::size_t i = 0; i < in.size(); ++i)
    if ((marked >> i & 1u) && in[i]->shape != input_.shape) return false;
  return true;
}

Tensor Diagonal::gathered(const Tensor& cotangent, const Tensor& tangent) const {
  Tensor g = is_constant_one(cotangent) ? tangent : mul(cotangent, tangent);
  if (g.shape() != input_.shape) {
    Axes axes;
    for (int i = kind_ == Kind::Rows ? 1 : 0; i < g.ndim(); ++i) axes.push_back(i);
    g = reshape(sum(g, axes), input_.shape);
  }
  return g.dtype() == input_.dtype ? g : cast(g, input_.dtype);
}

}  // namespace evolute
