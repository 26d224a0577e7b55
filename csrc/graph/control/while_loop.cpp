// while_loop: a loop whose number of steps is known when it has ended.
#include <algorithm>
#include <ostream>

#include "core/interrupt.h"
#include "evolute/ops.h"
#include "graph/control/control.h"
#include "ops/batching.h"

namespace evolute {

namespace {

const WhileAttrs& while_attrs(const Attrs* a) { return *static_cast<const WhileAttrs*>(a); }

void infer_while(const Op&, const Attrs* attrs, std::span<const Tensor>, SmallVector<Aval, 1>& out) {
  for (const auto& body : while_attrs(attrs).sweeps)
    for (std::size_t i = 0; i < body->graph().outputs.size(); ++i) out.push_back(body->output(i));
}

// Where one state lies before each step: in places of their own if another sweep reads them, else in two by turns.
class Places {
 public:
  Places(const Aval& aval, bool all) : aval_(aval), rows_(all ? 64 : 2), all_(all) {
    aval_.shape.insert(0, rows_);
    bytes_ = aval.shape.product() * static_cast<std::int64_t>(size_of(aval.dtype));
  }
  // `position` in the order of the sweep, or `step` in that of the loop.
  std::byte* at(std::int64_t position, std::int64_t step) {
    const std::int64_t k = all_ ? step : position % 2;
    while (static_cast<std::int64_t>(stacks_.size()) <= k / rows_) stacks_.push_back(empty(aval_));
    return stacks_[static_cast<std::size_t>(k / rows_)]->bytes() + k % rows_ * bytes_;
  }

 private:
  Aval aval_;
  std::int64_t rows_, bytes_;
  bool all_;
  std::vector<Ref<Array>> stacks_;
};

// One state of a sweep: its places, and arrays that stand for it before and after a step.
struct State {
  Places places;
  Ref<Array> before, after;

