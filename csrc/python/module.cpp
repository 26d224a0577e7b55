// The extension module: errors, the op table, and the assembly of the parts.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include "core/buffer.h"
#include "core/interrupt.h"
#include "evolute/ops.h"
#include "evolute/precision.h"
#include "evolute/threads.h"
#include "ops/elementwise.h"
#include "python/bindings.h"
#include "python/dlpack.h"

namespace evolute::python {

namespace {

// Exception classes, created once and kept for the life of the process.
PyObject *shape_error, *dtype_error, *device_error, *trace_error, *unknown_value_error;

PyObject* new_error(py::module_& m, const char* name, const char* doc, py::handle base) {
  const std::string full = std::string("evolute.") + name;
  PyObject* e = PyErr_NewExceptionWithDoc(full.c_str(), doc, base.ptr(), nullptr);
  if (!e) throw py::error_already_set();
  m.attr(name) = py::reinterpret_borrow<py::object>(e);
  return e;
}

bool set_error(const std::exception_ptr& p) {
  try {
    std::rethrow_exception(p);
  } catch (const ShapeError& e) {
    PyErr_SetString(shape_error, e.what());
  } catch (const DTypeError& e) {
    PyErr_SetString(dtype_error, e.what());
  } catch (const DeviceError& e) {
    PyErr_SetString(device_error, e.what());
  } catch (const UnknownValueError& e) {
    PyErr_SetString(unknown_value_error, e.what());
  } catch (const TraceError& e) {
    PyErr_SetString(trace_error, e.what());
  } catch (const IndexError& e) {
    PyErr_SetString(PyExc_IndexError, e.what());
  } catch (const Error& e) {
    PyErr_SetString(PyExc_ValueError, e.what());
  } catch (const std::bad_alloc&) {
    PyErr_SetString(PyExc_MemoryError, "evolute: out of memory");
  } catch (py::error_already_set& e) {
    e.restore();
  } catch (const py::builtin_exception& e) {
    e.set_error();
  } catch (...) {
    return false;
  }
  return true;
}

}  // namespace

void set_python_error() noexcept {
  if (set_error(std::current_exception())) return;
  try {
    throw;
  } catch (const std::exception& e) {
    PyErr_SetString(PyExc_RuntimeError, e.what());
  } catch (...) {
    PyErr_SetString(PyExc_RuntimeError, "evolute: unknown C++ exception");
  }
}

void define_errors(py::module_& m) {
  shape_error = new_error(m, "ShapeError", "Shapes that do not fit.", PyExc_ValueError);
  dtype_error = new_error(m, "DTypeError", "Element types that do not fit.", PyExc_TypeError);
  device_error = new_error(m, "DeviceError", "A device that is missing or unfit.", PyExc_RuntimeError);
  trace_error = new_error(m, "TraceError", "A traced value used where it has no meaning.", PyExc_RuntimeError);
  unknown_value_error =
      new_error(m, "UnknownValueError", "A value asked for while a function is being recorded.", trace_error);
  py::register_local_exception_translator([](std::exception_ptr p) {
    if (p && !set_error(p)) std::rethrow_exception(p);
  });
}

void define_exports(Methods& def) {
  using py::arg;
  def.method_returning("asnumpy", "", "NDArray[Any]",
                       "The values as a read-only NumPy array that shares the tensor's memory.",
                       [](const Tensor& t) { return to_numpy(t); });
  def.method_returning("item", "", "float | int | bool", "The single element as a Python number.", [](const Tensor& t) {
    if (t.size() != 1) throw ShapeError(cat("item: needs a tensor with one element, got shape ", t.shape()));
    return to_numpy(t).attr("item")();
  });
  def.method_returning("tolist", "", "Any", "The values as nested lists of Python numbers.",
                       [](const Tensor& t) { return to_numpy(t).attr("tolist")(); });
  def.method_returning(
      "__array__", "dtype: Any = None, copy: bool | None = None", "NDArray[Any]", "The values as a NumPy array.",
      [](const Tensor& t, const py::object& dtype, const py::object& copy) {
        py::object a = to_numpy(t);
        if (!dtype.is_none()) a = a.attr("astype")(dtype, py::arg("copy") = false);
        return copy.is_none() || !copy.cast<bool>() ? a : py::object(a.attr("copy")());
      },
      arg("dtype") = py::none(), arg("copy") = py::none());
  def.method_returning(
      "__dlpack__",
      "*, stream: Any = None, max_version: tuple[int, int] | None = None, dl_device: Any = None, copy: bool | None = "
      "None",
      "Any", "The tensor as a DLPack capsule that shares its memory.",
      [](const Tensor& t, std::optional<std::intptr_t> stream, const std::optional<std::pair<int, int>>& version,
         const std::optional<std::pair<int, int>>& device, const std::optional<bool>& copy) {
        const DLDevice here = dl_device(t);
        const bool versioned = version && version->first >= 1;
        if (device && *device == std::pair(1, 0) && here.type != 1) {  // to the host, as consumers may ask
          if (copy && !*copy) throw py::buffer_error("__dlpack__: values on a GPU come to the host by a copy only");
          return to_dlpack(to_device(t, Device{}), versioned, false, -1);
        }
        if (device && *device != std::pair(here.type, here.id))
          throw py::buffer_error(cat("__dlpack__: this tensor is on DLPack device (", here.type, ", ", here.id,
                                     ") and cannot be exported to another"));
        if (here.type != 1 && stream && (*stream < -1 || *stream == 0))
          throw ValueError(cat("__dlpack__: DLPack knows no stream ", *stream,
                               "; give a handle, 1 for the legacy default stream, 2 for the default stream of each "
                               "thread, or -1 for no order"));
        return to_dlpack(t, versioned, copy.value_or(false), stream.value_or(1));
      },
      py::kw_only(), arg("stream") = py::none(), arg("max_version") = py::none(), arg("dl_device") = py::none(),
      arg("copy") = py::none());
  def.method_returning("__dlpack_device__", "", "tuple[int, int]", "DLPack device type and index.",
                       [](const Tensor& t) { return py::make_tuple(dl_device(t).type, dl_device(t).id); });
  def.method_returning(
      "__format__", "spec: str", "str", "The text of the tensor; a single element takes the formats of its number.",
      [](const py::object& self, const py::str& spec) {
        if (py::len(spec) == 0) return py::str(self);
        return py::str(py::module_::import("builtins").attr("format")(self.attr("item")(), spec));
      },
      arg("spec"));
  def.method_returning("__reduce__", "", "Any", "Support for pickle and copy.", [](const py::object& self) {
    return py::make_tuple(py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(tensor_type)),
                          py::make_tuple(py::array(to_numpy(value_of(self.ptr())).attr("copy")())));
  });
  // What a parameter is made of: a tensor object becomes a slot whose value can be replaced.
  def.method_returning(
      "_bind_variable", "name: str", "None", "Turns this object into a variable.",
      [](const py::object& self, const std::string& name) {
        PyTensor* p = as_py_tensor(self.ptr());
        if (p->variable) throw ValueError("this tensor is a variable already");
        p->variable = make_ref<Variable>(p->tensor, name);
      },
      arg("name"));
  def.method_returning(
      "_rename_variable", "name: str", "None", "Renames the variable.",
      [](const py::object& self, const std::string& name) {
        PyTensor* p = as_py_tensor(self.ptr());
        if (p->variable) p->variable->rename(name);
      },
      arg("name"));
  def.method_returning(
      "_set_variable", "value: TensorLike", "None", "Replaces the variable's value.",
      [](const py::object& self, const Tensor& value) {
        PyTensor* p = as_py_tensor(self.ptr());
        if (!p->variable) throw ValueError("this tensor is not a variable");
        p->variable->set(value);
      },
      arg("value"));
  def.method_returning("_value", "", "Tensor", "The current value as a plain tensor.",
                       [](const py::object& self) { return value_of(self.ptr()); });
}

