// Tensors to and from Python numbers, lists, NumPy arrays and DLPack.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cmath>

#include "core/backend.h"
#include "evolute/ops.h"
#include "python/dlpack.h"
#include "python/py_tensor.h"

namespace evolute::python {

namespace {

constexpr const char* kNumpyNames[kNumDTypes] = {"bool", "int32", "int64", "float32", "float64"};

std::optional<DType> from_numpy_dtype(const py::dtype& d) {
  if (d.byteorder() == '>') return {};
  switch (d.kind()) {
    case 'b': return DType::Bool;
    case 'i':
      return d.itemsize() == 4   ? std::optional(DType::Int32)
             : d.itemsize() == 8 ? std::optional(DType::Int64)
                                 : std::nullopt;
    case 'f':
      return d.itemsize() == 4   ? std::optional(DType::Float32)
             : d.itemsize() == 8 ? std::optional(DType::Float64)
                                 : std::nullopt;
    default: return {};
  }
}

// Drops a Python reference from any thread; late in interpreter shutdown it is left alone.
std::function<void()> dropping(py::object o) {
  return [p = o.release().ptr()] {
    if (!Py_IsInitialized()) return;
    py::gil_scoped_acquire gil;
    Py_DECREF(p);
  };
}

Tensor from_numpy(const py::array& a, bool copy) {
  const auto dtype = from_numpy_dtype(a.dtype());
  if (!dtype && a.dtype().byteorder() == '>') {
    const py::object native = a.dtype().attr("newbyteorder")("=");
    if (!copy)
      throw DTypeError(cat("from_numpy: cannot share the memory of an array of the other byte order (",
                           std::string(py::str(a.dtype())), "); use Tensor(array), which copies"));
    if (from_numpy_dtype(native)) return from_numpy(py::array(a.attr("astype")(native)), false);
  }
  if (!dtype)
    throw DTypeError(cat("Tensor: NumPy dtype ", std::string(py::str(a.dtype())),
                         " is not supported; use bool, int32, int64, float32 or float64 (a.astype(...))"));
  if (a.ndim() > Dims::kMaxDims)
    throw ShapeError(cat("Tensor: arrays of at most ", Dims::kMaxDims, " axes are supported, got ", a.ndim()));
  const auto item = static_cast<std::int64_t>(size_of(*dtype));
  Shape shape;
  Strides strides;
  bool whole_elements = true;
  for (int i = 0; i < a.ndim(); ++i) {
    shape.push_back(a.shape(i));
    strides.push_back(a.strides(i) / item);
    whole_elements = whole_elements && a.strides(i) % item == 0;
  }
  const bool aligned = reinterpret_cast<std::uintptr_t>(a.data()) % static_cast<std::uintptr_t>(item) == 0;
  if (!whole_elements || !aligned) return from_numpy(py::array(a.attr("copy")()), false);
  const Aval aval{shape, *dtype};
  auto* data = static_cast<std::byte*>(const_cast<void*>(a.data()));
  auto buffer = make_ref<Buffer>(data, static_cast<std::size_t>(a.nbytes()), dropping(a));
  auto array = make_ref<Array>(aval, buffer, data, strides);
  if (!copy) return to_tensor(array);
  Ref<Array> own = empty(aval);
  backend(DeviceType::CPU).copy(*array, *own);
  return to_tensor(own);
}

bool holds_tensor(PyObject* o) {
  if (is_tensor(o)) return true;
  if (!PyList_Check(o) && !PyTuple_Check(o)) return false;
  for (py::handle item : py::reinterpret_borrow<py::sequence>(o))
    if (holds_tensor(item.ptr())) return true;
  return false;
}

Tensor from_sequence(py::handle o) {
  if (holds_tensor(o.ptr())) {
    // Through `stack`, so that derivatives flow to the elements.
    std::vector<Tensor> parts;
    DType t = DType::Bool;
    for (py::handle item : py::reinterpret_borrow<py::sequence>(o)) {
      parts.push_back(tensor_from(item));
      t = promote(t, parts.back().dtype());
    }
    for (Tensor& p : parts) p = p.dtype() == t ? p : cast(p, t);
    return stack(parts, 0);
  }
  py::array a;
  try {
    a = py::array(py::module_::import("numpy").attr("asarray")(o));
  } catch (py::error_already_set& e) {
    throw ShapeError(cat("Tensor: cannot make an array of this sequence: ", e.what()));
  }
  // Python floats are weak: a list of them becomes float32. An empty list counts as one of floats.
  bool python_floats = a.dtype().kind() == 'f';
  if (python_floats) {
    py::object item = py::reinterpret_borrow<py::object>(o);
    while (PySequence_Check(item.ptr()) && !py::isinstance<py::array>(item) && PySequence_Size(item.ptr()) > 0)
      item = py::reinterpret_steal<py::object>(PySequence_GetItem(item.ptr(), 0));
    python_floats = !py::hasattr(item, "dtype");
  }
  const Tensor t = from_numpy(a, false);
  return python_floats ? cast(t, DType::Float32) : t;
}

}  // namespace

namespace {
bool is_numpy_scalar(PyObject* o) {
  static PyObject* generic = py::object(py::module_::import("numpy").attr("generic")).release().ptr();
  return PyObject_IsInstance(o, generic) == 1;
}
}  // namespace

bool is_convertible(PyObject* o) {
  return PyFloat_Check(o) || PyLong_Check(o) || py::isinstance<py::array>(o) || is_numpy_scalar(o);
}

bool weak_scalar(PyObject* o, DType like, Tensor& out) {
  if (PyFloat_Check(o)) {
    out = scalar(PyFloat_AS_DOUBLE(o), promote_weak(like, DType::Float64));
    return true;
  }
  if (PyBool_Check(o)) {
    out = scalar(o == Py_True, DType::Bool);
    return true;
  }
  if (!PyLong_Check(o)) return false;
  const DType t = promote_weak(like, DType::Int64);
  if (is_floating(t)) {
    const double v = PyLong_AsDouble(o);
    if (v == -1 && PyErr_Occurred()) throw py::error_already_set();
    out = scalar(v, t);
    return true;
  }
  int overflow = 0;
  const long long v = PyLong_AsLongLongAndOverflow(o, &overflow);
  if (overflow || (t == DType::Int32 && (v > INT32_MAX || v < INT32_MIN)))
    throw ValueError(cat("the integer ", std::string(py::str(o)), " does not fit ", name_of(t)));
  Ref<Array> a = empty({{}, t});
  if (t == DType::Int32)
    *a->data<std::int32_t>() = static_cast<std::int32_t>(v);
  else
    *a->data<std::int64_t>() = v;
  out = to_tensor(a);
  return true;
}

Device default_device;

Device as_device(std::string_view name) {
  if (name == "CPU" || name == "cpu") return {};
  if (name == "GPU" || name == "gpu" || name == "GPU:0" || name == "cuda" || name == "cuda:0")
    return {DeviceType::CUDA, 0};
  throw ValueError(cat("device: got '", name, "'; there are 'CPU' and 'GPU'"));
}

namespace {
Tensor made_from(py::handle o, std::optional<DType> dtype, bool copy);
}

Tensor tensor_from(py::handle o, std::optional<DType> dtype, bool copy) {
  if (is_tensor(o.ptr())) {
    const Tensor t = value_of(o.ptr());
    return dtype && *dtype != t.dtype() ? cast(t, *dtype) : t;
  }
  return placed(made_from(o, dtype, copy));
}

namespace {

Tensor made_from(py::handle o, std::optional<DType> dtype, bool copy) {
  Tensor t;
  if (is_tensor(o.ptr())) {
    t = value_of(o.ptr());
  } else if (PyFloat_Check(o.ptr()) && !py::hasattr(o, "dtype")) {
    return scalar(PyFloat_AS_DOUBLE(o.ptr()), dtype.value_or(DType::Float32));
  } else if (PyLong_Check(o.ptr())) {
    weak_scalar(o.ptr(), DType::Bool, t);
  } else if (py::isinstance<py::array>(o)) {
    t = from_numpy(py::reinterpret_borrow<py::array>(o), copy);
  } else if (PyList_Check(o.ptr()) || PyTuple_Check(o.ptr())) {
    if (dtype && !holds_tensor(o.ptr())) {
      // Straight to the wanted type, so that float64 and large integers keep their digits.
      py::object a = py::module_::import("numpy").attr("asarray")(o);
      return tensor_from(a.attr("astype")(numpy_dtype(*dtype)), dtype, false);
    }
    t = from_sequence(o);
  } else if (py::hasattr(o, "__array__") || PyObject_CheckBuffer(o.ptr())) {
    t = from_numpy(py::array(py::module_::import("numpy").attr("asarray")(o)), copy);
  } else {
    throw DTypeError(cat("Tensor: cannot make a tensor of a ", Py_TYPE(o.ptr())->tp_name,
                         "; give a number, a list, a NumPy array or a tensor"));
  }
  return dtype && *dtype != t.dtype() ? cast(t, *dtype) : t;
}

}  // namespace

py::object to_numpy(const Tensor& t, py::handle) {
  const Ref<Array> a = to_host(t.array());
  std::vector<py::ssize_t> shape(a->shape().begin(), a->shape().end()), strides;
  for (auto s : a->strides()) strides.push_back(s * static_cast<py::ssize_t>(size_of(a->dtype())));
  py::capsule keep(new Ref<Array>(a), [](void* p) { delete static_cast<Ref<Array>*>(p); });
  py::array out(py::dtype(kNumpyNames[static_cast<int>(a->dtype())]), shape, strides, a->bytes(), keep);
  out.attr("setflags")(py::arg("write") = false);
  return out;
}

DType as_dtype(py::handle o) {
  if (py::isinstance<DType>(o)) return o.cast<DType>();
  if (o.ptr() == reinterpret_cast<PyObject*>(&PyFloat_Type)) return DType::Float32;
  if (o.ptr() == reinterpret_cast<PyObject*>(&PyBool_Type)) return DType::Bool;
  if (o.ptr() == reinterpret_cast<PyObject*>(&PyLong_Type)) return DType::Int64;
  try {
    if (auto t = from_numpy_dtype(py::dtype::from_args(py::reinterpret_borrow<py::object>(o)))) return *t;
  } catch (py::error_already_set&) {
    // Not a dtype to NumPy either: the message below says what is.
  }
  throw DTypeError(
      cat("dtype: ", std::string(py::repr(o)), " is not a dtype; use bool_, int32, int64, float32 or float64"));
}

py::object numpy_dtype(DType t) { return py::dtype(kNumpyNames[static_cast<int>(t)]); }

void define_conversions(py::module_& m) {
  py::class_<DType> dtype(m, "DType", "Element type of a tensor: bool_, int32, int64, float32 or float64.");
  dtype.def("__repr__", [](DType t) { return std::string(name_of(t)); })
      .def(
          "__eq__", [](DType a, py::object b) { return py::isinstance<DType>(b) && b.cast<DType>() == a; },
          "__eq__(other: object, /) -> bool\n\nWhether both are the same element type.")
      .def(
          "__hash__", [](DType t) { return static_cast<int>(t) + 1; }, "__hash__() -> int")
      .def(
          "__reduce__",
          [](DType t) {
            return py::make_tuple(py::module_::import("evolute._evolute").attr("as_dtype"),
                                  py::make_tuple(kNumpyNames[static_cast<int>(t)]));
          },
          "__reduce__() -> Any\n\nSupport for pickle and copy.")
      .def_property_readonly(
          "itemsize", [](DType t) { return size_of(t); }, "itemsize: int\n\nBytes per element.")
      .def_property_readonly(
          "is_floating", [](DType t) { return is_floating(t); },
          "is_floating: bool\n\nWhether it is float32 or float64.")
      .def_property_readonly("numpy", numpy_dtype, "numpy: np.dtype[Any]\n\nThe same element type in NumPy.");
  for (DType t : {bool_, int32, int64, float32, float64})
    m.attr(t == bool_ ? "bool_" : kNumpyNames[static_cast<int>(t)]) = py::cast(t);
  m.def(
      "set_default_device",
      [](const std::string& name) {
        const Device device = as_device(name);
        backend(device.type);  // throws if it is not there
        default_device = device;
      },
      py::arg("name"),
      "set_default_device(name: str) -> None\n\nWhere new tensors go. Throws DeviceError if the device is missing.");
  m.def(
      "synchronize",
      [] {
        if (default_device.type == DeviceType::CPU) return;
        py::gil_scoped_release nogil;
        backend(default_device.type).synchronize();
      },
      "synchronize() -> None\n\nWaits for the work of this thread on the default device, and raises what went wrong.");
  m.def("as_dtype", as_dtype, py::arg("dtype"),
        "as_dtype(dtype: object) -> DType\n\nThe DType of a NumPy dtype, a name or a Python type.");
  m.def("promote", promote, py::arg("a"), py::arg("b"),
        "promote(a: DType, b: DType) -> DType\n\nThe type two operands meet in.");
  m.def(
      "from_numpy", [](const py::array& a) { return placed(from_numpy(a, false)); }, py::arg("array"),
      "from_numpy(array: NDArray[Any]) -> Tensor\n\nA tensor that shares the array's memory; do not write to the array "
      "while it lives.");
  m.def("from_dlpack", from_dlpack, py::arg("source"),
        "from_dlpack(source: object) -> Tensor\n\nA tensor that shares the memory of any object with __dlpack__.");
}

}  // namespace evolute::python