  State(const Array& result, bool all)
      : places(result.aval(), all),
        before(view(result, result.shape(), result.strides())),
        after(view(result, result.shape(), result.strides())) {}
};

void kernel_while(const Op&, const Attrs* attrs, ArrayRefs in, std::span<Array* const> out) {
  const WhileAttrs& w = while_attrs(attrs);
  const std::size_t sweeps = w.sweeps.size(), states = w.all_states();
  const ArrayRefs consts = in.subspan(states);
  std::vector<std::vector<State>> state(sweeps);
  for (std::size_t j = 0, at = 0; j < sweeps; ++j)
    for (std::size_t i = 0; i < w.states(j); ++i, ++at) {
      state[j].emplace_back(*out[at], j + 1 < sweeps);
      if (j > 0) continue;
      State& s = state[0].back();
      s.before->move_to(s.places.at(0, 0));
      copy_array(*in[at], *s.before);
    }
  const auto add = [](std::vector<Array*>& to, ArrayRefs arrays) {
    for (const Array* a : arrays) to.push_back(const_cast<Array*>(a));
  };
  InterruptPoll poll;
  std::int64_t n = 0;
  {
    const Ref<Array> goes_on = empty(w.condition->output(0));
    std::vector<Array*> tested, inputs, outputs, flag{goes_on.get()};
    for (State& s : state[0]) {
      if (tested.size() < w.tested) tested.push_back(s.before.get());
      inputs.push_back(s.before.get());
      outputs.push_back(s.after.get());
    }
    add(tested, consts.first(w.condition->graph().inputs.size() - w.tested));
    add(inputs, consts);
    PlanLoop condition(w.condition->plan(), tested, flag), body(w.sweeps[0]->plan(), inputs, outputs);
    for (condition.run(); *to_host(*goes_on)->data<bool>(); condition.run()) {
      poll();
      ++n;
      for (State& s : state[0]) s.after->move_to(s.places.at(n, n));
      body.run();
      for (State& s : state[0]) s.before->move_to(s.after->bytes());
    }
  }
  for (std::size_t i = 0; i < w.states(0); ++i) copy_array(*state[0][i].before, *out[i]);

  std::size_t first = w.states(0);
  for (std::size_t j = 1; j < sweeps; first += w.states(j++)) {
    if (n == 0) {
      for (std::size_t i = 0; i < w.states(j); ++i) copy_array(*in[first + i], *out[first + i]);
      continue;
    }
    const auto step = [&](std::int64_t position) { return j % 2 ? n - 1 - position : position; };
    std::vector<Array*> inputs, outputs;
    for (std::size_t i = 0; i < w.states(j); ++i) {
      State& s = state[j][i];
      s.before->move_to(s.places.at(0, step(0)));
      copy_array(*in[first + i], *s.before);
      inputs.push_back(s.before.get());
      outputs.push_back(s.after.get());
    }
    for (std::size_t i = 0; i < j; ++i)
      for (State& s : state[i]) inputs.push_back(s.before.get());
    add(inputs, consts);
    PlanLoop body(w.sweeps[j]->plan(), inputs, outputs);
    for (std::int64_t p = 0; p < n; ++p) {
      poll();
      for (std::size_t i = 0; i <= j; ++i)
        for (State& s : state[i]) s.before->move_to(s.places.at(p, step(p)));
      for (std::size_t i = 0; i < w.states(j); ++i) {
        State& s = state[j][i];
        s.after->move_to(p + 1 < n ? s.places.at(p + 1, step(p + 1)) : out[first + i]->bytes());
      }
      body.run();
    }
  }
  w.condition->trim();
  for (const auto& body : w.sweeps) body->trim();
}

std::vector<Aval> inputs_of(const Body& body, std::size_t first, std::size_t n) {
  std::vector<Aval> avals;
  for (std::size_t i = 0; i < n; ++i) avals.push_back(body.input(first + i));
  return avals;
}

// ---- Forward and Taylor mode: the same sweeps over values and their series

// Body j over state j and its series | earlier states, each with series | consts and series.
Ref<Body> pushed_sweep(const WhileAttrs& w, std::size_t j, const std::vector<Mask>& moving, const Mask& consts,
                       std::size_t order) {
  const Graph& graph = w.sweeps[j]->graph();
  std::vector<std::size_t> sweeps{j};
  for (std::size_t i = 0; i < j; ++i) sweeps.push_back(i);
  std::vector<Aval> inputs;
  std::size_t first = 0;
  const auto add = [&](std::size_t n, const Mask& which) {
    const std::vector<Aval> values = inputs_of(*w.sweeps[j], first, n);
    inputs.insert(inputs.end(), values.begin(), values.end());
    add_series(inputs, values, which, order);
    first += n;
  };
  for (std::size_t i : sweeps) add(w.states(i), moving[i]);
  add(consts.size(), consts);
  return make_body(inputs, [&](std::span<const Tensor> in) {
    Groups groups(in);
    std::vector<Tensor> primal, series;
    const auto take = [&](std::size_t n, const Mask& which) {
      primal = concatenated({primal, groups.take(n)});
      series = concatenated({series, groups.take(which, order)});
    };
    for (std::size_t i : sweeps) take(w.states(i), moving[i]);
    take(consts.size(), consts);
    const Pushed p = push_forward(graph, order, primal, series);
    return concatenated({p.outputs, series_of(p.series, order, p.outputs, moving[j])});
  });
}

void push_while(const Op& op, JvpArgs& a) {
  const WhileAttrs& w = while_attrs(a.attrs);
  std::vector<Mask> moving;  // of each sweep's state
  std::size_t from = 0;
  const Mask operands = moving_in(a);
  for (std::size_t j = 0; j < w.sweeps.size(); from += w.states(j++)) {
    const auto first = operands.begin() + static_cast<std::ptrdiff_t>(from);
    moving.emplace_back(first, first + static_cast<std::ptrdiff_t>(w.states(j)));
  }
  const Mask consts(operands.begin() + static_cast<std::ptrdiff_t>(from), operands.end());
  for (std::size_t j = 0; j < w.sweeps.size(); ++j)
    for (bool more = true; more;) {
      Mask in = moving[j];
      for (std::size_t i = 0; i < j; ++i) in.insert(in.end(), moving[i].begin(), moving[i].end());
      in.insert(in.end(), consts.begin(), consts.end());
      const Mask out = reached_outputs(w.sweeps[j]->graph(), in);
      more = false;
      for (std::size_t i = 0; i < out.size(); ++i) {
        more = more || (out[i] && !moving[j][i]);
        moving[j][i] = moving[j][i] || out[i];
      }
    }
  std::string key = key_of(cat("forward ", a.order), {consts});
  for (const Mask& m : moving) key += key_of("", {m});
  const auto attrs = w.derived<WhileAttrs>(key, [&] {
    std::vector<Ref<Body>> sweeps;
    for (std::size_t j = 0; j < w.sweeps.size(); ++j) sweeps.push_back(pushed_sweep(w, j, moving, consts, a.order));
    return make_ref<WhileAttrs>(w.condition, w.tested, std::move(sweeps));
  });
  std::vector<Tensor> in;
  Groups primal(a.in), series(a.tangents);
  const auto add = [&](std::span<const Tensor> values, const Mask& which) {
    in = concatenated({in, values, series_of(series.take(values.size() * a.order), a.order, values, which)});
  };
  for (std::size_t j = 0; j < w.sweeps.size(); ++j) add(primal.take(w.states(j)), moving[j]);
  add(primal.rest(), consts);
  const std::vector<Tensor> out = apply_many(op, attrs, in, attrs->all_states());
  Groups groups(out);
  std::size_t at = 0;
  for (std::size_t j = 0; j < w.sweeps.size(); ++j) {
    std::ranges::copy(groups.take(w.states(j)), a.out.begin() + static_cast<std::ptrdiff_t>(at));
    std::ranges::copy(groups.take(moving[j], a.order),
                      a.out_tangents.begin() + static_cast<std::ptrdiff_t>(at * a.order));
    at += w.states(j);
  }
}

// ---- Reverse mode: twice as many sweeps

// Body of the sweep that undoes sweep j, the last being undone first. Its state: cotangents of the floating part of
// state j | sums of the gradients of the wanted consts. It reads the states of all sweeps before it, and gets the
// cotangents of what the later ones have read of state j by pulling them back once more.
struct Undoing {
  const WhileAttrs& w;
  std::vector<Mask> flowing;  // of each sweep's state
  Mask consts;

