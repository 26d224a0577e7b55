// Control flow as operations of a graph, each with the bodies it runs. What their inputs and outputs are, in order, is
// said with `|` between groups of any length.
#pragma once

#include <algorithm>

#include "graph/control/body.h"

namespace evolute {

// checkpoint: a body run as one operation. Its derivative runs the body anew, so that nothing of it is kept.
//   in: inputs of the body; out: its outputs
struct CallAttrs final : ControlAttrs {
  CallAttrs(Ref<Body> body, bool planned) : body(std::move(body)), planned(planned) {}
  void print(std::ostream& s) const override { print_body(s, "body", *body); }
  bool has_own_derivative() const override { return body->has_own_derivative(); }
  const Ref<Body> body;
  const bool planned;  // made in graph mode, to be run often
};
extern const Op& checkpoint_op;

// cond: one of two bodies with the same inputs and outputs.
//   in: predicate | inputs of the bodies; out: outputs of the bodies
struct CondAttrs final : ControlAttrs {
  CondAttrs(Ref<Body> on_true, Ref<Body> on_false) : on_true(std::move(on_true)), on_false(std::move(on_false)) {}
  void print(std::ostream& s) const override;
  bool has_own_derivative() const override { return on_true->has_own_derivative() || on_false->has_own_derivative(); }
  const Ref<Body> on_true, on_false;
};
extern const Op& cond_op;

// scan: a body run once per element of the leading axis of xs.
//   in: carry | xs | consts; out: last carry | ys | for each carry, its values before steps 0, every, 2 every, …
//   body: carry | x | consts -> carry | y
struct ScanAttrs final : ControlAttrs {
  ScanAttrs(Ref<Body> body, std::size_t carries, std::size_t xs, std::int64_t length, std::int64_t every)
      : body(std::move(body)), carries(carries), xs(xs), length(length), every(every) {}
  void print(std::ostream& s) const override;
  bool has_own_derivative() const override { return body->has_own_derivative(); }
  std::size_t ys() const { return body->graph().outputs.size() - carries; }
  std::size_t consts() const { return body->graph().inputs.size() - carries - xs; }
  std::int64_t stored() const { return every ? (length + every - 1) / every : 0; }

  const Ref<Body> body;
  const std::size_t carries, xs;
  const std::int64_t length;
  const std::int64_t every;  // 0: the carries are not stored, and there are no such outputs
};
extern const Op& scan_op;

// How often a scan stores its carry for reverse mode: every step while that is little memory, else every √length.
std::int64_t storing_interval(std::int64_t length, std::span<const Tensor> carry);

// while_loop: sweep 0 steps its state while the condition holds; sweeps 1, 2, … repeat these steps, the odd ones from
// the last to the first. A step of a sweep reads the states with which the sweeps before it entered that step.
// Derivatives in reverse mode need such sweeps, and derivatives of sweeps are sweeps.
//   in: states of all sweeps | consts; out: last states
//   condition: the first of state 0 | the first of consts -> bool
//   body j: state j | states 0, …, j - 1 on entering the step | consts -> state j
struct WhileAttrs final : ControlAttrs {
  WhileAttrs(Ref<Body> condition, std::size_t tested, std::vector<Ref<Body>> sweeps)
      : condition(std::move(condition)), tested(tested), sweeps(std::move(sweeps)) {}
  void print(std::ostream& s) const override;
  bool has_own_derivative() const override {
    return std::ranges::any_of(sweeps, [](const Ref<Body>& b) { return b->has_own_derivative(); });
  }
  std::size_t states(std::size_t sweep) const { return sweeps[sweep]->graph().outputs.size(); }
  std::size_t all_states() const;

  const Ref<Body> condition;
  const std::size_t tested;  // how many of state 0 the condition reads
  const std::vector<Ref<Body>> sweeps;
};
extern const Op& while_op;

// ---- What the rules share

inline std::vector<Tensor> concatenated(std::initializer_list<std::span<const Tensor>> parts) {
  std::vector<Tensor> all;
  for (const auto& p : parts) all.insert(all.end(), p.begin(), p.end());
  return all;
}
Mask batched_of(const BatchArgs& a);
// Says of which outputs a batching rule has given all examples.
void give_batched(BatchArgs& a, std::span<const Tensor> outputs, const Mask& batched);
// For each example one of two values, as a boolean per example says.
Tensor choose(const Tensor& which, const Tensor& yes, const Tensor& no, int ndim);
std::vector<Aval> avals_of(std::span<const Tensor> tensors);
std::vector<Tensor> selected(std::span<const Tensor> tensors, const Mask& which);
Mask defined_in(std::span<const Tensor> tensors);
// Forward rules carry a tangent, or `order` Taylor coefficients, of each value that moves: those of marked values, with
// zeros in the place of undefined ones. `like` has the values.
std::vector<Tensor> series_of(std::span<const Tensor> series, std::size_t order, std::span<const Tensor> like,
                              const Mask& moving);
// Which operands of a forward rule move, from `first` on.
Mask moving_in(const JvpArgs& a, std::size_t first = 0);
// Appends the abstract values of the marked ones, `order` times each.
void add_series(std::vector<Aval>& to, std::span<const Aval> avals, const Mask& moving, std::size_t order);
// Applies an operation with `n` outputs.
std::vector<Tensor> apply_many(const Op& op, const AttrsPtr& attrs, std::span<const Tensor> in, std::size_t n);

// Hands out a list of tensors group by group.
class Groups {
 public:
  explicit Groups(std::span<const Tensor> all) : rest_(all) {}
  std::span<const Tensor> take(std::size_t n) {
    const auto head = rest_.first(n);
    rest_ = rest_.subspan(n);
    return head;
  }
  // As many as are marked, each in its place; the others are undefined. With `each`, that many in a row of each.
  std::vector<Tensor> take(const Mask& which, std::size_t each = 1) {
    std::vector<Tensor> group(which.size() * each);
    for (std::size_t i = 0; i < which.size(); ++i)
      if (which[i]) std::ranges::copy(take(each), group.begin() + static_cast<std::ptrdiff_t>(i * each));
    return group;
  }
  std::span<const Tensor> rest() const { return rest_; }

 private:
  std::span<const Tensor> rest_;
};

// Kernels get arrays and give arrays; bodies take and give tensors.
std::vector<Tensor> as_tensors(ArrayRefs arrays);
void copy_results(std::span<const Tensor> results, std::span<Array* const> out);

}  // namespace evolute
