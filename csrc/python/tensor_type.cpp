#include <pybind11/stl.h>
#include <structmember.h>

#include "core/level.h"
#include "evolute/ops.h"
#include "ops/elementwise.h"
#include "python/py_tensor.h"

namespace evolute::python {

PyTypeObject* tensor_type = nullptr;
std::uint64_t mutation_epoch = 0;

namespace {

PyObject* format_str = nullptr;
PyObject* format_repr = nullptr;

// ---- life ---------------------------------------------------------------------------------------------------------

PyObject* new_tensor(PyTypeObject* type, Tensor t) {
  PyObject* o = type->tp_alloc(type, 0);
  if (!o) return nullptr;
  PyTensor* p = as_py_tensor(o);
  new (&p->tensor) Tensor(std::move(t));
  new (&p->variable) Ref<Variable>();
  p->weakrefs = nullptr;
  return o;
}

PyObject* tensor_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"input_data", "dtype", nullptr};
    PyObject *data = nullptr, *dtype = nullptr;
    const auto made = [&](Tensor t) {
      if (thread_state.recorder) thread_state.recorder->adopt(t);
      return new_tensor(type, std::move(t));
    };
    // Subclasses may take further arguments; theirs to check in __init__.
    if (type != tensor_type) {
      PyObject* first = PyTuple_GET_SIZE(args) ? PyTuple_GET_ITEM(args, 0) : nullptr;
      if (!first) throw DTypeError(cat(type->tp_name, ": needs the data as first argument"));
      return made(tensor_from(first));
    }
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O:Tensor", const_cast<char**>(names), &data, &dtype))
      return nullptr;
    std::optional<DType> t;
    if (dtype && dtype != Py_None) t = as_dtype(dtype);
    return made(tensor_from(data, t));
  });
}

// Subclasses define __init__ with arguments of their own; nothing is left to do here.
int tensor_init(PyObject*, PyObject*, PyObject*) { return 0; }

void tensor_dealloc(PyObject* o) {
  PyTensor* p = as_py_tensor(o);
  PyTypeObject* type = Py_TYPE(o);
  if (p->weakrefs) PyObject_ClearWeakRefs(o);
  p->tensor.~Tensor();
  p->variable.~Ref<Variable>();
  type->tp_free(o);
  Py_DECREF(type);
}

// ---- numbers ------------------------------------------------------------------------------------------------------

// The other operand of a binary operator beside `like`; false: not ours to handle.
bool operand(PyObject* o, const Tensor& like, Tensor& out) {
  if (is_tensor(o)) {
    out = value_of(o);
    return true;
  }
  if (weak_scalar(o, like.dtype(), out)) return true;
  if (!is_convertible(o) && !PyList_Check(o) && !PyTuple_Check(o)) return false;
  out = placed(tensor_from(o), like.device());
  return true;
}

template <class F>
PyObject* binary_slot(PyObject* a, PyObject* b, F f) {
  return guarded([&]() -> PyObject* {
    Tensor x, y;
    if (is_tensor(a)) {
      x = value_of(a);
      if (!operand(b, x, y)) Py_RETURN_NOTIMPLEMENTED;
    } else {
      y = value_of(b);
      if (!operand(a, y, x)) Py_RETURN_NOTIMPLEMENTED;
    }
    return wrap(f(x, y));
  });
}

#define EV_BINARY_SLOT(slot, fn)                                                   \
  PyObject* slot(PyObject* a, PyObject* b) {                                       \
    return binary_slot(a, b, [](const Tensor& x, const Tensor& y) { return fn; }); \
  }
EV_BINARY_SLOT(tensor_add, add(x, y))
EV_BINARY_SLOT(tensor_sub, sub(x, y))
EV_BINARY_SLOT(tensor_mul, mul(x, y))
EV_BINARY_SLOT(tensor_floordiv, floor_div(x, y))
EV_BINARY_SLOT(tensor_mod, mod(x, y))
#undef EV_BINARY_SLOT

PyObject* tensor_div(PyObject* a, PyObject* b) {
  const bool one = PyFloat_CheckExact(a) ? PyFloat_AS_DOUBLE(a) == 1 : PyLong_CheckExact(a) && PyLong_AsLong(a) == 1;
  PyErr_Clear();  // of a number too large to be 1
  if (one && is_floating(value_of(b).dtype()))
    return guarded([&]() -> PyObject* { return wrap(div(1.0, value_of(b))); });
  return binary_slot(a, b, [](const Tensor& x, const Tensor& y) { return div(x, y); });
}

