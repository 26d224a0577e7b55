// Derivative rules that are Python functions, and functions that are recorded to be applied again.
#include "autodiff/custom.h"

#include "evolute/linear.h"
#include "evolute/ops.h"
#include "python/bindings.h"
#include "python/tree.h"

namespace evolute::python {

namespace {

// What stands in a structure where a tensor goes. Structures that rules keep must not keep tensors alive.
py::handle slot() {
  static PyObject* const s = py::module_::import("builtins").attr("object")().release().ptr();
  return s;
}

Tensor tensor_at(py::handle leaf) { return is_tensor(leaf.ptr()) ? value_of(leaf.ptr()) : tensor_from(leaf); }

// A structure with slots, and what goes there.
struct Parts {
  py::object skeleton;
  TensorList tensors;
};
// Arguments and residuals: tensors and arrays; all else is static.
Parts arrays_of(py::handle structure) {
  Parts parts;
  parts.skeleton = map_leaves(structure, [&](py::handle o) {
    if (!is_array(o)) return py::reinterpret_borrow<py::object>(o);
    parts.tensors.push_back(tensor_at(o));
    return py::reinterpret_borrow<py::object>(slot());
  });
  return parts;
}
// Results: tensors, arrays and numbers; None may stand anywhere.
Parts results_of(py::handle structure, const std::string& what, const char* role) {
  Parts parts;
  parts.skeleton = map_leaves(structure, [&](py::handle o) -> py::object {
    if (o.is_none()) return py::none();
    if (!is_array(o) && !PyFloat_Check(o.ptr()) && !PyLong_Check(o.ptr()))
      throw DTypeError(cat(what, ": ", role, " must be made of tensors (or tuples, lists and dicts of them), not ",
                           Py_TYPE(o.ptr())->tp_name));
    parts.tensors.push_back(tensor_at(o));
    return py::reinterpret_borrow<py::object>(slot());
  });
  return parts;
}
// Undefined tensors become None. So does, if `only`, what is static.
py::object fill(py::handle skeleton, std::span<const Tensor> tensors, bool only = false) {
  std::size_t next = 0;
  return map_leaves(skeleton, [&](py::handle o) -> py::object {
    if (!o.is(slot())) return only ? py::none() : py::reinterpret_borrow<py::object>(o);
    const Tensor& t = tensors[next++];
    return t.defined() ? wrapped(t) : py::none();
  });
}

Tensor derivative_from(py::handle o, const Aval& like, const std::string& what, const char* role) {
  if (o.is_none()) return {};
  if (!is_array(o) && !PyFloat_Check(o.ptr()) && !PyLong_Check(o.ptr()))
    throw DTypeError(
        cat(what, ": ", role, " must be a tensor of shape ", like.shape, " or None, got ", Py_TYPE(o.ptr())->tp_name));
  const Tensor t = tensor_at(o);
  return is_floating(t.dtype()) && t.dtype() != like.dtype ? cast(t, like.dtype) : t;
}

// Python objects that a rule holds: it may end on a thread without the GIL.
struct Held {
  py::object function, keep, backward, forward;  // None where there is no such function
  py::object args, out, residuals;               // skeletons; the last two are known once a function has run

  py::object call(const py::object& f, std::span<const Tensor> in) const { return f(*py::tuple(fill(args, in))); }
  TensorList take(const py::object& result, const std::string& what) {
    Parts parts = results_of(result, what, "the function's result");
    out = parts.skeleton;
    return std::move(parts.tensors);
  }
};
using HeldPtr = std::shared_ptr<Held>;
HeldPtr hold(Held h) {
  return HeldPtr(new Held(std::move(h)), [](Held* p) {
    py::gil_scoped_acquire gil;
    delete p;
  });
}

class PythonRule final : public DerivativeRule {
 public:
  PythonRule(std::string name, HeldPtr held) : DerivativeRule(std::move(name)), held_(std::move(held)) {}