  std::vector<Aval> state(std::size_t j) const {
    std::vector<Aval> avals;
    for (std::size_t i = 0; i < flowing[j].size(); ++i)
      if (flowing[j][i]) avals.push_back(w.sweeps[j]->output(i));
    const std::size_t first = w.sweeps[0]->graph().inputs.size() - consts.size();
    for (std::size_t i = 0; i < consts.size(); ++i)
      if (consts[i]) avals.push_back(w.sweeps[0]->input(first + i));
    return avals;
  }

  Ref<Body> body(std::size_t j) const {
    const std::size_t n = w.sweeps.size();
    std::vector<Aval> inputs = state(j);
    const auto add = [&](const std::vector<Aval>& more) { inputs.insert(inputs.end(), more.begin(), more.end()); };
    for (std::size_t i = 0; i < n; ++i) add(inputs_of(*w.sweeps[i], 0, w.states(i)));
    for (std::size_t i = n; i-- > j + 1;) add(state(i));
    add(inputs_of(*w.sweeps[0], w.states(0), consts.size()));
    return make_body(inputs, [&](std::span<const Tensor> in) {
      Groups groups(in);
      std::vector<std::vector<Tensor>> bars(n);  // cotangents of each sweep's result of this step
      bars[j] = groups.take(flowing[j]);
      std::vector<Tensor> sums = groups.take(consts);
      std::vector<std::vector<Tensor>> before;
      for (std::size_t i = 0; i < n; ++i) {
        const auto s = groups.take(w.states(i));
        before.emplace_back(s.begin(), s.end());
      }
      for (std::size_t i = n; i-- > j + 1;) {
        bars[i] = groups.take(flowing[i]);
        groups.take(consts);
      }
      std::vector<Tensor> result(w.states(j));
      for (std::size_t k = j; k < n; ++k) {
        // Inputs of body k: state k | states 0 … k - 1 | consts.
        std::vector<Tensor> primal = before[k];
        Mask wanted = k == j ? flowing[j] : Mask(w.states(k));
        std::size_t of_j = 0;
        for (std::size_t i = 0; i < k; ++i) {
          if (i == j) of_j = primal.size();
          primal = concatenated({primal, before[i]});
          const Mask mask = i == j ? flowing[j] : Mask(w.states(i));
          wanted.insert(wanted.end(), mask.begin(), mask.end());
        }
        const std::size_t first_const = primal.size();
        primal = concatenated({primal, groups.rest()});
        wanted.resize(first_const);
        for (bool c : consts) wanted.push_back(k == j && c);
        const std::vector<Tensor> grads = pull_back(w.sweeps[k]->graph(), primal, wanted, bars[k]);
        for (std::size_t i = 0; i < result.size(); ++i) result[i] = add_cotangents(result[i], grads[of_j + i]);
        for (std::size_t i = 0; k == j && i < consts.size(); ++i)
          if (consts[i]) sums[i] = evolute::add(sums[i], grads[first_const + i]);
      }
      return concatenated({selected(result, flowing[j]), selected(sums, consts)});
    });
  }
};

void vjp_while(const Op& op, VjpArgs& a) {
  const WhileAttrs& w = while_attrs(a.attrs);
  const std::size_t n = w.sweeps.size();
  Undoing undo{w, {}, {}};
  for (std::size_t j = 0; j < n; ++j) {
    Mask floating;
    for (std::size_t i = 0; i < w.states(j); ++i) floating.push_back(is_floating(w.sweeps[j]->output(i).dtype));
    undo.flowing.push_back(std::move(floating));
  }
  for (std::size_t i = w.all_states(); i < a.in.size(); ++i)
    undo.consts.push_back(a.wants(i) && is_floating(a.in[i].dtype()));
  const auto attrs = w.derived<WhileAttrs>(key_of("reverse", {undo.consts}), [&] {
    std::vector<Ref<Body>> sweeps = w.sweeps;
    for (std::size_t j = n; j-- > 0;) sweeps.push_back(undo.body(j));
    return make_ref<WhileAttrs>(w.condition, w.tested, std::move(sweeps));
  });
  std::vector<std::size_t> first;  // of each sweep's state
  for (std::size_t j = 0, at = 0; j < n; at += w.states(j++)) first.push_back(at);
  const auto consts = a.in.subspan(w.all_states());
  std::vector<Tensor> in(a.in.begin(), a.in.begin() + static_cast<std::ptrdiff_t>(w.all_states()));
  for (std::size_t j = n; j-- > 0;) {
    for (std::size_t i = 0; i < w.states(j); ++i)
      if (undo.flowing[j][i]) {
        const Tensor& bar = a.cotangents[first[j] + i];
        in.push_back(bar.defined() ? bar : zeros_like(a.in[first[j] + i]));
      }
    for (std::size_t i = 0; i < consts.size(); ++i)
      if (undo.consts[i]) in.push_back(zeros_like(consts[i]));
  }
  in = concatenated({in, consts});
  const std::vector<Tensor> out = apply_many(op, attrs, in, attrs->all_states());
  Groups groups(out);
  groups.take(w.all_states());
  for (std::size_t j = n; j-- > 0;) {
    const std::vector<Tensor> state = groups.take(undo.flowing[j]), sums = groups.take(undo.consts);
    for (std::size_t i = 0; i < state.size(); ++i)
      if (a.wants(first[j] + i)) a.grads[first[j] + i] = state[i];
    for (std::size_t i = 0; i < sums.size(); ++i)
      if (undo.consts[i]) a.grads[w.all_states() + i] = add_cotangents(a.grads[w.all_states() + i], sums[i]);
  }
}

// ---- Batching
//
// Where the condition is the same for all examples, so are the steps. Else they go on as long as it holds for one of
// them, and steps of sweeps leave the state of those alone for which it did not hold when sweep 0 came by.

struct MappedLoop {
  const WhileAttrs& w;
  std::int64_t size;
  std::vector<Mask> states;  // which differ from example to example, of each sweep
  Mask consts;
  bool lanes = false;  // the condition differs

