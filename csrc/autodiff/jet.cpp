#include "autodiff/jet.h"

#include <algorithm>

#include "evolute/ops.h"

namespace evolute {

namespace {

struct JetValue final : Traced {
  JetValue(Ref<Level> jet, Tensor inner, std::span<const Tensor> series)
      : Traced(std::move(jet), std::move(inner)), series(series.begin(), series.end()) {}
  const Tensors series;
};

bool all_zero(std::span<const Tensor> series) {
  return std::ranges::none_of(series, [](const Tensor& c) { return c.defined(); });
}

Tensor times(const Tensor& c, double factor) { return c.defined() && factor != 1 ? mul(c, factor) : c; }

// y' = Df(x) x': the forward rule where x and x' are series of an order less; then y by integration.
void taylor_by_derivative(const Op& op, JvpArgs& a) {
  const auto jet = make_ref<Jet>(a.order - 1);
  LevelScope scope(*jet);
  Tensors in, tangents, out(a.out.size()), out_tangents(a.out.size());
  for (std::size_t i = 0; i < a.in.size(); ++i) {
    const auto series = a.series(i);
    in.push_back(jet->trace(a.in[i], series.first(a.order - 1)));
    tangents.push_back({});
    if (all_zero(series)) continue;
    Tensors slopes;
    for (std::size_t k = 2; k <= a.order; ++k) slopes.push_back(times(series[k - 1], static_cast<double>(k)));
    tangents.back() = jet->trace(series[0].defined() ? series[0] : zeros_like(a.in[i]), slopes);
  }
  if (!op.jvp_gives_out) apply(op, AttrsPtr(a.attrs), in, out);
  JvpArgs along{a.attrs, in, out, tangents, out_tangents};
  op.jvp(op, along);
  for (std::size_t i = 0; i < a.out.size(); ++i) {
    if (op.jvp_gives_out) a.out[i] = jet->lower(out[i]);
    if (!out_tangents[i].defined()) continue;
    const auto result = a.out_series(i);
    result[0] = jet->lower(out_tangents[i]);
    const auto slopes = jet->series(out_tangents[i]);
    for (std::size_t k = 0; k < slopes.size(); ++k) result[k + 1] = times(slopes[k], 1 / static_cast<double>(k + 2));
  }
}

}  // namespace

void push_series(const Op& op, JvpArgs& a) {
  (a.order == 1 ? op.jvp : op.taylor ? op.taylor : taylor_by_derivative)(op, a);
}

Tensor Jet::trace(const Tensor& x, const Tensor& tangent) {
  Tensors series(order_);
  series[0] = tangent;
  return trace(x, series);
}

Tensor Jet::trace(const Tensor& x, std::span<const Tensor> series) {
  if (all_zero(series)) return x;
  const auto fresh = [&] { return Tensor(Ref<Value>(new JetValue(Ref<Level>(this), x, series))); };
  if (!thread_state.recorder) return fresh();
  std::vector<const Value*> key{x.value()};
  for (const Tensor& c : series) key.push_back(c.value());
  Tensor& t = known_[key];
  if (!t.defined()) t = fresh();
  return t;
}

void Jet::forget() noexcept {
  known_.clear();
  Level::forget();
}

Tensor Jet::lower(const Tensor& t) const {
  return t.value()->level() == this ? static_cast<const Traced*>(t.value())->inner : t;
}

std::span<const Tensor> Jet::series(const Tensor& t) const {
  if (t.value()->level() != this) return {};
  return static_cast<const JetValue*>(t.value())->series;
}

Tensor Jet::tangent(const Tensor& t) const {
  const auto c = series(t);
  return c.empty() ? Tensor() : c[0];
}

void Jet::process(const Op& op, const AttrsPtr& attrs, std::span<const Tensor> in, std::span<Tensor> out) {
  Tensors inner, series;
  for (const Tensor& t : in) {
    inner.push_back(lower(t));
    for (const Tensor& c : this->series(t)) series.push_back(c);
    series.resize(inner.size() * order_);
  }
  if (!op.jvp_gives_out || recorded_tangents_) apply(op, attrs, inner, out);
  if (!op.jvp) return;
  Tensors out_series(out.size() * order_), primals(out.begin(), out.end());
  JvpArgs args{attrs.get(), inner, recorded_tangents_ ? std::span<Tensor>(primals) : out, series, out_series, order_};
  push_series(op, args);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = trace(out[i], args.out_series(i));
}

}  // namespace evolute