void define_table(py::module_& m) {
  m.def(
      "elementwise_classes",
      [] {
        py::list rows;
        for (const ElementwiseFunction& f : elementwise_functions())
          rows.append(py::make_tuple(std::string(f.class_name), std::string(f.name), f.arity));
        return rows;
      },
      "elementwise_classes() -> list[tuple[str, str, int]]\n\nClass name, function name and arity of each elementwise "
      "function.");
  m.def(
      "op_table",
      [] {
        py::list rows;
        for (const Op* op : op_table()) {
          py::dict row;
          row["name"] = op->name;
          row["group"] = std::string(op->doc.group);
          row["summary"] = std::string(op->doc.summary);
          row["formula"] = std::string(op->doc.formula);
          row["reverse"] = op->vjp != nullptr;
          row["forward"] = op->jvp != nullptr;
          row["taylor"] = op->jvp != nullptr;  // by a rule of its own, or by the forward rule
          row["batching"] = op->batch != nullptr;
          for (const ElementwiseFunction& f : elementwise_functions())
            if (f.op == op) {
              constexpr const char* kinds[] = {"real", "number", "logical"};
              row["class_name"] = std::string(f.class_name);
              row["arity"] = f.arity;
              row["operands"] = kinds[static_cast<int>(f.operands)];
              row["domain"] = py::make_tuple(op->doc.lo, op->doc.hi);
            }
          rows.append(row);
        }
        return rows;
      },
      "op_table() -> list[dict[str, Any]]\n\nEvery primitive, with what is known of it.");
  m.def(
      "memory_stats",
      [] {
        const AllocatorStats s = allocator_stats();
        py::dict d;
        d["live_bytes"] = s.live_bytes;
        d["cached_bytes"] = s.cached_bytes;
        d["peak_bytes"] = s.peak_bytes;
        return d;
      },
      "memory_stats() -> dict[str, int]\n\nBytes in use, cached for reuse, and in use at most since the last reset.");
  m.def("num_threads", num_threads,
        "num_threads() -> int\n\nReturn how many threads a computation may use, the caller's included.\n\n"
        "At first it is what the environment variable `EVOLUTE_NUM_THREADS` says, or else the number of CPUs the "
        "process\nmay use.\n\nRaises\n------\nValueError\n    If that variable is not a positive integer.");
  m.def(
      "set_matmul_allow_tf32", set_matmul_allow_tf32, py::arg("allow"),
      "set_matmul_allow_tf32(allow: bool) -> None\n\nLet products of float32 matrices on a GPU round their operands.");
  m.def("set_num_threads", set_num_threads, py::arg("n"),
        "set_num_threads(n: int) -> None\n\nLet computations use up to `n` threads, the caller's included.\n\n"
        "Results do not depend on it. Small work stays on the caller's thread anyway, and so does work in a second\n"
        "thread while the first computes.\n\nParameters\n----------\nn : int\n    1 keeps all work on the caller's "
        "thread.\n\nRaises\n------\nValueError\n    Unless `n` is positive.");
  m.def("reset_peak_memory", reset_peak_bytes, "reset_peak_memory() -> None\n\nStarts a new count of peak_bytes.");
  m.def("release_cached_memory", release_cached_memory,
        "release_cached_memory() -> None\n\nReturns cached blocks to the system.");
}

}  // namespace evolute::python

PYBIND11_MODULE(_evolute, m) {
  using namespace evolute::python;
  py::options options;
  options.disable_function_signatures();
  m.doc() = "C++ core of evolute.";
  define_errors(m);
  define_conversions(m);
  define_tensor_type(m);
  define_ops(m);
  define_table(m);
  define_transforms(m);
  define_batch(m);
  define_compiled(m);
  define_control(m);
  define_custom(m);
  define_sparsity(m);
  // Long loops run without the interpreter lock, and would not hear of Ctrl-C.
  evolute::interrupt_check = [] {
    py::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
  };
}