  // Of the inputs of sweep j.
  Mask inputs(std::size_t j) const {
    Mask in = states[j];
    for (std::size_t i = 0; i < j; ++i) in.insert(in.end(), states[i].begin(), states[i].end());
    in.insert(in.end(), consts.begin(), consts.end());
    return in;
  }
  Mask tested() const {
    Mask in(states[0].begin(), states[0].begin() + static_cast<std::ptrdiff_t>(w.tested));
    in.insert(in.end(), consts.begin(),
              consts.begin() + static_cast<std::ptrdiff_t>(w.condition->graph().inputs.size() - w.tested));
    return in;
  }
  void settle_masks() {
    for (std::size_t j = 0; j < w.sweeps.size(); ++j)
      for (Mask before; before != states[j];) {
        before = states[j];
        const Mask out = differing_outputs(w.sweeps[j]->graph(), inputs(j));
        for (std::size_t i = 0; i < out.size(); ++i) states[j][i] = before[i] || out[i];
      }
    lanes = differing_outputs(w.condition->graph(), tested())[0];
    if (lanes)
      for (Mask& m : states) m.assign(m.size(), true);
  }

  std::vector<Aval> avals(const Body& body, const Mask& batched) const {
    std::vector<Aval> avals = inputs_of(body, 0, batched.size());
    for (std::size_t i = 0; i < avals.size(); ++i)
      if (batched[i]) avals[i].shape = batched_shape(size, avals[i].shape);
    return avals;
  }
  // Whether each example goes on from these states 0.
  Tensor going(std::span<const Tensor> state, std::span<const Tensor> all_consts) const {
    const std::size_t rest = w.condition->graph().inputs.size() - w.tested;
    return replay_mapped(w.condition->graph(), concatenated({state.first(w.tested), all_consts.first(rest)}), tested(),
                         size)
        .outputs[0];
  }
  Ref<Body> condition() const {
    if (!lanes) return mapped_body(*w.condition, tested(), {false}, size);
    return make_body(avals(*w.condition, tested()), [&](std::span<const Tensor> in) {
      return std::vector<Tensor>{any(going(in, in.subspan(w.tested)))};
    });
  }
  Ref<Body> sweep(std::size_t j) const {
    const Body& body = *w.sweeps[j];
    if (!lanes) return mapped_body(body, inputs(j), states[j], size);
    return make_body(avals(body, inputs(j)), [&](std::span<const Tensor> in) {
      const auto state_0 = j == 0 ? in : in.subspan(w.states(j));
      const Tensor going_on = going(state_0, in.last(consts.size()));
      std::vector<Tensor> next = replay_mapped(body.graph(), in, inputs(j), size).outputs;
      for (std::size_t i = 0; i < next.size(); ++i)
        next[i] = choose(going_on, next[i], in[i], body.output(i).shape.size());
      return next;
    });
  }
};

void batch_while(const Op& op, BatchArgs& a) {
  const WhileAttrs& w = while_attrs(a.attrs);
  MappedLoop loop{w, a.size, {}, {}};
  const Mask batched = batched_of(a);
  auto at = batched.begin();
  for (std::size_t j = 0; j < w.sweeps.size(); ++j) {
    loop.states.emplace_back(at, at + static_cast<std::ptrdiff_t>(w.states(j)));
    at += static_cast<std::ptrdiff_t>(w.states(j));
  }
  loop.consts.assign(at, batched.end());
  loop.settle_masks();
  Mask states;
  for (const Mask& m : loop.states) states.insert(states.end(), m.begin(), m.end());
  const auto attrs = w.derived<WhileAttrs>(key_of(cat("batch ", a.size), {states, loop.consts}), [&] {
    std::vector<Ref<Body>> sweeps;
    for (std::size_t j = 0; j < w.sweeps.size(); ++j) sweeps.push_back(loop.sweep(j));
    return make_ref<WhileAttrs>(loop.condition(), w.tested, std::move(sweeps));
  });
  std::vector<Tensor> in;
  for (std::size_t i = 0; i < a.in.size(); ++i)
    in.push_back(i < states.size() && states[i] ? with_examples(a, i) : a.in[i]);
  give_batched(a, apply_many(op, attrs, in, a.out.size()), states);
}

}  // namespace

std::size_t WhileAttrs::all_states() const {
  std::size_t n = 0;
  for (std::size_t j = 0; j < sweeps.size(); ++j) n += states(j);
  return n;
}

void WhileAttrs::print(std::ostream& s) const {
  print_body(s, "condition", *condition);
  for (const auto& body : sweeps) print_body(s << ", ", "body", *body);
}

const Op& while_op = define_op({.name = "while_loop",
                                .infer = infer_while,
                                .kernel = kernel_while,
                                .vjp = vjp_while,
                                .jvp = push_while,
                                .taylor = push_while,
                                .batch = batch_while,
                                .jvp_gives_out = true,
                                .runs_graph = true,
                                .doc = {.group = "control flow",
                                        .summary = "a function applied again and again while a condition holds",
                                        .formula = "while condition(x): x = f(x)"}});

}  // namespace evolute
