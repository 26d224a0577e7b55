// Reverse and forward mode over Python functions. The Python layer gives these their public signatures.
#include "autodiff/transforms.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <numeric>

#include "autodiff/jet.h"
#include "evolute/autodiff.h"
#include "evolute/ops.h"
#include "python/bindings.h"
#include "python/tree.h"

namespace evolute::python {

namespace {

bool is_structure(py::handle o) {
  return PyTuple_Check(o.ptr()) || PyList_CheckExact(o.ptr()) || PyDict_Check(o.ptr());
}
bool is_number_like(py::handle o) {
  return is_tensor(o.ptr()) || PyFloat_Check(o.ptr()) || py::isinstance<py::buffer>(o);
}

// The value of a leaf to be differentiated; undefined for leaves that are no tensors, arrays or floats. `strict`: those
// are errors, as the caller asked for a derivative by this argument and nothing else.
Tensor differentiable_leaf(py::handle o, bool strict, const char* what) {
  if (is_number_like(o)) return is_tensor(o.ptr()) ? value_of(o.ptr()) : tensor_from(o);
  if (strict)
    throw DTypeError(cat(what, ": cannot differentiate with respect to an argument of type ", Py_TYPE(o.ptr())->tp_name,
                         "; give a float32 or float64 tensor, or leave its position out"));
  return {};
}

// The output that is differentiated, out of what the function returned.
py::object without_aux(const py::object& out, bool has_aux, const char* what) {
  if (!has_aux) return out;
  if (!PyTuple_Check(out.ptr()) || PyTuple_GET_SIZE(out.ptr()) < 2)
    throw ValueError(cat(what, ": with has_aux the function must return a tuple (output, aux, ...), got ",
                         PyTuple_Check(out.ptr()) ? "a tuple of one" : Py_TYPE(out.ptr())->tp_name));
  return py::reinterpret_borrow<py::object>(PyTuple_GET_ITEM(out.ptr(), 0));
}

// The outputs of a differentiated function: all leaves but None.
std::vector<Tensor> output_leaves(py::handle out, const char* what) {
  std::vector<Tensor> leaves;
  visit_leaves(out, [&](py::handle o) {
    if (is_tensor(o.ptr()))
      leaves.push_back(value_of(o.ptr()));
    else if (PyFloat_Check(o.ptr()) || PyLong_Check(o.ptr()))
      leaves.push_back(tensor_from(o));
    else if (!o.is_none())
      throw DTypeError(cat(what, ": the function must return tensors (or tuples, lists and dicts of them), not ",
                           Py_TYPE(o.ptr())->tp_name));
  });
  if (leaves.empty()) throw DTypeError(cat(what, ": the function returned no tensor"));
  return leaves;
}

// A tangent or cotangent for a value like `a`, converted to its dtype; undefined if it is None, which stands for zero.
Tensor direction(py::handle o, const Aval& a, const char* what, const char* role) {
  if (o.is_none()) return {};
  if (PyTuple_Check(o.ptr()) && PyTuple_GET_SIZE(o.ptr()) == 1)
    return direction(PyTuple_GET_ITEM(o.ptr(), 0), a, what, role);
  if (!is_tensor(o.ptr()) && !is_convertible(o.ptr()) && !PyList_Check(o.ptr()))
    throw DTypeError(
        cat(what, ": ", role, " must be a tensor of shape ", a.shape, ", got ", Py_TYPE(o.ptr())->tp_name));
  const Tensor t = is_tensor(o.ptr()) ? value_of(o.ptr()) : placed(tensor_from(o), a.device);
  if (!is_floating(a.dtype))
    throw DTypeError(cat(what, ": there is no derivative at ", a, ", so ", role, " must be None"));
  require_like(t, {a.shape, t.dtype()}, what, role);
  return t.dtype() == a.dtype ? t : cast(t, a.dtype);
}

// Cotangents for `outputs`, the leaves of `structure`: ones, or the leaves of `sens` after checking that they fit.
std::vector<Tensor> seeds_for(const std::vector<Tensor>& outputs, py::handle structure, py::handle sens,
                              const char* what) {
  std::vector<Tensor> seeds;
  if (sens.is_none()) {
    bool any = false;
    for (const Tensor& y : outputs) {
      seeds.push_back(is_floating(y.dtype()) ? ones_like(y) : Tensor());
      any = any || is_floating(y.dtype());
    }
    if (!any)
      throw DTypeError(cat(what, ": the function's output is ", outputs[0].aval(), ", which has no derivative"));
    return seeds;
  }
  match_leaves(structure, sens, what, "sens", [&](py::handle leaf, py::handle o) {
    if (!leaf.is_none())
      seeds.push_back(direction(o, outputs[seeds.size()].aval(), what, "sens"));
    else if (!o.is_none())
      throw ValueError(cat(what, ": sens must be None where the output is None"));
  });
  return seeds;
}

// What a function returned, as seen below the level.
template <class Run>
py::object lowered(py::handle out, const Run& run) {
  return map_leaves(out, [&](py::handle o) -> py::object {
    if (!is_tensor(o.ptr()) || as_py_tensor(o.ptr())->variable) return py::reinterpret_borrow<py::object>(o);
    return wrapped(run.lower(value_of(o.ptr())));
  });
}

// One reverse-mode run over a Python call: traced arguments, outputs, and gradients in the arguments' structure.
class PythonRun {
 public:
  // No `positions`: all arguments, as far as they are numbers.
  PythonRun(const py::function& fn, const py::tuple& args, const py::dict& kwargs,
            const std::optional<std::vector<int>>& positions, const py::tuple& variables, bool has_aux,
            std::string what)
      : what_(std::move(what)), run_(what_.c_str()), args_(args) {
    py::list traced(args);
    const int n = static_cast<int>(args.size());
    for (int i = 0; i < (positions ? static_cast<int>(positions->size()) : n); ++i) {
      int p = positions ? (*positions)[i] : i;
      if (p < -n || p >= n)
        throw ValueError(cat(what_, ": grad_position ", p, " is out of range for ", n, " positional arguments"));
      if (p < 0) p += n;
      if (std::find(positions_.begin(), positions_.end(), p) != positions_.end())
        throw ValueError(cat(what_, ": grad_position names position ", p, " twice"));
      positions_.push_back(p);
      const bool strict = positions && !is_structure(args[p]);
      traced[p] = map_leaves(args[p], [&](py::handle o) -> py::object {
        const Tensor x = differentiable_leaf(o, strict, what_.c_str());
        return x.defined() ? wrapped(run_.trace(x)) : py::reinterpret_borrow<py::object>(o);
      });
    }
    for (py::handle v : variables) {
      if (!is_tensor(v.ptr()) || !as_py_tensor(v.ptr())->variable)
        throw DTypeError(cat(what_, ": weights must be Parameters, got ", Py_TYPE(v.ptr())->tp_name));
      run_.trace(as_py_tensor(v.ptr())->variable);
    }
    n_variables_ = variables.size();
    const py::object out = fn(*py::tuple(traced), **kwargs);
    // Before the level ends: a parameter among the outputs is read as the function saw it.
    outputs_ = output_leaves(without_aux(out, has_aux, what_.c_str()), what_.c_str());
    value_ = lowered(out, run_);
    output_ = without_aux(value_, has_aux, what_.c_str());
    run_.close();
  }

