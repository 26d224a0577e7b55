// cond and checkpoint: bodies that run at most once.
#include <algorithm>
#include <ostream>

#include "evolute/ops.h"
#include "graph/control/control.h"
#include "ops/batching.h"

namespace evolute {

std::vector<Aval> avals_of(std::span<const Tensor> tensors) {
  std::vector<Aval> avals;
  for (const Tensor& t : tensors) avals.push_back(t.aval());
  return avals;
}

std::vector<Tensor> selected(std::span<const Tensor> tensors, const Mask& which) {
  std::vector<Tensor> result;
  for (std::size_t i = 0; i < tensors.size(); ++i)
    if (which[i]) result.push_back(tensors[i]);
  return result;
}

Mask batched_of(const BatchArgs& a) { return {a.batched.begin(), a.batched.end()}; }

void give_batched(BatchArgs& a, std::span<const Tensor> outputs, const Mask& batched) {
  std::ranges::copy(outputs, a.out.begin());
  std::ranges::copy(batched, a.out_batched.begin());
}

Tensor choose(const Tensor& which, const Tensor& yes, const Tensor& no, int ndim) {
  Shape shape = Shape::filled(ndim + 1, 1);
  shape[0] = which.size();
  return where(reshape(which, shape), yes, no);
}

Mask defined_in(std::span<const Tensor> tensors) {
  Mask mask;
  for (const Tensor& t : tensors) mask.push_back(t.defined());
  return mask;
}

Mask moving_in(const JvpArgs& a, std::size_t first) {
  Mask moving;
  for (std::size_t i = first; i < a.in.size(); ++i) moving.push_back(a.moves(i));
  return moving;
}

std::vector<Tensor> series_of(std::span<const Tensor> series, std::size_t order, std::span<const Tensor> like,
                              const Mask& moving) {
  std::vector<Tensor> result;
  for (std::size_t i = 0; i < moving.size(); ++i)
    for (std::size_t k = 0; moving[i] && k < order; ++k) {
      const Tensor& c = series[i * order + k];
      result.push_back(c.defined() ? c : zeros_like(like[i]));
    }
  return result;
}

void add_series(std::vector<Aval>& to, std::span<const Aval> avals, const Mask& moving, std::size_t order) {
  for (std::size_t i = 0; i < avals.size(); ++i)
    if (moving[i]) to.insert(to.end(), order, avals[i]);
}

std::vector<Tensor> apply_many(const Op& op, const AttrsPtr& attrs, std::span<const Tensor> in, std::size_t n) {
  std::vector<Tensor> out(n);
  apply(op, attrs, in, out);
  return out;
}

std::vector<Tensor> as_tensors(ArrayRefs arrays) {
  std::vector<Tensor> tensors;
  for (const Array* a : arrays) tensors.push_back(to_tensor(Ref<Array>(const_cast<Array*>(a))));
  return tensors;
}

void copy_results(std::span<const Tensor> results, std::span<Array* const> out) {
  for (std::size_t i = 0; i < out.size(); ++i) copy_array(results[i].array(), *out[i]);
}

namespace {

Mask either(Mask a, const Mask& b) {
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = a[i] || b[i];
  return a;
}

// Which of the inputs from `first` on a rule gives a gradient to.
Mask wanted_from(const VjpArgs& a, std::size_t first) {
  Mask wanted;
  for (std::size_t i = first; i < a.in.size(); ++i) wanted.push_back(a.wants(i));
  return wanted;
}
Mask both(Mask a, const Mask& b) {
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = a[i] && b[i];
  return a;
}
bool none(const Mask& m) { return std::find(m.begin(), m.end(), true) == m.end(); }

// inputs | series of the marked ones -> outputs | series of the marked ones
Ref<Body> forward_body(const Body& body, const Mask& moving, const Mask& moved, std::size_t order) {
  const std::size_t n = moving.size();
  std::vector<Aval> inputs;
  for (std::size_t i = 0; i < n; ++i) inputs.push_back(body.input(i));
  const std::vector<Aval> values = inputs;
  add_series(inputs, values, moving, order);
  return make_body(inputs, [&](std::span<const Tensor> in) {
    Groups groups(in);
    const auto primal = groups.take(n);
    const Pushed p = push_forward(body.graph(), order, primal, groups.take(moving, order));
    return concatenated({p.outputs, series_of(p.series, order, p.outputs, moved)});
  });
}

// inputs | cotangents of the marked outputs -> gradients of the wanted inputs
Ref<Body> reverse_body(const Body& body, const Mask& wanted, const Mask& pulled) {
  const std::size_t n = wanted.size();
  std::vector<Aval> inputs;
  for (std::size_t i = 0; i < n; ++i) inputs.push_back(body.input(i));
  for (std::size_t i = 0; i < pulled.size(); ++i)
    if (pulled[i]) inputs.push_back(body.output(i));
  return make_body(inputs, [&](std::span<const Tensor> in) {
    Groups groups(in);
    const auto primal = groups.take(n);
    return selected(pull_back(body.graph(), primal, wanted, groups.take(pulled)), wanted);
  });
}

void give_grads(VjpArgs& a, const Mask& wanted, std::size_t first, std::span<const Tensor> grads) {
  for (std::size_t i = 0, next = 0; i < wanted.size(); ++i)
    if (wanted[i]) a.grads[first + i] = grads[next++];
}

void give_pushed(JvpArgs& a, const Mask& moved, std::span<const Tensor> results) {
  Groups groups(results);
  std::ranges::copy(groups.take(a.out.size()), a.out.begin());
  std::ranges::copy(groups.take(moved, a.order), a.out_tangents.begin());
}

std::size_t count(const Mask& m) { return static_cast<std::size_t>(std::count(m.begin(), m.end(), true)); }

void infer_outputs(const Body& body, SmallVector<Aval, 1>& out) {
  for (std::size_t i = 0; i < body.graph().outputs.size(); ++i) out.push_back(body.output(i));
}

// ---- checkpoint

const CallAttrs& call_attrs(const Attrs* a) { return *static_cast<const CallAttrs*>(a); }

void infer_call(const Op&, const Attrs* attrs, std::span<const Tensor>, SmallVector<Aval, 1>& out) {
  infer_outputs(*call_attrs(attrs).body, out);
}

void kernel_call(const Op&, const Attrs* attrs, ArrayRefs in, std::span<Array* const> out) {
  const CallAttrs& c = call_attrs(attrs);
  const std::vector<Tensor> inputs = as_tensors(in);
  copy_results(c.planned ? c.body->run(inputs) : c.body->interpret(inputs), out);
  c.body->trim();
}

void vjp_call(const Op& op, VjpArgs& a) {
  const CallAttrs& c = call_attrs(a.attrs);
  const Mask pulled = defined_in(a.cotangents);
  const Mask wanted = both(wanted_from(a, 0), reached_inputs(c.body->graph(), pulled));
  if (none(wanted)) return;
  const auto attrs = c.derived<CallAttrs>(key_of("reverse", {wanted, pulled}), [&] {
    return make_ref<CallAttrs>(reverse_body(*c.body, wanted, pulled), c.planned);
  });
  give_grads(a, wanted, 0, apply_many(op, attrs, concatenated({a.in, selected(a.cotangents, pulled)}), count(wanted)));
}

void push_call(const Op& op, JvpArgs& a) {
  const CallAttrs& c = call_attrs(a.attrs);
  const Mask moving = moving_in(a);
  const Mask moved = reached_outputs(c.body->graph(), moving);
  const auto attrs = c.derived<CallAttrs>(key_of(cat("forward ", a.order), {moving}), [&] {
    return make_ref<CallAttrs>(forward_body(*c.body, moving, moved, a.order), c.planned);
  });
  const std::vector<Tensor> in = concatenated({a.in, series_of(a.tangents, a.order, a.in, moving)});
  give_pushed(a, moved, apply_many(op, attrs, in, a.out.size() + a.order * count(moved)));
}

void batch_call(const Op& op, BatchArgs& a) {
  const CallAttrs& c = call_attrs(a.attrs);
  const Mask batched = batched_of(a), batched_out = differing_outputs(c.body->graph(), batched);
  const auto attrs = c.derived<CallAttrs>(key_of(cat("batch ", a.size), {batched}), [&] {
    return make_ref<CallAttrs>(mapped_body(*c.body, batched, batched_out, a.size), c.planned);
  });
  give_batched(a, apply_many(op, attrs, a.in, a.out.size()), batched_out);
}

// ---- cond

const CondAttrs& cond_attrs(const Attrs* a) { return *static_cast<const CondAttrs*>(a); }

void infer_cond(const Op&, const Attrs* attrs, std::span<const Tensor>, SmallVector<Aval, 1>& out) {
  infer_outputs(*cond_attrs(attrs).on_true, out);
}

void kernel_cond(const Op&, const Attrs* attrs, ArrayRefs in, std::span<Array* const> out) {
  const CondAttrs& c = cond_attrs(attrs);
  const Body& body = to_tensor(Ref<Array>(const_cast<Array*>(in[0]))).item() != 0 ? *c.on_true : *c.on_false;
  copy_results(body.run(as_tensors(in.subspan(1))), out);
  body.trim();
}

void vjp_cond(const Op& op, VjpArgs& a) {
  const CondAttrs& c = cond_attrs(a.attrs);
  const Mask pulled = defined_in(a.cotangents);
  const Mask reached = either(reached_inputs(c.on_true->graph(), pulled), reached_inputs(c.on_false->graph(), pulled));
  const Mask wanted = both(wanted_from(a, 1), reached);
  if (none(wanted)) return;
  const auto attrs = c.derived<CondAttrs>(key_of("reverse", {wanted, pulled}), [&] {
    return make_ref<CondAttrs>(reverse_body(*c.on_true, wanted, pulled), reverse_body(*c.on_false, wanted, pulled));
  });
  give_grads(a, wanted, 1, apply_many(op, attrs, concatenated({a.in, selected(a.cotangents, pulled)}), count(wanted)));
}

void push_cond(const Op& op, JvpArgs& a) {
  const CondAttrs& c = cond_attrs(a.attrs);
  const Mask moving = moving_in(a, 1);
  const Mask moved = either(reached_outputs(c.on_true->graph(), moving), reached_outputs(c.on_false->graph(), moving));
  const auto attrs = c.derived<CondAttrs>(key_of(cat("forward ", a.order), {moving}), [&] {
    return make_ref<CondAttrs>(forward_body(*c.on_true, moving, moved, a.order),
                               forward_body(*c.on_false, moving, moved, a.order));
  });
  const std::vector<Tensor> series = series_of(a.tangents.subspan(a.order), a.order, a.in.subspan(1), moving);
  give_pushed(a, moved, apply_many(op, attrs, concatenated({a.in, series}), a.out.size() + a.order * count(moved)));
}

// A predicate for each example: both branches run for all of them, and each gets what its predicate says.
void batch_cond(const Op& op, BatchArgs& a) {
  const CondAttrs& c = cond_attrs(a.attrs);
  const Mask all = batched_of(a), batched(all.begin() + 1, all.end());
  if (all[0]) {
    const std::span<const Tensor> in = a.in.subspan(1);
    const Mapped yes = replay_mapped(c.on_true->graph(), in, batched, a.size),
                 no = replay_mapped(c.on_false->graph(), in, batched, a.size);
    for (std::size_t i = 0; i < a.out.size(); ++i) {
      const int ndim = a.result[i].shape.size();
      a.out[i] = choose(a.in[0], yes.outputs[i], no.outputs[i], ndim);
    }
    return;
  }
  const Mask batched_out =
      either(differing_outputs(c.on_true->graph(), batched), differing_outputs(c.on_false->graph(), batched));
  const auto attrs = c.derived<CondAttrs>(key_of(cat("batch ", a.size), {batched}), [&] {
    return make_ref<CondAttrs>(mapped_body(*c.on_true, batched, batched_out, a.size),
                               mapped_body(*c.on_false, batched, batched_out, a.size));
  });
  give_batched(a, apply_many(op, attrs, a.in, a.out.size()), batched_out);
}

}  // namespace

void CondAttrs::print(std::ostream& s) const {
  print_body(s, "true", *on_true);
  print_body(s << ", ", "false", *on_false);
}

const Op& checkpoint_op =
    define_op({.name = "checkpoint",
               .infer = infer_call,
               .kernel = kernel_call,
               .vjp = vjp_call,
               .jvp = push_call,
               .taylor = push_call,
               .batch = batch_call,
               .jvp_gives_out = true,
               .runs_graph = true,
               .doc = {.group = "control flow",
                       .summary = "a function whose intermediates are computed anew for derivatives",
                       .formula = "out = f(in)"}});

const Op& cond_op = define_op({.name = "cond",
                               .infer = infer_cond,
                               .kernel = kernel_cond,
                               .vjp = vjp_cond,
                               .jvp = push_cond,
                               .taylor = push_cond,
                               .batch = batch_cond,
                               .jvp_gives_out = true,
                               .runs_graph = true,
                               .doc = {.group = "control flow",
                                       .summary = "one of two functions, as a predicate says",
                                       .formula = "out = predicate ? f(in) : g(in)"}});

}  // namespace evolute
