// The public functions: plain loops and branches, or operations of the graph that is being recorded.
#include "evolute/control.h"

#include <algorithm>
#include <utility>

#include "evolute/ops.h"
#include "graph/control/control.h"

namespace evolute {

namespace {

bool recording() { return thread_state.recorder != nullptr; }

// Whether the value can be read now: it does not depend on what is being recorded, and is one for all examples of a
// vmap.
bool is_known(const Tensor& tensor) {
  const Tensor* t = &tensor;
  while (const Level* level = t->value()->level()) {
    if (level->is_recorder() || level->is_batch()) return false;
    t = &static_cast<const Traced*>(t->value())->inner;
  }
  return true;
}

void require_predicate(const Tensor& p, const char* what, const char* role) {
  if (p.size() != 1 || p.ndim() != 0)
    throw ShapeError(
        cat(what, ": ", role, " has shape ", p.shape(),
            ", but must be a scalar; reduce it with ops.all or ops.any, or choose elements with ops.where"));
  if (p.dtype() != bool_)
    throw DTypeError(
        cat(what, ": ", role, " has dtype ", name_of(p.dtype()), ", but must be a boolean; compare it with something"));
}

// `got` must be like `expected`; `role` says what they are.
void require_same(std::span<const Tensor> got, std::span<const Aval> expected, const char* what, const char* role,
                  const char* hint) {
  if (got.size() != expected.size())
    throw ValueError(cat(what, ": ", role, " has ", got.size(), " tensors, but must have ", expected.size()));
  for (std::size_t i = 0; i < got.size(); ++i) {
    const auto where = [&] { return got.size() == 1 ? std::string(role) : cat("tensor ", i, " of ", role); };
    if (got[i].shape() != expected[i].shape)
      throw ShapeError(
          cat(what, ": ", where(), " has shape ", got[i].shape(), ", but must have shape ", expected[i].shape, hint));
    if (got[i].dtype() != expected[i].dtype)
      throw DTypeError(cat(what, ": ", where(), " has dtype ", name_of(got[i].dtype()), ", but must have ",
                           name_of(expected[i].dtype), hint));
  }
}

constexpr const char* kLikeInit = ", as it had at first; convert one of the two";

TensorList listed(std::span<const Tensor> tensors) { return {tensors.begin(), tensors.end()}; }

// After the operation: the values that variables have got in it.
void write_back(const Closure& closure, std::span<const Tensor> values) {
  for (std::size_t i = 0; i < closure.variables.size(); ++i) closure.variables[i]->set(values[i]);
}

Ref<Body> body_of(Recorded& recorded) { return make_ref<Body>(std::move(recorded.graph)); }

}  // namespace

// ---- cond

TensorList cond(const Tensor& predicate, const Function& on_true, const Function& on_false,
                const TensorList& operands) {
  require_predicate(predicate, "cond", "the predicate");
  if (is_known(predicate)) return (predicate.item() != 0 ? on_true : on_false)(operands);
  const std::vector<Aval> inputs = avals_of(operands);
  std::vector<Aval> expected;
  const auto call = [&](const Function& f) {
    return [&](std::span<const Tensor> in) {
      TensorList out = f(listed(in));
      if (&f == &on_true)
        expected = avals_of(out);
      else
        require_same(out, expected, "cond", "the result of false_fn", ", as that of true_fn");
      return out;
    };
  };
  Recorded first = record_body(inputs, call(on_true)), second = record_body(inputs, call(on_false));
  Recorded* const bodies[] = {&first, &second};
  const Closure closure = close_bodies(bodies, "cond", {true, true});
  const std::size_t n = first.graph->outputs.size(), results = first.results;
  const std::vector<Tensor> in = concatenated({{&predicate, 1}, operands, closure.state, closure.consts});
  std::vector<Tensor> out = apply_many(cond_op, AttrsPtr(new CondAttrs(body_of(first), body_of(second))), in, n);
  write_back(closure, std::span(out).subspan(results));
  out.resize(results);
  return out;
}

// ---- while_loop

TensorList while_loop(const std::function<Tensor(const TensorList&)>& condition, const Function& body,
                      const TensorList& start) {
  const std::vector<Aval> state = avals_of(start);
  const auto test = [&](const TensorList& s) {
    Tensor p = condition(s);
    require_predicate(p, "while_loop", "the result of cond_fun");
    return p;
  };
  const auto step = [&](const TensorList& s) {
    TensorList next = body(s);
    require_same(next, state, "while_loop", "the result of body_fun", kLikeInit);
    return next;
  };
  TensorList init = start;
  if (!recording()) {
    // As long as all examples of a vmap go on or none does.
    Tensor goes_on = test(init);
    for (; is_known(goes_on); goes_on = test(init)) {
      if (goes_on.item() == 0) return init;
      init = step(init);
    }
  }
  Recorded tested = record_body(state, [&](std::span<const Tensor> in) { return TensorList{test(listed(in))}; });
  Recorded stepped = record_body(state, [&](std::span<const Tensor> in) { return step(listed(in)); });
  Recorded* const bodies[] = {&tested, &stepped};
  const Closure closure = close_bodies(bodies, "while_loop", {false, true});
  const std::size_t n = stepped.graph->outputs.size();
  const AttrsPtr attrs(new WhileAttrs(body_of(tested), n, {body_of(stepped)}));
  std::vector<Tensor> out = apply_many(while_op, attrs, concatenated({init, closure.state, closure.consts}), n);
  write_back(closure, std::span(out).subspan(init.size()));
  out.resize(init.size());
  return out;
}

// ---- scan

namespace {

std::int64_t scan_length(std::span<const Tensor> xs, std::int64_t length) {
  for (std::size_t i = 0; i < xs.size(); ++i) {
    if (xs[i].ndim() == 0)
      throw ShapeError(cat("scan: tensor ", i, " of xs is a scalar; it needs an axis to run along"));
    if (length < 0) length = xs[i].shape(0);
    if (xs[i].shape(0) != length)
      throw ShapeError(cat("scan: tensor ", i, " of xs has shape ", xs[i].shape(), ", but there are ", length,
                           " steps; all must be as long as that"));
  }
  if (length < 0) throw ValueError("scan: there are no xs, so it needs the length");
  return length;
}

ScanResult scan_eagerly(const ScanBody& step, const TensorList& init, const TensorList& xs, std::int64_t length,
                        bool reverse) {
  ScanResult result{init, {}};
  std::vector<TensorList> ys;  // of each output
  for (std::int64_t t = 0; t < length; ++t) {
    TensorList x;
    for (const Tensor& all : xs) x.push_back(index(all, reverse ? length - 1 - t : t));
    ScanResult now = step(result.carry, x);
    result.carry = std::move(now.carry);
    ys.resize(now.ys.size());
    for (std::size_t i = 0; i < ys.size(); ++i) ys[i].push_back(std::move(now.ys[i]));
  }
  for (TensorList& y : ys) {
    if (reverse) std::reverse(y.begin(), y.end());
    result.ys.push_back(stack(y, 0));
  }
  return result;
}

}  // namespace

ScanResult scan(const ScanBody& body, const TensorList& init, const TensorList& xs, const ScanOptions& options) {
  const std::int64_t length = scan_length(xs, options.length);
  if (options.checkpoint < 0)
    throw ValueError(cat("scan: checkpoint is ", options.checkpoint, ", but must not be negative"));
  const std::vector<Aval> carries = avals_of(init);
  std::vector<Aval> given;  // what the first step has given
  bool started = false;
  const auto step = [&](const TensorList& carry, const TensorList& x) {
    ScanResult r = body(carry, x);
    require_same(r.carry, carries, "scan", "the carry that f returns", kLikeInit);
    if (std::exchange(started, true))
      require_same(r.ys, given, "scan", "the output of f", ", as in the step before");
    else
      given = avals_of(r.ys);
    return r;
  };
  // Without a step only a recording can tell what a step would give.
  if (!recording() && !options.checkpoint && length > 0) return scan_eagerly(step, init, xs, length, options.reverse);

  std::vector<Aval> inputs = carries;
  for (Aval a : avals_of(xs)) {
    a.shape.erase(0);
    inputs.push_back(a);
  }
  std::size_t n_ys = 0;
  Recorded recorded = record_body(inputs, [&](std::span<const Tensor> in) {
    ScanResult r = step(listed(in.first(init.size())), listed(in.subspan(init.size())));
    n_ys = r.ys.size();
    return concatenated({r.carry, r.ys});
  });
  // Variables that the body writes are carried too. The order of groups is then carry | ys | state and carry | x |
  // state | consts.
  Recorded* const bodies[] = {&recorded};
  const Closure closure = close_bodies(bodies, "scan", {true});
  Graph& graph = *recorded.graph;
  const auto n = static_cast<std::ptrdiff_t>(init.size()), n_x = static_cast<std::ptrdiff_t>(xs.size());
  const auto n_state = static_cast<std::ptrdiff_t>(closure.state.size());
  std::rotate(graph.inputs.begin() + n, graph.inputs.begin() + n + n_x, graph.inputs.begin() + n + n_x + n_state);
  std::rotate(graph.outputs.begin() + n, graph.outputs.end() - n_state, graph.outputs.end());

  const std::vector<Tensor> first = concatenated({init, closure.state});
  const std::int64_t every = options.checkpoint ? std::min(options.checkpoint, std::max<std::int64_t>(length, 1))
                                                : storing_interval(length, first);
  const AttrsPtr attrs(new ScanAttrs(body_of(recorded), first.size(), xs.size(), length, every));
  // Order is a matter of views.
  const auto directed = [&](std::span<const Tensor> ts) {
    TensorList result;
    for (const Tensor& t : ts) result.push_back(options.reverse ? flip(t, Axes{0}) : t);
    return result;
  };
  const std::vector<Tensor> out =
      apply_many(scan_op, attrs, concatenated({first, directed(xs), closure.consts}), 2 * first.size() + n_ys);
  const std::span<const Tensor> all(out);
  write_back(closure, all.subspan(init.size(), closure.state.size()));
  return {listed(all.first(init.size())), directed(all.subspan(first.size(), n_ys))};
}

// ---- fori_loop

TensorList fori_loop(std::int64_t lower, std::int64_t upper, const LoopBody& body, const TensorList& init,
                     std::int64_t checkpoint) {
  const std::int64_t n = std::max<std::int64_t>(upper - lower, 0);
  const Tensor i = arange(static_cast<double>(lower), static_cast<double>(lower + n), 1, DType::Int64,
                          init.empty() ? Device{} : init[0].device());
  if (n == 0) return init;
  const std::vector<Aval> state = avals_of(init);
  return scan(
             [&](const TensorList& carry, const TensorList& x) {
               ScanResult r{body(x[0], carry), {}};
               require_same(r.carry, state, "fori_loop", "the result of body_fun", kLikeInit);
               return r;
             },
             init, {i}, {.checkpoint = checkpoint})
      .carry;
}

TensorList fori_loop(const Tensor& lower, const Tensor& upper, const LoopBody& body, const TensorList& init) {
  for (const Tensor* bound : {&lower, &upper}) {
    if (bound->ndim() != 0)
      throw ShapeError(cat("fori_loop: a bound has shape ", bound->shape(), ", but must be a scalar"));
    if (is_floating(bound->dtype()) || bound->dtype() == bool_)
      throw DTypeError(cat("fori_loop: a bound has dtype ", name_of(bound->dtype()), ", but must be an integer"));
  }
  if (is_known(lower) && is_known(upper))
    return fori_loop(static_cast<std::int64_t>(lower.item()), static_cast<std::int64_t>(upper.item()), body, init);
  TensorList state{cast(lower, DType::Int64)};
  state.insert(state.end(), init.begin(), init.end());
  const Tensor end = cast(upper, DType::Int64);
  const auto rest = [](const TensorList& s) { return TensorList(s.begin() + 1, s.end()); };
  return rest(while_loop([&](const TensorList& s) { return less(s[0], end); },
                         [&](const TensorList& s) {
                           TensorList next = body(s[0], rest(s));
                           require_same(next, avals_of(init), "fori_loop", "the result of body_fun", kLikeInit);
                           next.insert(next.begin(), add(s[0], scalar(1, DType::Int64)));
                           return next;
                         },
                         state));
}

// ---- checkpoint

TensorList checkpoint(const Function& f, const TensorList& inputs) {
  const bool planned = recording();
  Recorded recorded = record_body(avals_of(inputs), [&](std::span<const Tensor> in) { return f(listed(in)); });
  Recorded* const bodies[] = {&recorded};
  const Closure closure = close_bodies(bodies, "checkpoint", {true});
  const std::size_t n = recorded.graph->outputs.size(), results = recorded.results;
  std::vector<Tensor> out = apply_many(checkpoint_op, AttrsPtr(new CallAttrs(body_of(recorded), planned)),
                                       concatenated({inputs, closure.state, closure.consts}), n);
  write_back(closure, std::span(out).subspan(results));
  out.resize(results);
  return out;
}

}  // namespace evolute
