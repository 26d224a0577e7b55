// The Python type of tensors: a hand-written CPython type, so that operators cost no dispatch beyond a slot.
#pragma once

#include <pybind11/pybind11.h>

#include "core/array.h"
#include "evolute/tensor.h"
#include "ops/shape_ops.h"

namespace py = pybind11;

namespace evolute::python {

// What a Python tensor is. A variable's value lives in the variable; `tensor` is then unused.
struct PyTensor {
  PyObject_HEAD Tensor tensor;
  Ref<Variable> variable;
  PyObject* weakrefs;
};

extern PyTypeObject* tensor_type;
void define_tensor_type(py::module_& m);

// Grows when a tensor that recorded functions may hold as a constant is changed in place; guarded by the GIL.
extern std::uint64_t mutation_epoch;

inline bool is_tensor(PyObject* o) { return Py_TYPE(o) == tensor_type || PyType_IsSubtype(Py_TYPE(o), tensor_type); }
inline PyTensor* as_py_tensor(PyObject* o) { return reinterpret_cast<PyTensor*>(o); }
// The current value; `o` must be a tensor.
inline Tensor value_of(PyObject* o) {
  PyTensor* p = as_py_tensor(o);
  return p->variable ? p->variable->get() : p->tensor;
}
PyObject* wrap(Tensor t);  // new reference
inline py::object wrapped(Tensor t) { return py::reinterpret_steal<py::object>(wrap(std::move(t))); }

// convert.cpp -----------------------------------------------------------------------------------------------------
// From tensors, NumPy arrays and scalars, nested lists, Python numbers. `copy` false shares NumPy's memory.
Tensor tensor_from(py::handle o, std::optional<DType> dtype = {}, bool copy = true);
// Where new tensors go: `device_target` of set_context; guarded by the GIL.
extern Device default_device;
inline Tensor placed(const Tensor& t) { return placed(t, default_device); }
Device as_device(std::string_view name);
// Whether tensor_from would take it, other than lists.
bool is_convertible(PyObject* o);
// A Python number, weak beside `like`; false if `o` is none.
bool weak_scalar(PyObject* o, DType like, Tensor& out);
py::object to_numpy(const Tensor& t, py::handle owner = {});  // read-only, without a copy
DType as_dtype(py::handle o);
py::object numpy_dtype(DType t);
void define_conversions(py::module_& m);

// index.cpp -------------------------------------------------------------------------------------------------------
Tensor get_item(const Tensor& x, PyObject* key);
Tensor set_item(const Tensor& x, PyObject* key, const Tensor& value, bool add);

// Turns the C++ exception being handled into a Python one; for slots, which pybind11 does not guard.
void set_python_error() noexcept;

// Runs a slot's body; C++ exceptions become Python ones.
template <class F>
auto guarded(F&& f) noexcept -> decltype(f()) {
  try {
    return f();
  } catch (...) {
    set_python_error();
    if constexpr (std::is_pointer_v<decltype(f())>)
      return nullptr;
    else
      return -1;
  }
}

}  // namespace evolute::python

namespace pybind11::detail {

template <>
struct type_caster<evolute::Tensor> {
  PYBIND11_TYPE_CASTER(evolute::Tensor, const_name("evolute._evolute.Tensor"));
  bool load(handle src, bool convert) {
    if (evolute::python::is_tensor(src.ptr())) {
      value = evolute::python::value_of(src.ptr());
      return true;
    }
    if (!convert || src.is_none()) return false;
    if (!evolute::python::is_convertible(src.ptr()) && !PyList_Check(src.ptr())) return false;
    value = evolute::python::tensor_from(src);
    return true;
  }
  static handle cast(const evolute::Tensor& t, return_value_policy, handle) { return evolute::python::wrap(t); }
};

}  // namespace pybind11::detail
