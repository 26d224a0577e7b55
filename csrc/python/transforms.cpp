// Reverse and forward mode over Python functions. The Python layer gives these their public signatures.
#include "autodiff/transforms.h"

#include <pybind11/stl.h>

#include "autodiff/jet.h"
#include "evolute/ops.h"
#include "python/bindings.h"
#include "python/tree.h"

namespace evolute::python {

namespace {

// The value of a leaf to be differentiated; undefined for leaves that are not numbers of floating kind.
Tensor differentiable_leaf(py::handle o, bool top) {
  if (is_tensor(o.ptr())) return value_of(o.ptr());
  if (PyFloat_Check(o.ptr()) || py::isinstance<py::buffer>(o)) return tensor_from(o);
  if (top)
    throw DTypeError(cat("grad: cannot differentiate with respect to an argument of type ", Py_TYPE(o.ptr())->tp_name,
                         "; give a float32 or float64 tensor, or leave its position out"));
  return {};
}

// The outputs of a differentiated function. Leaves that are no tensors are kept out, unless nothing else is there.
std::vector<Tensor> output_leaves(py::handle out, const char* what) {
  std::vector<Tensor> leaves;
  visit_leaves(out, [&](py::handle o) {
    if (is_tensor(o.ptr())) leaves.push_back(value_of(o.ptr()));
    else if (PyFloat_Check(o.ptr()) || PyLong_Check(o.ptr())) leaves.push_back(tensor_from(o));
    else if (!o.is_none())
      throw DTypeError(cat(what, ": the function must return tensors (or tuples, lists and dicts of them), not ",
                           Py_TYPE(o.ptr())->tp_name));
  });
  if (leaves.empty()) throw DTypeError(cat(what, ": the function returned no tensor"));
  return leaves;
}

// Cotangents for `outputs`: ones, or the leaves of `sens` after checking that they fit one by one.
std::vector<Tensor> seeds_for(const std::vector<Tensor>& outputs, const py::object& sens, const char* what) {
  std::vector<Tensor> seeds;
  if (sens.is_none()) {
    bool any = false;
    for (const Tensor& y : outputs) {
      seeds.push_back(is_floating(y.dtype()) ? ones_like(y) : Tensor());
      any = any || is_floating(y.dtype());
    }
    if (!any) throw DTypeError(cat(what, ": the function's output is ", outputs[0].aval(), ", which has no derivative"));
    return seeds;
  }
  visit_leaves(sens, [&](py::handle o) { seeds.push_back(o.cast<Tensor>()); });
  if (seeds.size() != outputs.size())
    throw ValueError(cat(what, ": sens has ", seeds.size(), " tensors for ", outputs.size(),
                         " outputs; give one per output, in the same structure"));
  for (std::size_t i = 0; i < seeds.size(); ++i) {
    require_like(seeds[i], {outputs[i].shape(), seeds[i].dtype()}, what, "sens");
    if (seeds[i].dtype() != outputs[i].dtype()) {
      if (!is_floating(outputs[i].dtype()))
        throw DTypeError(cat(what, ": output ", i, " is ", outputs[i].aval(), ", which has no derivative"));
      seeds[i] = cast(seeds[i], outputs[i].dtype());
    }
  }
  return seeds;
}

py::object lowered(py::handle out, const ReverseRun& run) {
  return map_leaves(out, [&](py::handle o) -> py::object {
    if (!is_tensor(o.ptr()) || as_py_tensor(o.ptr())->variable) return py::reinterpret_borrow<py::object>(o);
    return wrapped(run.lower(value_of(o.ptr())));
  });
}

// One reverse-mode run over a Python call: traced arguments, outputs, and gradients in the arguments' structure.
class PythonRun {
 public:
  PythonRun(const py::function& fn, const py::tuple& args, const py::dict& kwargs, const std::vector<int>& positions,
            const py::tuple& variables, bool has_aux, const char* what)
      : args_(args), positions_(positions) {
    py::list traced(args);
    const int n = static_cast<int>(args.size());
    for (int& p : positions_) {
      if (p < -n || p >= n)
        throw ValueError(cat(what, ": grad_position ", p, " is out of range for ", n, " positional arguments"));
      if (p < 0) p += n;
      const py::handle arg = args[p];
      const bool nested = PyTuple_Check(arg.ptr()) || PyList_Check(arg.ptr()) || PyDict_Check(arg.ptr());
      traced[p] = map_leaves(arg, [&](py::handle o) -> py::object {
        const Tensor x = differentiable_leaf(o, !nested);
        return x.defined() ? wrapped(run_.trace(x)) : py::reinterpret_borrow<py::object>(o);
      });
    }
    for (py::handle v : variables) {
      if (!is_tensor(v.ptr()) || !as_py_tensor(v.ptr())->variable)
        throw DTypeError(cat(what, ": weights must be Parameters, got ", Py_TYPE(v.ptr())->tp_name));
      run_.trace(as_py_tensor(v.ptr())->variable);
    }
    n_variables_ = variables.size();
    py::object out = fn(*py::tuple(traced), **kwargs);
    run_.close();
    py::object main = out;
    if (has_aux) {
      if (!PyTuple_Check(out.ptr()) || PyTuple_GET_SIZE(out.ptr()) < 2)
        throw ValueError(cat(what, ": with has_aux the function must return a tuple (output, aux, ...)"));
      main = py::object(py::tuple(out)[0]);
    }
    outputs_ = output_leaves(main, what);
    value_ = lowered(out, run_);
  }