  // backward(primals, out, residuals, cotangents) -> one entry per argument
  std::vector<Tensor> pull(const RuleOperands& at, std::span<const Tensor> cotangents,
                           const Mask& wanted) const override {
    if (held_->backward.is_none()) return DerivativeRule::pull(at, cotangents, wanted);
    py::gil_scoped_acquire gil;
    std::vector<Tensor> along(cotangents.begin(), cotangents.end());
    for (std::size_t i = 0; i < along.size(); ++i)
      if (!along[i].defined() && is_floating(at.out[i].dtype())) along[i] = zeros_like(at.out[i]);
    py::object grads = held_->backward(fill(held_->args, at.in), fill(held_->out, at.out),
                                       fill(held_->residuals, at.residuals), fill(held_->out, along));
    const std::size_t n = py::len(held_->args);
    if (n == 1 && !PyTuple_Check(grads.ptr()) && !PyList_CheckExact(grads.ptr())) grads = py::make_tuple(grads);
    if (PyList_CheckExact(grads.ptr())) grads = py::tuple(grads);
    if (!PyTuple_Check(grads.ptr()) || py::len(grads) != n)
      throw ValueError(cat(name(), ": the backward rule must return a tuple with one gradient for each of the ", n,
                           " arguments (None for zero), got ",
                           PyTuple_Check(grads.ptr()) ? cat("a tuple of ", py::len(grads))
                                                      : std::string(Py_TYPE(grads.ptr())->tp_name)));
    std::vector<Tensor> result;
    match_leaves(held_->args, grads, name().c_str(), "what the backward rule returns",
                 [&](py::handle leaf, py::handle g) {
                   if (leaf.is(slot()))
                     result.push_back(derivative_from(g, at.in[result.size()].aval(), name(), "a gradient"));
                   else if (!g.is_none())
                     throw ValueError(cat(name(),
                                          ": the backward rule gives a gradient for an argument that is no "
                                          "tensor (",
                                          Py_TYPE(leaf.ptr())->tp_name, "); return None there"));
                 });
    return result;
  }

  // forward(primals, out, tangents) -> tangents of the output
  std::vector<Tensor> push(const RuleOperands& at, std::span<const Tensor> tangents) const override {
    if (held_->forward.is_none()) return DerivativeRule::push(at, tangents);
    py::gil_scoped_acquire gil;
    std::vector<Tensor> along(tangents.begin(), tangents.end());
    for (std::size_t i = 0; i < along.size(); ++i)
      if (!along[i].defined() && is_floating(at.in[i].dtype())) along[i] = zeros_like(at.in[i]);
    const py::object pushed =
        held_->forward(fill(held_->args, at.in), fill(held_->out, at.out), fill(held_->args, along, true));
    std::vector<Tensor> result;
    match_leaves(held_->out, pushed, name().c_str(), "the tangent that the rule returns",
                 [&](py::handle leaf, py::handle t) {
                   if (!leaf.is_none())
                     result.push_back(derivative_from(t, at.out[result.size()].aval(), name(), "a tangent"));
                 });
    return result;
  }

