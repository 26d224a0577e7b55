// Control flow over Python functions: structures of tensors around the functions of evolute/control.h.
#include "evolute/control.h"

#include <pybind11/stl.h>

#include <optional>

#include "python/bindings.h"
#include "python/tree.h"

namespace evolute::python {

namespace {

bool is_leaf(py::handle o) { return is_tensor(o.ptr()) || is_convertible(o.ptr()); }

// The tensors of a structure. Numbers and arrays become tensors; None may stand anywhere; `strict`: nothing else may.
TensorList leaves_of(py::handle structure, const char* what, const char* role, bool strict = true) {
  TensorList leaves;
  visit_leaves(structure, [&](py::handle o) {
    if (is_leaf(o))
      leaves.push_back(is_tensor(o.ptr()) ? value_of(o.ptr()) : tensor_from(o));
    else if (strict && !o.is_none())
      throw DTypeError(cat(what, ": ", role, " must be made of tensors (or tuples, lists and dicts of them), not ",
                           Py_TYPE(o.ptr())->tp_name));
  });
  return leaves;
}

// The same structure with other tensors.
py::object with_leaves(py::handle structure, std::span<const Tensor> leaves) {
  std::size_t next = 0;
  return map_leaves(structure, [&](py::handle o) -> py::object {
    return is_leaf(o) ? wrapped(leaves[next++]) : py::reinterpret_borrow<py::object>(o);
  });
}

// ValueError unless `got` has the structure of `expected`, in which None stands in the same places.
void require_structure(py::handle expected, py::handle got, const char* what, const char* role) {
  const auto tensor_or_none = [&](py::handle o) { return o.is_none() ? "None" : "a tensor"; };
  match_leaves(expected, got, what, role, [&](py::handle want, py::handle leaf) {
    if (PyTuple_Check(leaf.ptr()) || PyList_CheckExact(leaf.ptr()) || PyDict_Check(leaf.ptr()))
      throw ValueError(cat(what, ": ", role, " must have the structure of what it belongs to: needs ",
                           tensor_or_none(want), ", got a ", Py_TYPE(leaf.ptr())->tp_name));
    if (want.is_none() != leaf.is_none())
      throw ValueError(cat(what, ": ", role, " must have the structure of what it belongs to: needs ",
                           tensor_or_none(want), ", got ", tensor_or_none(leaf)));
  });
}

// What a function has returned, the first time; later results must have its structure.
class ResultStructure {
 public:
  TensorList take(const py::object& out, const char* what, const char* role) {
    TensorList leaves = leaves_of(out, what, role);
    if (first_)
      require_structure(first_, out, what, role);
    else
      first_ = out;
    return leaves;
  }
  py::object filled(std::span<const Tensor> leaves) const { return with_leaves(first_, leaves); }

