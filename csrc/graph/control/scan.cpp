// scan: a loop of known length. Its reverse rule is made of scans, so it is differentiable to any order.
#include <algorithm>
#include <cmath>
#include <ostream>

#include "core/interrupt.h"
#include "evolute/ops.h"
#include "graph/control/control.h"
#include "ops/batching.h"

namespace evolute {

namespace {

// Stored carries that take no more than this are no concern.
constexpr std::int64_t kStoreAll = 1 << 20;

const ScanAttrs& scan_attrs(const Attrs* a) { return *static_cast<const ScanAttrs*>(a); }

Shape stacked(std::int64_t n, const Shape& shape) {
  Shape s = shape;
  s.insert(0, n);
  return s;
}

void infer_scan(const Op&, const Attrs* attrs, std::span<const Tensor>, SmallVector<Aval, 1>& out) {
  const ScanAttrs& s = scan_attrs(attrs);
  const auto stack_of = [&](std::int64_t n, Aval a) {
    a.shape = stacked(n, a.shape);
    out.push_back(a);
  };
  for (std::size_t i = 0; i < s.carries; ++i) out.push_back(s.body->output(i));
  for (std::size_t i = 0; i < s.ys(); ++i) stack_of(s.length, s.body->output(s.carries + i));
  for (std::size_t i = 0; s.every && i < s.carries; ++i) stack_of(s.stored(), s.body->output(i));
}

// Element i of the leading axis.
Ref<Array> row(const Array& a, std::int64_t i) {
  Shape shape = a.shape();
  Strides strides = a.strides();
  shape.erase(0);
  strides.erase(0);
  return view(a, shape, strides, i * a.strides()[0]);
}

// Arrays that stand for one row of a stack after the other.
struct Rows {
  Ref<Array> now;
  std::byte* first;
  std::ptrdiff_t step;

