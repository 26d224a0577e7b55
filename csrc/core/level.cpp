#include "core/level.h"

#include <exception>

namespace evolute {

constinit thread_local ThreadState thread_state;

void throw_outlived_batch(const Tensor& t) {
  throw TraceError(cat("a tensor (", t.aval(),
                       ") was made inside vmap, where it has a value per example, and has outlived it; return it from "
                       "the function instead of storing it"));
}

Bindings::Binding* Bindings::find(const Variable& v) {
  // Programs go through their variables in the same order again and again: the place found last time is tried first.
  const std::size_t hint = v.place_.load(std::memory_order_relaxed);
  if (hint < all_.size() && all_[hint].variable.get() == &v) return &all_[hint];
  for (std::size_t i = 0; i < all_.size(); ++i) {
    if (all_[i].variable.get() != &v) continue;
    v.place_.store(static_cast<std::uint32_t>(i), std::memory_order_relaxed);
    return &all_[i];
  }
  return nullptr;
}

Tensor Bindings::get(Variable& v) {
  if (const Binding* b = find(v)) return b->now;
  if (!outer_ && !recorder_) return v.raw();
  Tensor below = outer_ ? outer_->get(v) : v.raw();
  if (!recorder_) return below;
  shadow(v, recorder_->read(v, below));
  return all_.back().now;
}

void Bindings::set(Variable& v, Tensor value) {
  if (Binding* b = find(v))
    b->now = std::move(value);
  else
    all_.push_back({Ref<Variable>(&v), {}, std::move(value)});
}

LevelScope::LevelScope(Level& level)
    : level_(level), exceptions_(std::uncaught_exceptions()), opened_(thread_state.opened += level.is_batch() ? 0 : 1) {
  level.depth_ = ++thread_state.depth;
  level.live_ = true;
  bindings_.outer_ = std::exchange(thread_state.bindings, &bindings_);
}

void LevelScope::end() noexcept {
  if (!std::exchange(open_, false)) return;
  level_.live_ = false;
  level_.has_nested_ = thread_state.opened != opened_;
  level_.forget();
  --thread_state.depth;
  thread_state.bindings = bindings_.outer_;
}

LevelScope::~LevelScope() {
  end();
  if (std::uncaught_exceptions() > exceptions_) return;
  for (const auto& b : bindings_.all_) {
    if (b.now.is_same(b.initial)) continue;
    Tensor value = settle(level_.lower(b.now));
    if (bindings_.outer_)
      bindings_.outer_->set(*b.variable, std::move(value));
    else
      b.variable->exchange_raw(std::move(value));
  }
}

RecorderScope::RecorderScope(RecorderBase& recorder, Place place) : recorder_(recorder), previous_(thread_state) {
  const bool nested = place == Place::Nested;
  bindings_.recorder_ = &recorder;
  if (nested) bindings_.outer_ = previous_.bindings;
  recorder.depth_ = nested ? previous_.depth + 1 : 0;
  recorder.live_ = true;
  thread_state = {recorder.depth_, previous_.opened, &recorder, &bindings_};
}
RecorderScope::~RecorderScope() {
  recorder_.live_ = false;
  static_cast<Level&>(recorder_).forget();
  thread_state = previous_;
}

}  // namespace evolute