 private:
  py::object first_;
};

py::object cond_function(const py::object& predicate, const py::function& on_true, const py::function& on_false,
                         const py::args& operands) {
  ResultStructure structure;
  const auto branch = [&](const py::function& f, const char* role) {
    return [&, role](const TensorList& in) {
      return structure.take(f(*py::tuple(with_leaves(operands, in))), "cond", role);
    };
  };
  return structure.filled(cond(tensor_from(predicate), branch(on_true, "the result of true_fn"),
                               branch(on_false, "the result of false_fn"), leaves_of(operands, "cond", "", false)));
}

// A function from a state to the next, of the same structure.
TensorList next_state(const py::object& out, py::handle init, const char* what) {
  TensorList leaves = leaves_of(out, what, "the result of body_fun");
  require_structure(init, out, what, "the result of body_fun");
  return leaves;
}

py::object while_function(const py::function& cond_fun, const py::function& body_fun, const py::object& init) {
  const char* what = "while_loop";
  return with_leaves(
      init, while_loop(
                [&](const TensorList& s) {
                  const py::object p = cond_fun(with_leaves(init, s));
                  if (!is_leaf(p))
                    throw DTypeError(
                        cat(what, ": the result of cond_fun must be a boolean, not ", Py_TYPE(p.ptr())->tp_name));
                  return tensor_from(p);
                },
                [&](const TensorList& s) { return next_state(body_fun(with_leaves(init, s)), init, what); },
                leaves_of(init, what, "init_val")));
}

py::object fori_function(const py::object& lower, const py::object& upper, const py::function& body_fun,
                         const py::object& init, const std::optional<std::int64_t>& checkpoint) {
  const char* what = "fori_loop";
  const LoopBody body = [&](const Tensor& i, const TensorList& s) {
    return next_state(body_fun(wrapped(i), with_leaves(init, s)), init, what);
  };
  const TensorList start = leaves_of(init, what, "init_val");
  for (const py::object& bound : {lower, upper})
    if (!is_leaf(bound) || PyBool_Check(bound.ptr()) || PyFloat_Check(bound.ptr()))
      throw DTypeError(cat(what, ": a bound must be an integer, not ", Py_TYPE(bound.ptr())->tp_name));
  if (PyLong_Check(lower.ptr()) && PyLong_Check(upper.ptr()))
    return with_leaves(
        init, fori_loop(lower.cast<std::int64_t>(), upper.cast<std::int64_t>(), body, start, checkpoint.value_or(0)));
  return with_leaves(init, fori_loop(tensor_from(lower), tensor_from(upper), body, start));
}

py::tuple scan_function(const py::function& f, const py::object& init, const py::object& xs,
                        const std::optional<std::int64_t>& length, bool reverse,
                        const std::optional<std::int64_t>& checkpoint) {
  const char* what = "scan";
  if (length && *length < 0) throw ValueError(cat(what, ": length is ", *length, ", but must not be negative"));
  if (checkpoint && *checkpoint < 1)
    throw ValueError(cat(what, ": checkpoint is ", *checkpoint, ", but must be a number of steps"));
  ResultStructure ys;
  const ScanBody body = [&](const TensorList& carry, const TensorList& x) {
    const py::object out = f(with_leaves(init, carry), with_leaves(xs, x));
    if (!PyTuple_Check(out.ptr()) || PyTuple_GET_SIZE(out.ptr()) != 2)
      throw ValueError(cat(what, ": f must return a pair (carry, y), got ",
                           PyTuple_Check(out.ptr()) ? cat("a tuple of ", PyTuple_GET_SIZE(out.ptr()))
                                                    : std::string(Py_TYPE(out.ptr())->tp_name)));
    const py::object carry_out = py::reinterpret_borrow<py::object>(PyTuple_GET_ITEM(out.ptr(), 0));
    const py::object y = py::reinterpret_borrow<py::object>(PyTuple_GET_ITEM(out.ptr(), 1));
    ScanResult r{leaves_of(carry_out, what, "the carry that f returns"), {}};
    require_structure(init, carry_out, what, "the carry that f returns");
    r.ys = ys.take(y, what, "the output of f");
    return r;
  };
  const ScanResult r = scan(body, leaves_of(init, what, "init"), leaves_of(xs, what, "xs"),
                            {length.value_or(-1), reverse, checkpoint.value_or(0)});
  return py::make_tuple(with_leaves(init, r.carry), ys.filled(r.ys));
}

py::object checkpoint_function(const py::function& f, const py::tuple& args, const py::dict& kwargs) {
  const py::tuple inputs = py::make_tuple(args, kwargs);
  ResultStructure structure;
  return structure.filled(checkpoint(
      [&](const TensorList& in) {
        const py::tuple call = with_leaves(inputs, in);
        return structure.take(f(*call[0].cast<py::tuple>(), **call[1].cast<py::dict>()), "checkpoint",
                              "the result of the function");
      },
      leaves_of(inputs, "checkpoint", "", false)));
}

}  // namespace

void define_control(py::module_& m) {
  using py::arg;
  m.def(
      "cond", cond_function, arg("pred"), arg("true_fn"), arg("false_fn"),
      "cond(pred: TensorLike, true_fn: Callable[..., Any], false_fn: Callable[..., Any], *operands: Any) -> Any\n\n"
      "true_fn(*operands) or false_fn(*operands), as a boolean scalar says.\n\n"
      "Both must give the same structure of tensors of the same shapes and dtypes. In graph mode both are recorded and "
      "one is run. The functions may use tensors and parameters from outside.");
  m.def("while_loop", while_function, arg("cond_fun"), arg("body_fun"), arg("init_val"),
        "while_loop(cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], init_val: Any) -> Any\n\n"
        "Applies body_fun to init_val again and again while cond_fun of it, a boolean scalar, is true.\n\n"
        "The state is a structure of tensors that keeps its shapes and dtypes. In graph mode the number of steps is "
        "known when it is run. Reverse mode keeps the states of all steps; where the number of steps is known, `scan` "
        "and `fori_loop` need less memory.");
  m.def("fori_loop", fori_function, arg("lower"), arg("upper"), arg("body_fun"), arg("init_val"),
        arg("checkpoint") = py::none(),
        "fori_loop(lower: TensorLike, upper: TensorLike, body_fun: Callable[[Tensor, Any], Any], init_val: Any, "
        "checkpoint: int | None = None) -> Any\n\n"
        "Applies state = body_fun(i, state) for i from lower to upper - 1, an int64 scalar.\n\n"
        "Bounds that are Python integers make it a `scan`, which `checkpoint` is for; tensors make it a `while_loop`.");
  m.def("scan", scan_function, arg("f"), arg("init"), arg("xs") = py::none(), arg("length") = py::none(),
        arg("reverse") = false, arg("checkpoint") = py::none(),
        "scan(f: Callable[[Any, Any], tuple[Any, Any]], init: Any, xs: Any = None, length: int | None = None, reverse: "
        "bool = False, checkpoint: int | None = None) -> tuple[Any, Any]\n\n"
        "Applies carry, y = f(carry, x) to the elements x of the first axis of xs; gives the last carry and the ys, "
        "stacked.\n\n"
        "Without xs there are `length` steps, with x None. The carry keeps its structure, shapes and dtypes. "
        "`checkpoint=k` makes reverse mode keep the carry before every k-th step only, and compute the others anew. "
        "In graph mode the default is to keep all of them up to 1 MiB, and every √length-th beyond; otherwise it is to "
        "keep everything, and with `checkpoint` f is recorded as in graph mode.");
  m.def("checkpoint_call", checkpoint_function, arg("fn"), arg("args"), arg("kwargs"),
        "checkpoint_call(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any\n\n"
        "fn(*args, **kwargs), of which reverse mode keeps the arguments alone.");
}

}  // namespace evolute::python
