#include <mutex>
#include <unordered_map>

#include "evolute/graph.h"
#include "graph/plan.h"
#include "graph/rewrite.h"

namespace evolute {

namespace {

struct SignatureHash {
  std::size_t operator()(const std::vector<Aval>& s) const {
    std::size_t h = s.size();
    for (const Aval& a : s) {
      h = hash_mix(h, static_cast<std::size_t>(a.dtype) << 8 | static_cast<std::size_t>(a.device.type));
      for (auto n : a.shape) h = hash_mix(h, static_cast<std::size_t>(n));
    }
    return h;
  }
};

}  // namespace

struct CompiledFunction::State {
  Function f;
  std::mutex mutex;
  std::unordered_map<std::vector<Aval>, std::shared_ptr<const Plan>, SignatureHash> plans;
};

CompiledFunction::CompiledFunction(Function f) : state_(std::make_shared<State>()) { state_->f = std::move(f); }

std::size_t CompiledFunction::recorded() const {
  std::lock_guard lock(state_->mutex);
  return state_->plans.size();
}

TensorList CompiledFunction::operator()(const TensorList& inputs) const {
  if (!at_top_level()) return state_->f(inputs);
  std::vector<Aval> signature;
  TensorList values;
  for (const Tensor& x : inputs) {
    signature.push_back(x.aval());
    values.push_back(settle(x));
  }
  std::shared_ptr<const Plan> plan;
  {
    std::lock_guard lock(state_->mutex);
    if (auto at = state_->plans.find(signature); at != state_->plans.end() && variables_match(at->second->graph()))
      plan = at->second;
  }
  if (!plan) {
    Recording recording;
    TensorList symbols;
    for (const Aval& a : signature) symbols.push_back(recording.input(a));
    plan = compile(recording.finish(state_->f(symbols)));
    std::lock_guard lock(state_->mutex);
    state_->plans[signature] = plan;
  }
  TensorList results = plan->run(values, read_variables(plan->graph()));
  write_variables(plan->graph(), results);
  return results;
}

}  // namespace evolute
