#include "autodiff/jet.h"

namespace evolute {

namespace {

struct JetValue final : Traced {
  JetValue(Ref<Level> jet, Tensor inner, Tensor tangent)
      : Traced(std::move(jet), std::move(inner)), tangent(std::move(tangent)) {}
  const Tensor tangent;
};

}  // namespace

Tensor Jet::trace(const Tensor& x, const Tensor& tangent) {
  if (!thread_state.recorder) return Tensor(Ref<Value>(new JetValue(Ref<Level>(this), x, tangent)));
  Tensor& t = known_[{x.value(), tangent.value()}];
  if (!t.defined()) t = Tensor(Ref<Value>(new JetValue(Ref<Level>(this), x, tangent)));
  return t;
}

void Jet::forget() noexcept {
  known_.clear();
  Level::forget();
}

Tensor Jet::lower(const Tensor& t) const {
  return t.value()->level() == this ? static_cast<const Traced*>(t.value())->inner : t;
}

Tensor Jet::tangent(const Tensor& t) const {
  return t.value()->level() == this ? static_cast<const JetValue*>(t.value())->tangent : Tensor();
}

void Jet::process(const Op& op, const AttrsPtr& attrs, std::span<const Tensor> in, std::span<Tensor> out) {
  Tensors inner, tangents;
  for (const Tensor& t : in) {
    inner.push_back(lower(t));
    tangents.push_back(tangent(t));
  }
  if (!op.jvp_gives_out || recorded_tangents_) apply(op, attrs, inner, out);
  if (!op.jvp) return;
  Tensors out_tangents(out.size()), primals(out.begin(), out.end());
  JvpArgs args{attrs.get(), inner, recorded_tangents_ ? std::span<Tensor>(primals) : out, tangents, out_tangents};
  op.jvp(op, args);
  for (std::size_t i = 0; i < out.size(); ++i)
    if (out_tangents[i].defined()) out[i] = trace(out[i], out_tangents[i]);
}

}  // namespace evolute
