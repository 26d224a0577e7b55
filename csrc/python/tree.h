// Nested structures of tensors: tuples (also named ones), lists and dicts, with anything else as leaves.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include "evolute/error.h"
#include "python/py_tensor.h"

namespace evolute::python {

// Whether a leaf is a tensor or an array of numbers. Other leaves are static to transforms.
inline bool is_array(py::handle o) {
  return is_tensor(o.ptr()) || py::isinstance<py::buffer>(o) || py::hasattr(o, "__array__");
}

inline bool is_named_tuple(PyObject* o) {
  return !PyTuple_CheckExact(o) && PyTuple_Check(o) && PyObject_HasAttrString(o, "_fields");
}

// Calls `f(leaf)` on every leaf, in order.
template <class F>
void visit_leaves(py::handle o, F&& f) {
  if (PyTuple_Check(o.ptr()) || PyList_CheckExact(o.ptr())) {
    const Py_ssize_t n = PySequence_Fast_GET_SIZE(o.ptr());
    for (Py_ssize_t i = 0; i < n; ++i) visit_leaves(PySequence_Fast_GET_ITEM(o.ptr(), i), f);
  } else if (PyDict_Check(o.ptr())) {
    PyObject *key, *value;
    for (Py_ssize_t at = 0; PyDict_Next(o.ptr(), &at, &key, &value);) visit_leaves(value, f);
  } else {
    f(o);
  }
}

// The same structure with every leaf replaced by `f(leaf)`, a py::object; leaves are visited in order. A tuple none of
// whose leaves changes stays itself.
template <class F>
py::object map_leaves(py::handle o, F&& f) {
  if (PyTuple_Check(o.ptr())) {
    const Py_ssize_t n = PyTuple_GET_SIZE(o.ptr());
    py::tuple out(n);
    bool changed = false;
    for (Py_ssize_t i = 0; i < n; ++i) {
      PyObject* item = map_leaves(PyTuple_GET_ITEM(o.ptr(), i), f).release().ptr();
      PyTuple_SET_ITEM(out.ptr(), i, item);
      changed = changed || item != PyTuple_GET_ITEM(o.ptr(), i);
    }
    if (!changed) return py::reinterpret_borrow<py::object>(o);
    if (is_named_tuple(o.ptr())) return py::type::of(o).attr("_make")(out);
    return out;
  }
  if (PyList_CheckExact(o.ptr())) {
    const Py_ssize_t n = PyList_GET_SIZE(o.ptr());
    py::list out(n);
    for (Py_ssize_t i = 0; i < n; ++i)
      PyList_SET_ITEM(out.ptr(), i, map_leaves(PyList_GET_ITEM(o.ptr(), i), f).release().ptr());
    return out;
  }
  if (PyDict_Check(o.ptr())) {
    // A copy keeps what subclasses add: the factory of a defaultdict, the kind of an OrderedDict.
    py::dict out;
    if (!PyDict_CheckExact(o.ptr())) out = py::module_::import("copy").attr("copy")(o);
    PyObject *key, *value;
    for (Py_ssize_t at = 0; PyDict_Next(o.ptr(), &at, &key, &value);) out[py::handle(key)] = map_leaves(value, f);
    return out;
  }
  return f(o);
}

// Calls `f(leaf, partner)` on every leaf of `o` in order, with what stands in the same place of `with`; None there
// stands for None at every leaf below, and with `prefix` so does an integer. Throws ValueError where the structures
// differ; `what` and `role` say what `with` is.
template <class F>
void match_leaves(py::handle o, py::handle with, const char* what, const char* role, F&& f, bool prefix = false) {
  const auto differ = [&](const std::string& needs, const std::string& got) {
    throw ValueError(
        cat(what, ": ", role, " must have the structure of what it belongs to: needs ", needs, ", got ", got));
  };
  const auto kind = [](py::handle h) {
    return std::string(is_tensor(h.ptr()) ? "a tensor" : Py_TYPE(h.ptr())->tp_name);
  };
  const bool sequence = PyTuple_Check(o.ptr()) || PyList_CheckExact(o.ptr());
  if (!sequence && !PyDict_Check(o.ptr())) return f(o, with);
  if (with.is_none() || (prefix && PyLong_Check(with.ptr())))
    return visit_leaves(o, [&](py::handle leaf) { f(leaf, with); });
  if (sequence) {
    const Py_ssize_t n = PySequence_Fast_GET_SIZE(o.ptr());
    if (!PyTuple_Check(with.ptr()) && !PyList_CheckExact(with.ptr())) differ(cat("a tuple of ", n), kind(with));
    const Py_ssize_t m = PySequence_Fast_GET_SIZE(with.ptr());
    if (m != n) differ(cat("a tuple of ", n), cat("one of ", m));
    for (Py_ssize_t i = 0; i < n; ++i)
      match_leaves(PySequence_Fast_GET_ITEM(o.ptr(), i), PySequence_Fast_GET_ITEM(with.ptr(), i), what, role, f,
                   prefix);
    return;
  }
  if (!PyDict_Check(with.ptr())) differ("a dict", kind(with));
  if (PyDict_GET_SIZE(with.ptr()) != PyDict_GET_SIZE(o.ptr()))
    differ(cat("a dict of ", PyDict_GET_SIZE(o.ptr())), cat("one of ", PyDict_GET_SIZE(with.ptr())));
  PyObject *key, *value;
  for (Py_ssize_t at = 0; PyDict_Next(o.ptr(), &at, &key, &value);) {
    PyObject* partner = PyDict_GetItemWithError(with.ptr(), key);
    if (!partner) {
      PyErr_Clear();
      differ(cat("the key ", std::string(py::repr(key))), "a dict without it");
    }
    match_leaves(value, partner, what, role, f, prefix);
  }
}

}  // namespace evolute::python
