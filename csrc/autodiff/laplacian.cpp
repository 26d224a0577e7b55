#include "autodiff/laplacian.h"

#include <algorithm>

#include "autodiff/jet.h"
#include "autodiff/transforms.h"
#include "evolute/autodiff.h"
#include "evolute/ops.h"

namespace evolute {

namespace {

struct LaplacianValue final : Traced {
  LaplacianValue(Ref<Level> level, Tensor inner, Tensor slope, Tensor sum)
      : Traced(std::move(level), std::move(inner)), slope(std::move(slope)), sum(std::move(sum)) {}
  const Tensor slope, sum;
};

bool any_defined(const Tensors& tensors) {
  return std::ranges::any_of(tensors, [](const Tensor& t) { return t.defined(); });
}

}  // namespace

Tensor Laplacian::trace(const Tensor& x, const Tensor& slope, const Tensor& sum) {
  if (!slope.defined() && !sum.defined()) return x;
  const auto fresh = [&] { return Tensor(Ref<Value>(new LaplacianValue(Ref<Level>(this), x, slope, sum))); };
  if (!thread_state.recorder) return fresh();
  Tensor& t = known_[{x.value(), slope.value(), sum.value()}];
  if (!t.defined()) t = fresh();
  return t;
}

void Laplacian::forget() noexcept {
  known_.clear();
  Level::forget();
}

Tensor Laplacian::lower(const Tensor& t) const {
  return t.value()->level() == this ? static_cast<const Traced*>(t.value())->inner : t;
}
Tensor Laplacian::slope(const Tensor& t) const {
  return t.value()->level() == this ? static_cast<const LaplacianValue*>(t.value())->slope : Tensor();
}
Tensor Laplacian::sum(const Tensor& t) const {
  return t.value()->level() == this ? static_cast<const LaplacianValue*>(t.value())->sum : Tensor();
}

// Over all directions.
Tensor Laplacian::summed(const Tensor& t) const {
  if (!t.defined()) return t;
  if (!directions_->holds(t)) return mul(t, static_cast<double>(directions_->size()));
  return evolute::sum(directions_->lower(t), Axes{0});
}

void Laplacian::process(const Op& op, const AttrsPtr& attrs, std::span<const Tensor> in, std::span<Tensor> out) {
  Tensors inner, series, sums;
  for (const Tensor& t : in) {
    inner.push_back(lower(t));
    series.push_back(slope(t));
    series.push_back({});
    sums.push_back(sum(t));
  }
  if (!op.jvp_gives_out || !op.jvp) apply(op, attrs, inner, out);
  if (!op.jvp) return;
  Tensors moved(2 * out.size()), flown(out.size());
  if (any_defined(series)) {
    JvpArgs args{attrs.get(), inner, out, series, moved, 2};
    push_series(op, args);
  }
  if (any_defined(sums)) {
    JvpArgs args{attrs.get(), inner, out, sums, flown};
    op.jvp(op, args);
  }
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = trace(out[i], moved[2 * i], add_cotangents(flown[i], summed(moved[2 * i + 1])));
}

LaplacianResult laplacian_at(const Function& f, const Tensor& x, const Tensor& directions) {
  const char* what = "laplacian";
  require_differentiable(x, what);
  if (directions.ndim() == 0)
    throw ShapeError("laplacian: the directions are a number; they must be along a first axis");
  Aval like = x.aval();
  like.shape.insert(0, directions.shape(0));
  require_like(directions, like, what, "the tensor of directions");
  const auto batch = make_ref<Batch>(directions.shape(0));
  LevelScope directions_scope(*batch);
  const auto level = make_ref<Laplacian>(batch);
  LevelScope scope(*level);
  LaplacianResult result;
  for (const Tensor& y : f({level->trace(settle(x), batch->trace(directions), {})})) {
    const Tensor slope = level->slope(y), sum = level->sum(y);
    const Tensor value = level->lower(y);
    result.values.push_back(value);
    result.slopes.push_back(batch->stacked(slope.defined() ? slope : zeros_like(value)));
    result.laplacians.push_back(sum.defined() ? mul(sum, 2) : zeros_like(value));
  }
  return result;
}

namespace detail {

Tensor laplacian_of(const Function& f, const Tensor& x) {
  const Tensor unit = reshape(eye(x.size(), -1, 0, x.dtype(), x.device()), [&] {
    Shape shape = x.shape();
    shape.insert(0, x.size());
    return shape;
  }());
  return laplacian_at(f, x, unit).laplacians.at(0);
}

}  // namespace detail

}  // namespace evolute