  // Lets what the function wrote to variables stand, before the run itself ends.
  void commit() { run_.commit(); }

  py::object value() { return std::move(value_); }  // what the function returned; once

  // (gradients of the arguments at the positions, gradients of the variables), both tuples.
  std::pair<py::tuple, py::tuple> pull(py::handle sens, bool consume) {
    const std::vector<Tensor> grads = run_.pull(outputs_, seeds_for(outputs_, output_, sens, what_.c_str()), consume);
    std::size_t next = 0;
    py::tuple inputs(positions_.size());
    for (std::size_t i = 0; i < positions_.size(); ++i) {
      inputs[i] = map_leaves(args_[positions_[i]], [&](py::handle o) -> py::object {
        return is_number_like(o) ? wrapped(grads[next++]) : py::none();
      });
    }
    py::tuple variables(n_variables_);
    for (std::size_t i = 0; i < n_variables_; ++i) variables[i] = wrapped(grads[next++]);
    return {inputs, variables};
  }

 private:
  const std::string what_;
  ReverseRun run_;
  py::tuple args_;
  std::vector<int> positions_;
  std::size_t n_variables_ = 0;
  std::vector<Tensor> outputs_;
  py::object value_, output_;
};

py::tuple gradient(const py::function& fn, const py::tuple& args, const py::dict& kwargs,
                   const std::optional<std::vector<int>>& positions, const py::tuple& variables, const py::object& sens,
                   bool has_aux, const std::string& what) {
  PythonRun run(fn, args, kwargs, positions, variables, has_aux, what);
  auto [inputs, weights] = run.pull(sens, true);
  return py::make_tuple(run.value(), inputs, weights);
}

py::tuple vjp_function(const py::function& fn, const py::tuple& args, const py::dict& kwargs,
                       const py::tuple& variables, bool has_aux) {
  std::vector<int> positions(args.size());
  std::iota(positions.begin(), positions.end(), 0);
  auto run = std::make_shared<PythonRun>(fn, args, kwargs, positions, variables, has_aux, "vjp");
  run->commit();
  py::cpp_function pullback(
      [run](const py::object& sens) {
        auto [inputs, weights] = run->pull(sens, false);
        return py::make_tuple(inputs, weights);
      },
      py::arg("sens"));
  return py::make_tuple(run->value(), pullback);
}

py::tuple jvp_function(const py::function& fn, const py::tuple& args, const py::tuple& tangents, const py::dict& kwargs,
                       bool has_aux) {
  const char* what = "jvp";
  if (args.size() != tangents.size())
    throw ValueError(cat(what, ": got ", tangents.size(), " tangents for ", args.size(), " inputs; give one for each"));
  auto jet = make_ref<Jet>();
  py::object out;
  LevelScope scope(*jet);
  py::list traced;
  for (std::size_t i = 0; i < args.size(); ++i) {
    std::vector<py::handle> along;
    match_leaves(args[i], tangents[i], what, "a tangent", [&](py::handle, py::handle t) { along.push_back(t); });
    std::size_t next = 0;
    traced.append(map_leaves(args[i], [&](py::handle o) -> py::object {
      const py::handle v = along[next++];
      if (v.is_none()) return py::reinterpret_borrow<py::object>(o);
      const Tensor x = differentiable_leaf(o, true, what);
      require_differentiable(x, what);
      return wrapped(jet->trace(settle(x), settle(direction(v, x.aval(), what, "a tangent"))));
    }));
  }
  out = fn(*py::tuple(traced), **kwargs);
  const py::object main = without_aux(out, has_aux, what);
  output_leaves(main, what);
  const py::object derivative = map_leaves(main, [&](py::handle o) -> py::object {
    if (o.is_none()) return py::none();
    const Tensor y = is_tensor(o.ptr()) ? value_of(o.ptr()) : tensor_from(o);
    const Tensor t = jet->tangent(y);
    return wrapped(t.defined() ? t : zeros_like(jet->lower(y)));
  });
  return py::make_tuple(lowered(out, *jet), derivative);
}

// Value of fn and its derivatives along the curves on which its arguments move. `series` has per argument a tuple of
// its derivatives by t, as many as the order, each in the argument's structure or None for zero. Of the results there
// are all orders, or the highest alone.
py::tuple jet_function(const py::function& fn, const py::tuple& args, const py::tuple& series, const py::dict& kwargs,
                       std::size_t order, bool highest, const std::string& name) {
  const char* what = name.c_str();
  TaylorRun run(order);
  py::list traced;
  for (std::size_t i = 0; i < args.size(); ++i) {
    const py::tuple given = series[i];
    std::vector<std::vector<py::handle>> along(order);  // by order, of each leaf
    for (std::size_t k = 0; k < order; ++k) {
      if (py::handle(given[k]).is_none()) continue;
      match_leaves(args[i], given[k], what, "a derivative of an input",
                   [&](py::handle, py::handle d) { along[k].push_back(d); });
    }
    std::size_t leaf = 0;
    traced.append(map_leaves(args[i], [&](py::handle o) -> py::object {
      const std::size_t at = leaf++;
      std::vector<Tensor> derivatives(order);
      Tensor x;
      for (std::size_t k = 0; k < order; ++k) {
        if (along[k].empty() || along[k][at].is_none()) continue;
        if (!x.defined()) {
          x = differentiable_leaf(o, true, what);
          require_differentiable(x, what);
        }
        derivatives[k] = direction(along[k][at], x.aval(), what, "a derivative of an input");
      }
      return x.defined() ? wrapped(run.trace(x, derivatives)) : py::reinterpret_borrow<py::object>(o);
    }));
  }
  const py::object out = fn(*py::tuple(traced), **kwargs);
  output_leaves(out, what);
  py::list derivatives;
  for (std::size_t k = highest ? order : 1; k <= order; ++k)
    derivatives.append(map_leaves(out, [&](py::handle o) -> py::object {
      if (o.is_none()) return py::none();
      return wrapped(run.derivative(is_tensor(o.ptr()) ? value_of(o.ptr()) : tensor_from(o), k));
    }));
  return py::make_tuple(lowered(out, run), derivatives);
}

// (value, derivatives along the directions, sum of second derivatives along them) of fn, a function of one tensor, each
// in the structure of the output.
py::tuple laplacian_function(const py::function& fn, const Tensor& x, const Tensor& directions) {
  py::object out;
  const Function f = [&](const TensorList& in) {
    out = fn(wrapped(in[0]));
    return output_leaves(out, "laplacian");
  };
  const LaplacianResult r = laplacian_at(f, x, directions);
  const auto structured = [&](const TensorList& results) {
    std::size_t next = 0;
    return map_leaves(out,
                      [&](py::handle o) -> py::object { return o.is_none() ? py::none() : wrapped(results[next++]); });
  };
  return py::make_tuple(structured(r.values), structured(r.slopes), structured(r.laplacians));
}

// Derivatives of all outputs by the arguments at the positions: in the structure of the output, each tensor of which
// becomes a tuple with one entry per position (`single`: that entry), in the structure of the argument.
py::tuple jacobian_function(const py::function& fn, const py::tuple& args, const py::dict& kwargs,
                            const std::vector<int>& positions, bool single, const std::string& mode, bool has_aux,
                            const std::string& what) {
  const int n = static_cast<int>(args.size());
  std::vector<int> at;
  std::vector<Tensor> inputs;
  for (int p : positions) {
    if (p < -n || p >= n)
      throw ValueError(cat(what, ": grad_position ", p, " is out of range for ", n, " positional arguments"));
    at.push_back(p < 0 ? p + n : p);
    const bool strict = !is_structure(args[at.back()]);
    visit_leaves(args[at.back()], [&](py::handle o) {
      const Tensor x = differentiable_leaf(o, strict, what.c_str());
      if (!x.defined()) return;
      require_differentiable(x, what.c_str());
      inputs.push_back(x);
    });
  }
  py::object output, aux = py::none();
  const Function f = [&](const TensorList& x) {
    py::list call(args);
    std::size_t next = 0;
    for (int p : at)
      call[p] = map_leaves(args[p], [&](py::handle o) -> py::object {
        return is_number_like(o) ? wrapped(x[next++]) : py::reinterpret_borrow<py::object>(o);
      });
    const py::object out = fn(*py::tuple(call), **kwargs);
    output = without_aux(out, has_aux, what.c_str());
    if (has_aux) aux = out[py::slice(py::int_(1), py::none(), py::none())];
    TensorList leaves = output_leaves(output, what.c_str());
    for (const Tensor& y : leaves)
      if (!is_floating(y.dtype()))
        throw DTypeError(cat(what, ": the function's output is ", y.aval(), ", which has no derivative"));
    return leaves;
  };
  std::vector<int> wanted(inputs.size());
  std::iota(wanted.begin(), wanted.end(), 0);
  const Jacobian j = (mode == "forward"   ? jacobian_forward
                      : mode == "reverse" ? jacobian_reverse
                                          : jacobian)(f, inputs, wanted);
  std::size_t row = 0;
  const py::object result = map_leaves(output, [&](py::handle y) -> py::object {
    if (y.is_none()) return py::none();
    const TensorList& blocks = j[row++];
    std::size_t next = 0;
    py::tuple by_position(at.size());
    for (std::size_t i = 0; i < at.size(); ++i)
      by_position[i] = map_leaves(args[at[i]], [&](py::handle o) -> py::object {
        return is_number_like(o) ? wrapped(blocks[next++]) : py::none();
      });
    return single ? py::object(by_position[0]) : py::object(by_position);
  });
  aux = map_leaves(aux, [](py::handle o) -> py::object {
    if (!is_tensor(o.ptr()) || as_py_tensor(o.ptr())->variable) return py::reinterpret_borrow<py::object>(o);
    return wrapped(settle(value_of(o.ptr())));
  });
  return py::make_tuple(result, aux);
}

}  // namespace

void define_transforms(py::module_& m) {
  using py::arg;
  m.def(
      "gradient", gradient, arg("fn"), arg("args"), arg("kwargs"), arg("positions"), arg("variables"), arg("sens"),
      arg("has_aux"), arg("what") = "grad",
      "gradient(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], positions: Sequence[int] | "
      "None, "
      "variables: tuple[Tensor, ...], sens: Any, has_aux: bool, what: str = 'grad') -> tuple[Any, tuple[Any, ...], "
      "tuple[Tensor, ...]]\n\n"
      "Value of fn and the gradients of its summed outputs, or of their product with `sens`. Without positions: by all "
      "arguments that are numbers. `what` begins the messages of errors.");
  m.def("vjp", vjp_function, arg("fn"), arg("args"), arg("kwargs"), arg("variables"), arg("has_aux"),
        "vjp(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], variables: tuple[Tensor, ...], "
        "has_aux: bool) -> tuple[Any, Callable[[Any], tuple[tuple[Any, ...], tuple[Tensor, ...]]]]\n\n"
        "Value of fn and its pullback, which may be called many times.");
  m.def("jvp", jvp_function, arg("fn"), arg("args"), arg("tangents"), arg("kwargs"), arg("has_aux"),
        "jvp(fn: Callable[..., Any], args: tuple[Any, ...], tangents: tuple[Any, ...], kwargs: dict[str, Any], "
        "has_aux: bool) -> tuple[Any, Any]\n\nValue of fn and its derivative along the tangents.");
  m.def("jet", jet_function, arg("fn"), arg("args"), arg("series"), arg("kwargs"), arg("order"), arg("highest"),
        arg("what"),
        "jet(fn: Callable[..., Any], args: tuple[Any, ...], series: tuple[tuple[Any, ...], ...], kwargs: dict[str, "
        "Any], order: int, highest: bool, what: str) -> tuple[Any, list[Any]]\n\nValue of fn and its derivatives "
        "along curves, of all orders or the highest alone.");
  m.def(
      "laplacian",
      [](const py::function& fn, py::handle x, py::handle directions) {
        return laplacian_function(fn, tensor_from(x), tensor_from(directions));
      },
      arg("fn"), arg("x"), arg("directions"),
      "laplacian(fn: Callable[[Tensor], Any], x: Tensor, directions: Tensor) -> tuple[Any, Any, Any]\n\nValue of fn, "
      "its derivatives along directions, and the sum of its second derivatives along them.");
  m.def("jacobian", jacobian_function, arg("fn"), arg("args"), arg("kwargs"), arg("positions"), arg("single"),
        arg("mode"), arg("has_aux"), arg("what"),
        "jacobian(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], positions: Sequence[int], "
        "single: bool, mode: str, has_aux: bool, what: str) -> tuple[Any, Any]\n\n"
        "Jacobian of fn, and what it returns beside the output. `mode` is 'forward', 'reverse' or '' for the cheaper.");
}

}  // namespace evolute::python