// &, | and ^ are for masks; what they mean for integers elsewhere, bitwise operations, is not offered.
template <class F>
PyObject* mask_slot(PyObject* a, PyObject* b, const char* name, F f) {
  return binary_slot(a, b, [&](const Tensor& x, const Tensor& y) {
    if (x.dtype() != DType::Bool || y.dtype() != DType::Bool)
      throw DTypeError(cat(name, ": needs Bool tensors, got ", x.aval(), " and ", y.aval(),
                           "; use ops.logical_and, ops.logical_or or ops.logical_xor for truth values of numbers"));
    return f(x, y);
  });
}
PyObject* tensor_and(PyObject* a, PyObject* b) {
  return mask_slot(a, b, "&", [](const Tensor& x, const Tensor& y) { return logical_and(x, y); });
}
PyObject* tensor_or(PyObject* a, PyObject* b) {
  return mask_slot(a, b, "|", [](const Tensor& x, const Tensor& y) { return logical_or(x, y); });
}
PyObject* tensor_xor(PyObject* a, PyObject* b) {
  return mask_slot(a, b, "^", [](const Tensor& x, const Tensor& y) { return logical_xor(x, y); });
}

PyObject* tensor_matmul(PyObject* a, PyObject* b) {
  return binary_slot(a, b, [](const Tensor& x, const Tensor& y) { return matmul(x, y); });
}

PyObject* tensor_pow(PyObject* a, PyObject* b, PyObject* modulus) {
  if (modulus != Py_None) {
    PyErr_SetString(PyExc_TypeError, "pow: a tensor power takes no modulus");
    return nullptr;
  }
  if (is_tensor(a) && (PyFloat_Check(b) || (PyLong_Check(b) && !PyBool_Check(b))))
    return guarded([&]() -> PyObject* {
      const double p = PyFloat_AsDouble(b);
      if (PyErr_Occurred()) throw py::error_already_set();
      return wrap(pow_constant(value_of(a), p, PyFloat_Check(b) ? DType::Float64 : DType::Int64));
    });
  return binary_slot(a, b, [](const Tensor& x, const Tensor& y) { return pow(x, y); });
}

PyObject* tensor_negative(PyObject* a) {
  return guarded([&] { return wrap(neg(value_of(a))); });
}
PyObject* tensor_positive(PyObject* a) { return Py_NewRef(a); }
PyObject* tensor_absolute(PyObject* a) {
  return guarded([&] { return wrap(abs(value_of(a))); });
}
PyObject* tensor_invert(PyObject* a) {
  return guarded([&]() -> PyObject* {
    const Tensor x = value_of(a);
    if (x.dtype() != DType::Bool) throw DTypeError(cat("~: needs a Bool tensor, got ", x.aval()));
    return wrap(equal(x, scalar(0, DType::Int32)));
  });
}
int tensor_bool(PyObject* a) {
  return guarded([&]() -> int {
    const Tensor x = value_of(a);
    if (x.size() != 1)
      throw ValueError(
          cat("bool: the truth value of a tensor of shape ", x.shape(), " is ambiguous; use ops.any or ops.all"));
    return x.item() != 0;
  });
}
PyObject* tensor_float(PyObject* a) {
  return guarded([&] { return PyFloat_FromDouble(value_of(a).item()); });
}
PyObject* tensor_int(PyObject* a) {
  return guarded([&]() -> PyObject* {
    const Tensor x = value_of(a);
    if (is_floating(x.dtype())) return PyLong_FromDouble(x.item());
    return PyLong_FromLongLong(x.size() == 1 && x.dtype() == DType::Int64 ? *to_host(x.array())->data<std::int64_t>()
                                                                          : static_cast<long long>(x.item()));
  });
}
PyObject* tensor_index(PyObject* a) {
  return guarded([&]() -> PyObject* {
    const Tensor x = value_of(a);
    if (!is_integer(x.dtype()) || x.ndim() != 0)
      throw DTypeError(cat("only a 0-d integer tensor can be used as an index, got ", x.aval()));
    return tensor_int(a);
  });
}