 private:
  const HeldPtr held_;
};

// fn with its own rules. keep(*args) -> (out, residuals), for backward.
py::object call_with_rule_function(const py::function& fn, const py::tuple& args, const py::object& keep,
                                   const py::object& backward, const py::object& forward, bool lenient,
                                   const std::string& what) {
  const Parts inputs = arrays_of(args);
  const HeldPtr held = hold({fn, keep, backward, forward, inputs.skeleton, py::none(), py::tuple()});
  const auto run = [held, what](std::span<const Tensor> in) {
    return held->take(held->call(held->function, in), what);
  };
  const auto run_keeping = [held, what](std::span<const Tensor> in) {
    py::gil_scoped_acquire gil;
    const py::object both = held->call(held->keep, in);
    if (!PyTuple_Check(both.ptr()) || PyTuple_GET_SIZE(both.ptr()) != 2)
      throw ValueError(cat(
          what, ": the forward function must return a pair (output, residuals), got ",
          PyTuple_Check(both.ptr()) ? cat("a tuple of ", py::len(both)) : std::string(Py_TYPE(both.ptr())->tp_name)));
    Parts residuals = arrays_of(both[py::int_(1)]);
    held->residuals = residuals.skeleton;
    return Kept{held->take(both[py::int_(0)], what), std::move(residuals.tensors)};
  };
  std::function<Kept(std::span<const Tensor>)> keeping;
  if (!keep.is_none()) keeping = run_keeping;
  const TensorList outputs =
      call_with_rule(Ref<const DerivativeRule>(new PythonRule(what, held)), inputs.tensors, run, keeping, lenient);
  return fill(held->out, outputs);
}

// ---- Functions that are applied again

std::vector<Aval> avals_of(const TensorList& tensors) {
  std::vector<Aval> avals;
  for (const Tensor& t : tensors) avals.push_back(t.aval());
  return avals;
}

// A C++ function between two structures of tensors, as a Python function of the first one's entries.
py::cpp_function applied(Function f, py::object in, std::vector<Aval> like, py::object out, const char* what,
                         const char* role) {
  const HeldPtr held = hold({{}, {}, {}, {}, std::move(in), std::move(out), {}});
  return py::cpp_function([f = std::move(f), held, like = std::move(like), what, role](const py::args& given) {
    if (given.size() != py::len(held->args))
      throw ValueError(cat(what, ": got ", given.size(), " ", role, "s, but needs ", py::len(held->args)));
    TensorList tensors;
    match_leaves(held->args, given, what, role, [&](py::handle leaf, py::handle t) {
      if (leaf.is_none()) return;
      const Aval& a = like[tensors.size()];
      const Tensor d = derivative_from(t, a, what, role);
      tensors.push_back(d.defined() ? d : zeros(a.shape, a.dtype));
    });
    return fill(held->out, f(tensors));
  });
}

// The function of a list of tensors that a Python function of `args` is; `out`: the structure of what it has returned.
Function over(const py::function& fn, py::handle args, py::object& out, const char* what) {
  return [&fn, args, &out, what](const TensorList& in) {
    Parts parts = results_of(fn(*py::tuple(fill(args, in))), what, "the function's result");
    out = parts.skeleton;
    return std::move(parts.tensors);
  };
}

py::tuple linearize_function(const py::function& fn, const py::tuple& primals) {
  const char* what = "linearize";
  const Parts in = results_of(primals, what, "a primal");
  py::object out;
  Linearized l = linearize(over(fn, in.skeleton, out, what), in.tensors);
  const py::object value = fill(out, l.outputs);
  return py::make_tuple(value,
                        applied(std::move(l.derivative), in.skeleton, avals_of(in.tensors), out, what, "tangent"));
}

py::cpp_function transpose_function(const py::function& fn, const py::tuple& primals) {
  const char* what = "linear_transpose";
  const Parts in = results_of(primals, what, "a primal");
  py::object out;
  std::vector<Aval> outputs;
  const Function f = over(fn, in.skeleton, out, what);
  Function transposed = linear_transpose(
      [&](const TensorList& x) {
        TensorList y = f(x);
        outputs = avals_of(y);
        return y;
      },
      in.tensors);
  return applied(std::move(transposed), py::make_tuple(out), std::move(outputs), in.skeleton, what, "cotangent");
}

// (closed, constants) with fn(*args) = closed(*args, *constants), for any args like these.
py::tuple close_function(const py::function& fn, const py::tuple& args) {
  const Parts in = arrays_of(args);
  py::object out;
  ClosedFunction closed = close_over(over(fn, in.skeleton, out, "the function"), in.tensors);
  py::tuple constants(closed.constants.size());
  for (std::size_t i = 0; i < constants.size(); ++i) constants[i] = wrapped(closed.constants[i]);
  const HeldPtr held = hold({{}, {}, {}, {}, {}, out, {}});
  py::cpp_function function([f = std::move(closed.function), held](const py::args& all) {
    return fill(held->out, f(arrays_of(all).tensors));
  });
  return py::make_tuple(function, constants);
}

}  // namespace

void define_custom(py::module_& m) {
  using py::arg;
  m.def(
      "call_with_rule", call_with_rule_function, arg("fn"), arg("args"), arg("keep"), arg("backward"), arg("forward"),
      arg("lenient"), arg("what"),
      "call_with_rule(fn: Callable[..., Any], args: tuple[Any, ...], keep: Callable[..., Any] | None, backward: "
      "Callable[..., Any] | None, forward: Callable[..., Any] | None, lenient: bool, what: str) -> Any\n\n"
      "fn(*args) with its own derivative rules: keep(*args) -> (out, residuals) and backward(primals, out, residuals, "
      "cotangents), or forward(primals, out, tangents), or both.");
  m.def("linearize", linearize_function, arg("fn"), arg("primals"),
        "linearize(fn: Callable[..., Any], primals: tuple[Any, ...]) -> tuple[Any, Callable[..., Any]]\n\n"
        "Value of fn and its derivative as a function of tangents.");
  m.def("linear_transpose", transpose_function, arg("fn"), arg("primals"),
        "linear_transpose(fn: Callable[..., Any], primals: tuple[Any, ...]) -> Callable[[Any], tuple[Any, ...]]\n\n"
        "The transpose of a linear function.");
  m.def("close_over", close_function, arg("fn"), arg("args"),
        "close_over(fn: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Callable[..., Any], tuple[Tensor, ...]]\n\n"
        "fn, recorded, as a function of its arguments and of what it uses from outside.");
}

}  // namespace evolute::python