  const std::vector<Tensor>& outputs() const { return outputs_; }
  const py::object& value() const { return value_; }

  // (gradients of the arguments at the positions, gradients of the variables), both tuples.
  std::pair<py::tuple, py::tuple> pull(const std::vector<Tensor>& seeds, bool consume) {
    const std::vector<Tensor> grads = run_.pull(outputs_, seeds, consume);
    std::size_t next = 0;
    py::tuple inputs(positions_.size());
    for (std::size_t i = 0; i < positions_.size(); ++i) {
      inputs[i] = map_leaves(args_[positions_[i]], [&](py::handle o) -> py::object {
        const bool traced = is_tensor(o.ptr()) || PyFloat_Check(o.ptr()) || py::isinstance<py::buffer>(o);
        return traced ? wrapped(grads[next++]) : py::none();
      });
    }
    py::tuple variables(n_variables_);
    for (std::size_t i = 0; i < n_variables_; ++i) variables[i] = wrapped(grads[next++]);
    return {inputs, variables};
  }

 private:
  ReverseRun run_;
  py::tuple args_;
  std::vector<int> positions_;
  std::size_t n_variables_ = 0;
  std::vector<Tensor> outputs_;
  py::object value_;
};

py::tuple gradient(const py::function& fn, const py::tuple& args, const py::dict& kwargs,
                   const std::vector<int>& positions, const py::tuple& variables, const py::object& sens, bool has_aux) {
  PythonRun run(fn, args, kwargs, positions, variables, has_aux, "grad");
  auto [inputs, weights] = run.pull(seeds_for(run.outputs(), sens, "grad"), true);
  return py::make_tuple(run.value(), inputs, weights);
}

py::tuple vjp_function(const py::function& fn, const py::tuple& args, const py::dict& kwargs,
                       const py::tuple& variables, bool has_aux) {
  std::vector<int> positions(args.size());
  for (std::size_t i = 0; i < positions.size(); ++i) positions[i] = static_cast<int>(i);
  auto run = std::make_shared<PythonRun>(fn, args, kwargs, positions, variables, has_aux, "vjp");
  py::cpp_function pullback([run](const py::object& sens) {
    auto [inputs, weights] = run->pull(seeds_for(run->outputs(), sens, "vjp"), false);
    return py::make_tuple(inputs, weights);
  }, py::arg("sens"));
  return py::make_tuple(run->value(), pullback);
}

py::tuple jvp_function(const py::function& fn, const py::tuple& args, const py::tuple& tangents,
                       const py::dict& kwargs, bool has_aux) {
  auto jet = make_ref<Jet>();
  std::vector<Tensor> v;
  visit_leaves(tangents, [&](py::handle o) { v.push_back(o.is_none() ? Tensor() : o.cast<Tensor>()); });
  std::size_t next = 0;
  py::object out;
  {
    LevelScope scope(*jet);
    py::list traced;
    for (py::handle arg : args) {
      const bool nested = PyTuple_Check(arg.ptr()) || PyList_Check(arg.ptr()) || PyDict_Check(arg.ptr());
      traced.append(map_leaves(arg, [&](py::handle o) -> py::object {
        const Tensor x = differentiable_leaf(o, !nested);
        if (!x.defined()) return py::reinterpret_borrow<py::object>(o);
        if (next == v.size())
          throw ValueError(cat("jvp: got ", v.size(), " tangents, but the inputs have more tensors; give one per tensor"));
        Tensor t = v[next++];
        if (!t.defined()) return py::reinterpret_borrow<py::object>(o);
        require_differentiable(x, "jvp");
        require_like(t, {x.shape(), t.dtype()}, "jvp", "a tangent");
        if (t.dtype() != x.dtype()) t = cast(t, x.dtype());
        return wrapped(jet->trace(settle(x), settle(t)));
      }));
    }
    if (next != v.size())
      throw ValueError(cat("jvp: got ", v.size(), " tangents for ", next, " input tensors; give one per tensor"));
    out = fn(*py::tuple(traced), **kwargs);
  }
  py::object main = out;
  py::object aux = py::none();
  if (has_aux) {
    if (!PyTuple_Check(out.ptr()) || PyTuple_GET_SIZE(out.ptr()) < 2)
      throw ValueError("jvp: with has_aux the function must return a tuple (output, aux, ...)");
    main = py::object(py::tuple(out)[0]);
  }
  output_leaves(main, "jvp");
  const py::object value = map_leaves(out, [&](py::handle o) -> py::object {
    if (!is_tensor(o.ptr())) return py::reinterpret_borrow<py::object>(o);
    return wrapped(jet->lower(value_of(o.ptr())));
  });
  const py::object derivative = map_leaves(main, [&](py::handle o) -> py::object {
    if (o.is_none()) return py::none();
    const Tensor y = is_tensor(o.ptr()) ? value_of(o.ptr()) : tensor_from(o);
    const Tensor t = jet->tangent(y);
    return wrapped(t.defined() ? t : zeros_like(jet->lower(y)));
  });
  return py::make_tuple(value, derivative);
}

}  // namespace

void define_transforms(py::module_& m) {
  using py::arg;
  m.def("gradient", gradient, arg("fn"), arg("args"), arg("kwargs"), arg("positions"), arg("variables"), arg("sens"),
        arg("has_aux"),
        "gradient(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], positions: Sequence[int], "
        "variables: tuple[Tensor, ...], sens: Any, has_aux: bool) -> tuple[Any, tuple[Any, ...], tuple[Tensor, ...]]\n\n"
        "Value of fn and the gradients of its summed outputs, or of their product with `sens`.");
  m.def("vjp", vjp_function, arg("fn"), arg("args"), arg("kwargs"), arg("variables"), arg("has_aux"),
        "vjp(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], variables: tuple[Tensor, ...], "
        "has_aux: bool) -> tuple[Any, Callable[[Any], tuple[tuple[Any, ...], tuple[Tensor, ...]]]]\n\n"
        "Value of fn and its pullback, which may be called many times.");
  m.def("jvp", jvp_function, arg("fn"), arg("args"), arg("tangents"), arg("kwargs"), arg("has_aux"),
        "jvp(fn: Callable[..., Any], args: tuple[Any, ...], tangents: tuple[Any, ...], kwargs: dict[str, Any], "
        "has_aux: bool) -> tuple[Any, Any]\n\nValue of fn and its derivative along the tangents.");
}

}  // namespace evolute::python