PyObject* tensor_compare(PyObject* a, PyObject* b, int how) {
  switch (how) {
    case Py_EQ: return binary_slot(a, b, [](const Tensor& x, const Tensor& y) { return equal(x, y); });
    case Py_NE: return binary_slot(a, b, [](const Tensor& x, const Tensor& y) { return not_equal(x, y); });
    case Py_LT: return binary_slot(a, b, [](const Tensor& x, const Tensor& y) { return less(x, y); });
    case Py_LE: return binary_slot(a, b, [](const Tensor& x, const Tensor& y) { return less_equal(x, y); });
    case Py_GT: return binary_slot(a, b, [](const Tensor& x, const Tensor& y) { return greater(x, y); });
    default: return binary_slot(a, b, [](const Tensor& x, const Tensor& y) { return greater_equal(x, y); });
  }
}
Py_hash_t tensor_hash(PyObject* o) { return static_cast<Py_hash_t>(reinterpret_cast<std::uintptr_t>(o) >> 4); }

// ---- container ----------------------------------------------------------------------------------------------------

Py_ssize_t tensor_length(PyObject* a) {
  return guarded([&]() -> Py_ssize_t {
    const Tensor x = value_of(a);
    if (x.ndim() == 0) {
      PyErr_SetString(PyExc_TypeError, "len() of a 0-d tensor");
      return -1;
    }
    return x.shape(0);
  });
}
PyObject* tensor_item(PyObject* a, Py_ssize_t i) {
  return guarded([&] { return wrap(index(value_of(a), i, 0)); });
}
PyObject* tensor_subscript(PyObject* a, PyObject* key) {
  return guarded([&] { return wrap(get_item(value_of(a), key)); });
}
void replace_value(PyTensor& p, Tensor updated) {
  if (!p.tensor.value()->level()) {
    if (thread_state.recorder && !thread_state.recorder->adopted(p.tensor))
      throw UnknownValueError(cat("a tensor (", p.tensor.aval(),
                                  ") made outside the function that is being recorded cannot "
                                  "be changed in place: make it a Parameter, or return the changed tensor"));
    if (p.tensor.value()->is_constant()) ++mutation_epoch;
  }
  p.tensor = std::move(updated);
}
int tensor_assign(PyObject* a, PyObject* key, PyObject* value) {
  return guarded([&]() -> int {
    if (!value) throw ValueError("elements of a tensor cannot be deleted");
    const Tensor x = value_of(a);
    Tensor v;
    if (!operand(value, x, v)) throw DTypeError("a tensor element can be set to a tensor, an array or a number only");
    Tensor updated = set_item(x, key, v, false);
    PyTensor* p = as_py_tensor(a);
    if (p->variable)
      p->variable->set(std::move(updated));
    else
      replace_value(*p, std::move(updated));
    return 0;
  });
}
PyObject* tensor_iter(PyObject* a) {
  if (value_of(a).ndim() == 0) {
    PyErr_SetString(PyExc_TypeError, "iteration over a 0-d tensor");
    return nullptr;
  }
  return PySeqIter_New(a);
}

PyObject* call_formatter(PyObject* formatter, PyObject* self) {
  if (formatter) return PyObject_CallOneArg(formatter, self);
  return guarded([&]() -> PyObject* { return PyUnicode_FromString(cat(value_of(self).aval()).c_str()); });
}
PyObject* tensor_str(PyObject* a) { return call_formatter(format_str, a); }
PyObject* tensor_repr(PyObject* a) { return call_formatter(format_repr, a); }

// ---- buffer protocol ----------------------------------------------------------------------------------------------

struct BufferView {
  Ref<Value> keep;
  Py_ssize_t shape[Dims::kMaxDims], strides[Dims::kMaxDims];
};

int tensor_getbuffer(PyObject* o, Py_buffer* view, int flags) {
  const int status = guarded([&]() -> int {
    const Array& a = value_of(o).array();
    if (!a.on_host()) throw ValueError("the tensor is in the memory of a GPU; use asnumpy() or to('CPU')");
    if (flags & PyBUF_WRITABLE) throw ValueError("tensors are immutable: their buffer is read-only");
    const bool rows = flags & (PyBUF_C_CONTIGUOUS & ~PyBUF_STRIDES) || (flags & PyBUF_STRIDES) != PyBUF_STRIDES;
    if (!a.contiguous() && (rows || flags & ((PyBUF_F_CONTIGUOUS | PyBUF_ANY_CONTIGUOUS) & ~PyBUF_STRIDES)))
      throw ValueError("this tensor's elements are not contiguous; the consumer must accept strides");
    if (a.ndim() > 1 && flags & (PyBUF_F_CONTIGUOUS & ~PyBUF_STRIDES))
      throw ValueError("this tensor's elements are in row-major order, not column by column");
    auto* held = new BufferView{Ref<Value>(const_cast<Array*>(&a)), {}, {}};
    static const char* const formats[] = {"?", "i", "l", "f", "d"};
    const auto item = static_cast<Py_ssize_t>(size_of(a.dtype()));
    for (int i = 0; i < a.ndim(); ++i) held->shape[i] = a.shape()[i], held->strides[i] = a.strides()[i] * item;
    view->obj = Py_NewRef(o);
    view->buf = a.bytes();
    view->len = a.size() * item;
    view->readonly = 1;
    view->itemsize = item;
    view->format = flags & PyBUF_FORMAT ? const_cast<char*>(formats[static_cast<int>(a.dtype())]) : nullptr;
    view->ndim = flags & PyBUF_ND ? a.ndim() : 1;  // without a shape: plain bytes
    view->shape = flags & PyBUF_ND ? held->shape : nullptr;
    view->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? held->strides : nullptr;
    view->suboffsets = nullptr;
    view->internal = held;
    return 0;
  });
  if (status != 0) {
    // The protocol allows BufferError only.
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_Format(PyExc_BufferError, "%S", value ? value : Py_None);
    Py_XDECREF(type), Py_XDECREF(value), Py_XDECREF(trace);
    view->obj = nullptr;
  }
  return status;
}
void tensor_releasebuffer(PyObject*, Py_buffer* view) { delete static_cast<BufferView*>(view->internal); }