  explicit Rows(const Array& stack)
      : now(row(stack, 0)),
        first(now->bytes()),
        step(stack.strides()[0] * static_cast<std::ptrdiff_t>(size_of(stack.dtype()))) {}
  std::byte* at(std::int64_t i) const { return first + i * step; }
};

void kernel_scan(const Op&, const Attrs* attrs, ArrayRefs in, std::span<Array* const> out) {
  const ScanAttrs& s = scan_attrs(attrs);
  const auto last = out.first(s.carries), ys = out.subspan(s.carries, s.ys()), store = out.subspan(s.carries + s.ys());
  if (s.length == 0) {
    for (std::size_t i = 0; i < last.size(); ++i) copy_array(*in[i], *last[i]);
    return;
  }
  // Where the carries before step t lie: in the results, if all are stored, else in two places by turns, or in one.
  const std::shared_ptr<const Plan> plan = s.body->plan();
  const bool all_stored = s.every == 1;
  std::vector<Rows> before, x, y, stored;
  std::vector<Ref<Array>> after, places;
  std::vector<Array*> inputs, outputs;
  std::vector<std::int64_t> turns;
  for (std::size_t i = 0; i < s.carries; ++i) {
    turns.push_back(all_stored ? s.length : plan->may_update(i, i) ? 1 : 2);
    if (!all_stored)
      places.push_back(empty({stacked(turns[i], last[i]->shape()), last[i]->dtype(), last[i]->aval().device}));
    before.emplace_back(all_stored ? *store[i] : *places.back());
    copy_array(*in[i], *before.back().now);
    after.push_back(view(*last[i], last[i]->shape(), last[i]->strides()));
    inputs.push_back(before.back().now.get());
    outputs.push_back(after.back().get());
  }
  for (std::size_t i = 0; i < s.xs; ++i) inputs.push_back(x.emplace_back(*in[s.carries + i]).now.get());
  for (const Array* a : in.subspan(s.carries + s.xs)) inputs.push_back(const_cast<Array*>(a));
  for (Array* stack : ys) outputs.push_back(y.emplace_back(*stack).now.get());
  if (!all_stored)
    for (Array* stack : store) stored.emplace_back(*stack);

  {
    PlanLoop body(plan, inputs, outputs);
    InterruptPoll poll;
    for (std::int64_t t = 0; t < s.length; ++t) {
      poll();
      for (std::size_t i = 0; i < s.carries; ++i) {
        const Rows& rows = before[i];
        rows.now->move_to(rows.at(t % turns[i]));
        after[i]->move_to(t + 1 < s.length ? rows.at((t + 1) % turns[i]) : last[i]->bytes());
      }
      for (const Rows& rows : x) rows.now->move_to(rows.at(t));
      for (const Rows& rows : y) rows.now->move_to(rows.at(t));
      if (s.every && t % s.every == 0)
        for (std::size_t i = 0; i < stored.size(); ++i) {
          stored[i].now->move_to(stored[i].at(t / s.every));
          copy_array(*before[i].now, *stored[i].now);
        }
      body.run();
    }
  }
  s.body->trim();
}

Tensor reversed(const Tensor& t) { return flip(t, Axes{0}); }
std::vector<Tensor> reversed(std::span<const Tensor> ts) {
  std::vector<Tensor> result;
  for (const Tensor& t : ts) result.push_back(reversed(t));
  return result;
}
std::vector<Tensor> sliced(std::span<const Tensor> ts, std::int64_t begin, std::int64_t end) {
  std::vector<Tensor> result;
  for (const Tensor& t : ts) result.push_back(slice(t, 0, begin, end));
  return result;
}
// The leading axis cut into `parts`.
std::vector<Tensor> folded(std::span<const Tensor> ts, std::int64_t parts) {
  std::vector<Tensor> result;
  for (const Tensor& t : ts) {
    Shape shape = stacked(parts, t.shape());
    shape[1] = t.shape(0) / parts;
    result.push_back(reshape(t, shape));
  }
  return result;
}
Tensor unfolded(const Tensor& t) {
  Shape shape = t.shape();
  shape.erase(0);
  shape[0] = t.shape(0) * t.shape(1);
  return reshape(t, shape);
}

// ---- Reverse mode

// Cotangents on their way back through the steps, and the sums of what constants have received.
struct Backward {
  std::vector<Tensor> carry, consts;  // of the marked ones
  std::vector<Tensor> state() const { return concatenated({carry, consts}); }
};

// One scan's way back. Marks say what takes part.
struct Reverse {
  const ScanAttrs& scan;
  Mask carry;       // carries through which derivatives flow
  Mask xs, consts;  // whose gradients are wanted
  Mask ys, stored;  // outputs with cotangents
  std::string key() const { return key_of("", {carry, xs, consts, ys, stored}); }
  std::size_t flowing() const { return static_cast<std::size_t>(std::ranges::count(carry, true)); }
  std::size_t summed() const { return static_cast<std::size_t>(std::ranges::count(consts, true)); }
  Backward backward(std::span<const Tensor> state) const {
    return {{state.begin(), state.begin() + static_cast<std::ptrdiff_t>(flowing())},
            {state.begin() + static_cast<std::ptrdiff_t>(flowing()),
             state.begin() + static_cast<std::ptrdiff_t>(flowing() + summed())}};
  }
};

// What a stretch of steps reads on the way back; leading axes are steps, but for `start`.
struct Stretch {
  std::vector<Tensor> xs, ys, consts;  // primal xs and consts, cotangents of the marked ys
};

// back: carry | consts; reads: carry before the step | x | cotangents of y | of the stored carry | consts of the scan
//   -> carry | consts | gradients of x
Ref<Body> step_back(const Reverse& r, bool with_stored) {
  const ScanAttrs& s = r.scan;
  return s.derived<Body>("step" + r.key() + (with_stored ? "s" : ""), [&] {
    const Graph& graph = s.body->graph();
    std::vector<Aval> inputs;
    const auto add = [&](std::size_t first, std::size_t n, const Mask* which, bool of_outputs) {
      for (std::size_t i = 0; i < n; ++i)
        if (!which || (*which)[i]) inputs.push_back(of_outputs ? s.body->output(first + i) : s.body->input(first + i));
    };
    const Mask no_stored(s.carries);
    const Mask& stored = with_stored ? r.stored : no_stored;
    add(0, s.carries, &r.carry, true);
    add(s.carries + s.xs, s.consts(), &r.consts, false);
    add(0, s.carries + s.xs, nullptr, false);
    add(s.carries, s.ys(), &r.ys, true);
    add(0, s.carries, &stored, true);
    add(s.carries + s.xs, s.consts(), nullptr, false);
    return make_body(inputs, [&](std::span<const Tensor> in) {
      Groups groups(in);
      const std::vector<Tensor> carry_bar = groups.take(r.carry), sums = groups.take(r.consts);
      const auto primal = groups.take(s.carries + s.xs);
      const std::vector<Tensor> y_bar = groups.take(r.ys), stored_bar = groups.take(stored);
      Mask wanted = r.carry;
      wanted.insert(wanted.end(), r.xs.begin(), r.xs.end());
      wanted.insert(wanted.end(), r.consts.begin(), r.consts.end());
      const std::vector<Tensor> grads =
          pull_back(graph, concatenated({primal, groups.rest()}), wanted, concatenated({carry_bar, y_bar}));
      std::vector<Tensor> carry, consts, xs;
      for (std::size_t i = 0; i < s.carries; ++i)
        if (r.carry[i]) carry.push_back(add_cotangents(grads[i], stored_bar[i]));
      for (std::size_t i = 0; i < s.consts(); ++i)
        if (r.consts[i]) consts.push_back(add_cotangents(sums[i], grads[s.carries + s.xs + i]));
      for (std::size_t i = 0; i < s.xs; ++i)
        if (r.xs[i]) xs.push_back(grads[s.carries + i]);
      return concatenated({carry, consts, xs});
    });
  });
}

// Back through steps whose carries are all known: `carries` before each step, and the cotangents of these where
// `stored_bar` has any. Gives the gradients of xs and moves `back` to before the first step.
std::vector<Tensor> steps_back(const Reverse& r, Backward& back, std::span<const Tensor> carries, const Stretch& on,
                               std::span<const Tensor> stored_bar, std::int64_t length) {
  const std::vector<Tensor> state = back.state();
  const Ref<Body> body = step_back(r, !stored_bar.empty());
  const std::int64_t every = storing_interval(length, state);
  const auto attrs = r.scan.derived<ScanAttrs>(cat("back ", length, r.key(), stored_bar.size()), [&] {
    return make_ref<ScanAttrs>(body, state.size(), r.scan.xs + carries.size() + on.ys.size() + stored_bar.size(),
                               length, every);
  });
  const std::vector<Tensor> xs = reversed(concatenated({carries, on.xs, on.ys, stored_bar}));
  const std::size_t results = body->graph().outputs.size();
  const std::vector<Tensor> out =
      apply_many(scan_op, attrs, concatenated({state, xs, on.consts}), results + state.size());
  back = r.backward(out);
  return reversed(std::span(out).subspan(state.size(), results - state.size()));
}

// The same for a segment of which only the carry before its first step is known: runs forward first.
std::vector<Tensor> segment_back(const Reverse& r, Backward& back, std::span<const Tensor> start, const Stretch& on,
                                 std::int64_t length) {
  const ScanAttrs& s = r.scan;
  const auto forward = s.derived<ScanAttrs>(cat("forward ", length), [&] {
    Graph carries_only = s.body->graph();
    carries_only.outputs.resize(s.carries);
    prune(carries_only);
    return make_ref<ScanAttrs>(make_ref<Body>(std::make_shared<Graph>(std::move(carries_only))), s.carries, s.xs,
                               length, 1);
  });
  const std::vector<Tensor> out = apply_many(scan_op, forward, concatenated({start, on.xs, on.consts}), 2 * s.carries);
  return steps_back(r, back, std::span(out).subspan(s.carries), on, {}, length);
}

void add_to(std::vector<Tensor>& bars, const Mask& flowing, const Mask& stored, std::span<const Tensor> more) {
  for (std::size_t i = 0, at = 0, next = 0; i < flowing.size(); ++i) {
    if (stored[i]) bars[at] = add(bars[at], more[next++]);
    at += flowing[i];
  }
}

// Back through all steps where only every `scan.every`-th carry is known: segment by segment, itself a scan.
std::vector<Tensor> segments_back(const Reverse& r, Backward& back, std::span<const Tensor> store, const Stretch& on,
                                  std::span<const Tensor> stored_bar) {
  const ScanAttrs& s = r.scan;
  const std::int64_t whole = s.length / s.every, steps = whole * s.every;
  const auto part = [&](std::int64_t begin, std::int64_t end) {
    return Stretch{sliced(on.xs, begin, end), sliced(on.ys, begin, end), on.consts};
  };
  const auto at = [](std::span<const Tensor> stacks, std::int64_t i) {
    std::vector<Tensor> result;
    for (const Tensor& t : stacks) result.push_back(index(t, i));
    return result;
  };
  std::vector<Tensor> tail;
  if (steps < s.length) {
    tail = segment_back(r, back, at(store, whole), part(steps, s.length), s.length - steps);
    add_to(back.carry, r.carry, r.stored, at(stored_bar, whole));
  }
  const Stretch main = part(0, steps);
  const std::vector<Tensor> state = back.state();
  const std::vector<Tensor> xs = reversed(concatenated(
      {sliced(store, 0, whole), folded(main.xs, whole), folded(main.ys, whole), sliced(stored_bar, 0, whole)}));
  const auto attrs = s.derived<ScanAttrs>("segments" + r.key(), [&] {
    std::vector<Aval> inputs = avals_of(state);
    for (Aval a : avals_of(xs)) {
      a.shape.erase(0);
      inputs.push_back(a);
    }
    for (const Aval& a : avals_of(on.consts)) inputs.push_back(a);
    const Ref<Body> body = make_body(inputs, [&](std::span<const Tensor> in) {
      Groups groups(in);
      Backward bars = r.backward(groups.take(state.size()));
      const auto start = groups.take(s.carries);
      const auto x = groups.take(on.xs.size()), y_bar = groups.take(on.ys.size()),
                 more = groups.take(stored_bar.size());
      const auto as_list = [](std::span<const Tensor> ts) { return std::vector<Tensor>(ts.begin(), ts.end()); };
      const std::vector<Tensor> grads =
          segment_back(r, bars, start, {as_list(x), as_list(y_bar), as_list(groups.rest())}, s.every);
      add_to(bars.carry, r.carry, r.stored, more);
      return concatenated({bars.state(), grads});
    });
    return make_ref<ScanAttrs>(body, state.size(), xs.size(), whole, storing_interval(whole, state));
  });
  const std::size_t results = attrs->body->graph().outputs.size();
  const std::vector<Tensor> out =
      apply_many(scan_op, attrs, concatenated({state, xs, on.consts}), results + state.size());
  back = r.backward(out);
  std::vector<Tensor> grads = reversed(std::span(out).subspan(state.size(), results - state.size()));
  for (std::size_t i = 0; i < grads.size(); ++i) {
    grads[i] = unfolded(grads[i]);
    if (!tail.empty()) grads[i] = concat(std::vector<Tensor>{grads[i], tail[i]}, 0);
  }
  return grads;
}

Mask part(const Mask& m, std::size_t begin, std::size_t n) {
  const auto first = m.begin() + static_cast<std::ptrdiff_t>(begin);
  return {first, first + static_cast<std::ptrdiff_t>(n)};
}
Mask joined(Mask a, const Mask& b, const Mask& c = {}) {
  a.insert(a.end(), b.begin(), b.end());
  a.insert(a.end(), c.begin(), c.end());
  return a;
}
// Adds what `more` marks; whether anything was added.
bool merge(Mask& a, const Mask& more) {
  const Mask before = a;
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = a[i] || more[i];
  return a != before;
}

void vjp_scan(const Op&, VjpArgs& a) {
  const ScanAttrs& s = scan_attrs(a.attrs);
  const Graph& graph = s.body->graph();
  const std::size_t nc = s.carries, nx = s.xs, ny = s.ys(), nk = s.consts();
  const auto last_bar = a.cotangents.first(nc), ys_bar = a.cotangents.subspan(nc, ny);
  const auto store_bar = a.cotangents.subspan(nc + ny);
  Mask wanted;
  for (std::size_t i = 0; i < a.in.size(); ++i) wanted.push_back(a.wants(i));
  const Mask xs = part(wanted, nc, nx), consts = part(wanted, nc + nx, nk), ys = defined_in(ys_bar);

  // Carries that depend on what is wanted, and carries on which what has a cotangent depends.
  Mask varied = part(wanted, 0, nc), useful = defined_in(last_bar);
  while (merge(varied, part(reached_outputs(graph, joined(varied, xs, consts)), 0, nc))) {
  }
  merge(useful, defined_in(store_bar));
  while (merge(useful, part(reached_inputs(graph, joined(useful, ys)), 0, nc))) {
  }
  Mask flowing = varied;
  for (std::size_t i = 0; i < nc; ++i) flowing[i] = varied[i] && useful[i] && is_floating(s.body->output(i).dtype);
  const Mask reached = reached_inputs(graph, joined(flowing, ys));
  Reverse r{s, flowing, xs, consts, ys, defined_in(store_bar)};
  for (std::size_t i = 0; i < nx; ++i) r.xs[i] = xs[i] && reached[nc + i];
  for (std::size_t i = 0; i < nk; ++i) r.consts[i] = consts[i] && reached[nc + nx + i];
  for (std::size_t i = 0; i < nc; ++i) r.stored[i] = r.stored[i] && flowing[i];

  Backward back;
  for (std::size_t i = 0; i < nc; ++i)
    if (flowing[i]) back.carry.push_back(last_bar[i].defined() ? last_bar[i] : zeros_like(a.in[i]));
  for (std::size_t i = 0; i < nk; ++i)
    if (r.consts[i]) back.consts.push_back(zeros_like(a.in[nc + nx + i]));
  if (back.carry.empty() && back.consts.empty() && std::ranges::count(r.xs, true) == 0) return;

  std::vector<Tensor> x_grads;
  const auto as_list = [](std::span<const Tensor> ts) { return std::vector<Tensor>(ts.begin(), ts.end()); };
  if (s.length > 0) {
    const Stretch on{as_list(a.in.subspan(nc, nx)), selected(ys_bar, ys), as_list(a.in.subspan(nc + nx))};
    const std::vector<Tensor> more = selected(store_bar, r.stored);
    const auto store = a.out.subspan(nc + ny);
    x_grads = s.every == 1 ? steps_back(r, back, store, on, more, s.length) : segments_back(r, back, store, on, more);
  }
  const auto give = [&](std::size_t first, const Mask& which, std::span<const Tensor> grads) {
    for (std::size_t i = 0, next = 0; i < which.size(); ++i)
      if (which[i] && next < grads.size()) {
        if (a.wants(first + i)) a.grads[first + i] = grads[next];
        ++next;
      }
  };
  give(0, flowing, back.carry);
  give(nc, r.xs, x_grads);
  give(nc + nx, r.consts, back.consts);
}

// ---- Forward and Taylor mode: one scan of values and their tangents or coefficients

void push_scan(const Op& op, JvpArgs& a) {
  const ScanAttrs& s = scan_attrs(a.attrs);
  const Graph& graph = s.body->graph();
  const std::size_t nc = s.carries, nx = s.xs, ny = s.ys(), nk = s.consts();
  const std::size_t order = a.order;
  const Mask moving = moving_in(a);
  const Mask xs = part(moving, nc, nx), consts = part(moving, nc + nx, nk);
  Mask carry = part(moving, 0, nc);
  while (merge(carry, part(reached_outputs(graph, joined(carry, xs, consts)), 0, nc))) {
  }
  const Mask ys = part(reached_outputs(graph, joined(carry, xs, consts)), nc, ny);

  const auto attrs = s.derived<ScanAttrs>(key_of(cat("forward ", order), {carry, xs, consts}), [&] {
    std::vector<Aval> inputs;
    const auto add = [&](std::size_t first, const Mask& which) {
      std::vector<Aval> values;
      for (std::size_t i = 0; i < which.size(); ++i) values.push_back(s.body->input(first + i));
      inputs.insert(inputs.end(), values.begin(), values.end());
      add_series(inputs, values, which, order);
    };
    add(0, carry);
    add(nc, xs);
    add(nc + nx, consts);
    const Ref<Body> body = make_body(inputs, [&](std::span<const Tensor> in) {
      Groups groups(in);
      const auto c = groups.take(nc);
      const std::vector<Tensor> c_dot = groups.take(carry, order);
      const auto x = groups.take(nx);
      const std::vector<Tensor> x_dot = groups.take(xs, order);
      const auto k = groups.take(nk);
      const std::vector<Tensor> k_dot = groups.take(consts, order);
      const Pushed p = push_forward(graph, order, concatenated({c, x, k}), concatenated({c_dot, x_dot, k_dot}));
      const std::span<const Tensor> out(p.outputs), series(p.series);
      return concatenated({out.first(nc), series_of(series, order, out, carry), out.subspan(nc),
                           series_of(series.subspan(nc * order), order, out.subspan(nc), ys)});
    });
    return make_ref<ScanAttrs>(body, nc + order * static_cast<std::size_t>(std::ranges::count(carry, true)),
                               nx + order * static_cast<std::size_t>(std::ranges::count(xs, true)), s.length, s.every);
  });
  std::vector<Tensor> in;
  const auto take = [&](std::size_t first, const Mask& which) {
    const auto values = a.in.subspan(first, which.size());
    in = concatenated({in, values, series_of(a.tangents.subspan(first * order), order, values, which)});
  };
  take(0, carry);
  take(nc, xs);
  take(nc + nx, consts);
  const std::size_t stores = s.every ? attrs->carries : 0;
  const std::vector<Tensor> out = apply_many(op, attrs, in, attrs->body->graph().outputs.size() + stores);
  Groups groups(out);
  const auto give = [&](std::size_t first, const Mask& with_tangents) {
    std::ranges::copy(groups.take(with_tangents.size()), a.out.begin() + static_cast<std::ptrdiff_t>(first));
    std::ranges::copy(groups.take(with_tangents, order),
                      a.out_tangents.begin() + static_cast<std::ptrdiff_t>(first * order));
  };
  give(0, carry);
  give(nc, ys);
  if (s.every) give(nc + ny, carry);
}

// ---- Batching: the same steps for all examples, with the axis of steps before that of examples

void batch_scan(const Op& op, BatchArgs& a) {
  const ScanAttrs& s = scan_attrs(a.attrs);
  const Graph& graph = s.body->graph();
  const std::size_t nc = s.carries, nx = s.xs;
  const Mask batched = batched_of(a);
  const Mask rest = part(batched, nc, batched.size() - nc);
  Mask carry = part(batched, 0, nc);
  while (merge(carry, part(differing_outputs(graph, joined(carry, rest)), 0, nc))) {
  }
  const Mask results = joined(carry, part(differing_outputs(graph, joined(carry, rest)), nc, s.ys()));
  const auto attrs = s.derived<ScanAttrs>(key_of(cat("batch ", a.size), {carry, rest}), [&] {
    return make_ref<ScanAttrs>(mapped_body(*s.body, joined(carry, rest), results, a.size), nc, nx, s.length, s.every);
  });
  std::vector<Tensor> in;
  for (std::size_t i = 0; i < a.in.size(); ++i) {
    in.push_back(i < nc && carry[i] ? with_examples(a, i) : a.in[i]);
    if (nc <= i && i < nc + nx && batched[i]) in[i] = moveaxis(in[i], 0, 1);
  }
  std::vector<Tensor> out = apply_many(op, attrs, in, a.out.size());
  const Mask batched_out = joined(results, s.every ? carry : Mask());
  for (std::size_t i = nc; i < out.size(); ++i)
    if (batched_out[i]) out[i] = moveaxis(out[i], 1, 0);
  give_batched(a, out, batched_out);
}

}  // namespace

std::int64_t storing_interval(std::int64_t length, std::span<const Tensor> carry) {
  std::int64_t bytes = 0;
  for (const Tensor& t : carry) bytes += t.size() * static_cast<std::int64_t>(size_of(t.dtype()));
  if (length * bytes <= kStoreAll) return 1;
  return static_cast<std::int64_t>(std::ceil(std::sqrt(static_cast<double>(length))));
}

void ScanAttrs::print(std::ostream& s) const {
  print_body(s << length << " times ", "body", *body);
  s << ", carry stored every " << every;
}

const Op& scan_op = define_op({.name = "scan",
                               .infer = infer_scan,
                               .kernel = kernel_scan,
                               .vjp = vjp_scan,
                               .jvp = push_scan,
                               .taylor = push_scan,
                               .batch = batch_scan,
                               .saves_out = true,
                               .jvp_gives_out = true,
                               .runs_graph = true,
                               .doc = {.group = "control flow",
                                       .summary = "a function run once per element, with a carry from each to the next",
                                       .formula = "carry, y[i] = f(carry, x[i])"}});

}  // namespace evolute
