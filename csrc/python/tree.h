// Nested structures of tensors: tuples (also named ones), lists and dicts, with anything else as leaves.
#pragma once

#include <pybind11/pybind11.h>

#include "python/py_tensor.h"

namespace evolute::python {

inline bool is_named_tuple(PyObject* o) { return !PyTuple_CheckExact(o) && PyTuple_Check(o) && PyObject_HasAttrString(o, "_fields"); }

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

// The same structure with every leaf replaced by `f(leaf)`, a py::object; leaves are visited in order.
template <class F>
py::object map_leaves(py::handle o, F&& f) {
  if (PyTuple_Check(o.ptr())) {
    const Py_ssize_t n = PyTuple_GET_SIZE(o.ptr());
    py::tuple out(n);
    for (Py_ssize_t i = 0; i < n; ++i) PyTuple_SET_ITEM(out.ptr(), i, map_leaves(PyTuple_GET_ITEM(o.ptr(), i), f).release().ptr());
    if (is_named_tuple(o.ptr())) return py::type::of(o)(*out);
    return out;
  }
  if (PyList_CheckExact(o.ptr())) {
    const Py_ssize_t n = PyList_GET_SIZE(o.ptr());
    py::list out(n);
    for (Py_ssize_t i = 0; i < n; ++i) PyList_SET_ITEM(out.ptr(), i, map_leaves(PyList_GET_ITEM(o.ptr(), i), f).release().ptr());
    return out;
  }
  if (PyDict_Check(o.ptr())) {
    py::dict out;
    PyObject *key, *value;
    for (Py_ssize_t at = 0; PyDict_Next(o.ptr(), &at, &key, &value);) out[py::handle(key)] = map_leaves(value, f);
    return out;
  }
  return f(o);
}

}  // namespace evolute::python