// ---- attributes ---------------------------------------------------------------------------------------------------

PyObject* get_shape(PyObject* a, void*) {
  return guarded([&]() -> PyObject* {
    const Tensor x = value_of(a);
    PyObject* t = PyTuple_New(x.ndim());
    for (int i = 0; t && i < x.ndim(); ++i) PyTuple_SET_ITEM(t, i, PyLong_FromLongLong(x.shape(i)));
    return t;
  });
}
PyObject* get_dtype(PyObject* a, void*) {
  return guarded([&] { return py::cast(value_of(a).dtype()).release().ptr(); });
}
PyObject* get_device(PyObject* a, void*) {
  return guarded([&] { return PyUnicode_FromString(cat(value_of(a).device()).c_str()); });
}
PyObject* get_ndim(PyObject* a, void*) {
  return guarded([&] { return PyLong_FromLong(value_of(a).ndim()); });
}
PyObject* get_size(PyObject* a, void*) {
  return guarded([&] { return PyLong_FromLongLong(value_of(a).size()); });
}
PyObject* get_itemsize(PyObject* a, void*) {
  return guarded([&] { return PyLong_FromSize_t(size_of(value_of(a).dtype())); });
}
PyObject* get_nbytes(PyObject* a, void*) {
  return guarded([&] {
    const Tensor x = value_of(a);
    return PyLong_FromLongLong(x.size() * static_cast<std::int64_t>(size_of(x.dtype())));
  });
}
PyObject* get_transposed(PyObject* a, void*) {
  return guarded([&] { return wrap(transpose(value_of(a))); });
}
PyObject* get_variable_id(PyObject* a, void*) {
  if (!as_py_tensor(a)->variable) Py_RETURN_NONE;
  return PyLong_FromVoidPtr(as_py_tensor(a)->variable.get());
}

PyGetSetDef getset[] = {
    {"shape", get_shape, nullptr, "shape: tuple[int, ...]\n\nLength of each axis, as a tuple.", nullptr},
    {"dtype", get_dtype, nullptr, "dtype: DType\n\nElement type.", nullptr},
    {"device", get_device, nullptr, "device: str\n\nWhere the elements are: 'CPU' or 'GPU:0'.", nullptr},
    {"ndim", get_ndim, nullptr, "ndim: int\n\nNumber of axes.", nullptr},
    {"size", get_size, nullptr, "size: int\n\nNumber of elements.", nullptr},
    {"itemsize", get_itemsize, nullptr, "itemsize: int\n\nBytes per element.", nullptr},
    {"nbytes", get_nbytes, nullptr, "nbytes: int\n\nBytes of all elements.", nullptr},
    {"T", get_transposed, nullptr, "T: Tensor\n\nThe tensor with its axes reversed.", nullptr},
    {"_variable_id", get_variable_id, nullptr,
     "_variable_id: int | None\n\nIdentity of the variable behind a parameter, or None.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyMemberDef members[] = {{"__weaklistoffset__", T_PYSSIZET, offsetof(PyTensor, weakrefs), READONLY, nullptr},
                         {nullptr, 0, 0, 0, nullptr}};

constexpr const char* kTensorDoc =
    "Tensor(input_data: TensorLike, dtype: DTypeLike | None = None)\n--\n\n"
    "Immutable n-dimensional array that transforms can differentiate.\n\n"
    "Parameters\n----------\n"
    "input_data : array_like\n"
    "    NumPy arrays keep their dtype and are copied; lists of floats become float32, of integers int64.\n"
    "dtype : DType, optional\n"
    "    Element type to convert to.\n";

PyType_Slot slots[] = {{Py_tp_doc, const_cast<char*>(kTensorDoc)},
                       {Py_tp_new, reinterpret_cast<void*>(tensor_new)},
                       {Py_tp_init, reinterpret_cast<void*>(tensor_init)},
                       {Py_tp_dealloc, reinterpret_cast<void*>(tensor_dealloc)},
                       {Py_tp_str, reinterpret_cast<void*>(tensor_str)},
                       {Py_tp_repr, reinterpret_cast<void*>(tensor_repr)},
                       {Py_tp_richcompare, reinterpret_cast<void*>(tensor_compare)},
                       {Py_tp_hash, reinterpret_cast<void*>(tensor_hash)},
                       {Py_tp_iter, reinterpret_cast<void*>(tensor_iter)},
                       {Py_tp_getset, getset},
                       {Py_tp_members, members},
                       {Py_nb_add, reinterpret_cast<void*>(tensor_add)},
                       {Py_nb_subtract, reinterpret_cast<void*>(tensor_sub)},
                       {Py_nb_multiply, reinterpret_cast<void*>(tensor_mul)},
                       {Py_nb_true_divide, reinterpret_cast<void*>(tensor_div)},
                       {Py_nb_floor_divide, reinterpret_cast<void*>(tensor_floordiv)},
                       {Py_nb_remainder, reinterpret_cast<void*>(tensor_mod)},
                       {Py_nb_power, reinterpret_cast<void*>(tensor_pow)},
                       {Py_nb_matrix_multiply, reinterpret_cast<void*>(tensor_matmul)},
                       {Py_nb_and, reinterpret_cast<void*>(tensor_and)},
                       {Py_nb_or, reinterpret_cast<void*>(tensor_or)},
                       {Py_nb_xor, reinterpret_cast<void*>(tensor_xor)},
                       {Py_nb_invert, reinterpret_cast<void*>(tensor_invert)},
                       {Py_nb_negative, reinterpret_cast<void*>(tensor_negative)},
                       {Py_nb_positive, reinterpret_cast<void*>(tensor_positive)},
                       {Py_nb_absolute, reinterpret_cast<void*>(tensor_absolute)},
                       {Py_nb_bool, reinterpret_cast<void*>(tensor_bool)},
                       {Py_nb_float, reinterpret_cast<void*>(tensor_float)},
                       {Py_nb_int, reinterpret_cast<void*>(tensor_int)},
                       {Py_nb_index, reinterpret_cast<void*>(tensor_index)},
                       {Py_sq_item, reinterpret_cast<void*>(tensor_item)},
                       {Py_sq_length, reinterpret_cast<void*>(tensor_length)},
                       {Py_mp_length, reinterpret_cast<void*>(tensor_length)},
                       {Py_mp_subscript, reinterpret_cast<void*>(tensor_subscript)},
                       {Py_mp_ass_subscript, reinterpret_cast<void*>(tensor_assign)},
                       {Py_bf_getbuffer, reinterpret_cast<void*>(tensor_getbuffer)},
                       {Py_bf_releasebuffer, reinterpret_cast<void*>(tensor_releasebuffer)},
                       {0, nullptr}};

PyType_Spec spec = {"evolute._evolute.Tensor", sizeof(PyTensor), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};

}  // namespace

PyObject* wrap(Tensor t) { return new_tensor(tensor_type, std::move(t)); }

void define_tensor_type(py::module_& m) {
  PyObject* type = PyType_FromSpec(&spec);
  if (!type) throw py::error_already_set();
  tensor_type = reinterpret_cast<PyTypeObject*>(type);
  m.attr("Tensor") = py::reinterpret_borrow<py::object>(type);
  // NumPy leaves mixed expressions such as `array * tensor` to the tensor.
  py::handle(type).attr("__array_ufunc__") = py::none();

  m.def(
      "set_formatter",
      [](py::function str, py::function repr) {
        Py_XDECREF(std::exchange(format_str, str.release().ptr()));
        Py_XDECREF(std::exchange(format_repr, repr.release().ptr()));
      },
      py::arg("str"), py::arg("repr"),
      "set_formatter(str: Callable[[Tensor], str], repr: Callable[[Tensor], str]) -> None\n\n"
      "Sets the functions that print a tensor for str() and repr().");
}

}  // namespace evolute::python
