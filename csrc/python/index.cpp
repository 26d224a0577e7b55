// Indexing as NumPy defines it: integers, slices, None, Ellipsis, boolean masks and integer arrays, in any mixture.
#include "evolute/ops.h"
#include "python/py_tensor.h"

namespace evolute::python {

namespace {

struct Part {
  enum class Kind { Integer, Slice, NewAxis, Array, Gap } kind;  // Gap: an ellipsis that stands for no axis
  std::int64_t i = 0;
  py::object slice;
  Tensor array;  // int64
};

bool is_integer_key(PyObject* o) {
  return (PyLong_Check(o) && !PyBool_Check(o)) || (PyIndex_Check(o) && !is_tensor(o) && !PyBool_Check(o) &&
                                                   !py::isinstance<py::sequence>(o) && !py::hasattr(o, "ndim"));
}

// Appends the parts of one key element, of which `at` axes of x are already used; returns the axes it uses.
int append_part(std::vector<Part>& parts, PyObject* o, const Tensor& x, int at) {
  if (o == Py_None) {
    parts.push_back({Part::Kind::NewAxis, 0, {}, {}});
    return 0;
  }
  if (PySlice_Check(o)) {
    parts.push_back({Part::Kind::Slice, 0, py::reinterpret_borrow<py::object>(o), {}});
    return 1;
  }
  if (is_integer_key(o)) {
    const Py_ssize_t i = PyNumber_AsSsize_t(o, PyExc_IndexError);
    if (i == -1 && PyErr_Occurred()) throw py::error_already_set();
    parts.push_back({Part::Kind::Integer, i, {}, {}});
    return 1;
  }
  Tensor t;
  if (PyBool_Check(o))
    t = scalar(o == Py_True, DType::Bool);
  else if (is_tensor(o) || PyList_Check(o) || is_convertible(o))
    t = tensor_from(o);
  else
    throw IndexError(
        cat("indexing: an index must be an integer, a slice, None, ..., or an integer or boolean array, not ",
            Py_TYPE(o)->tp_name));
  if (PyList_Check(o) && PyList_GET_SIZE(o) == 0) t = cast(t, DType::Int64);
  if (t.dtype() == DType::Bool) {
    if (t.device() != x.device()) t = to_device(t, x.device());
    if (t.ndim() == 0) throw IndexError("indexing: a 0-d boolean index is not supported; use ops.where");
    for (int i = 0; i < t.ndim(); ++i)
      if (at + i >= x.ndim() || t.shape(i) != x.shape(at + i))
        throw IndexError(cat("indexing: a boolean index of shape ", t.shape(), " does not match shape ", x.shape(),
                             " from axis ", at));
    for (Tensor& idx : nonzero(t)) parts.push_back({Part::Kind::Array, 0, {}, idx});
    return t.ndim();
  }
  if (t.device() != x.device()) t = to_device(t, x.device());  // indices go where what they index is
  if (!is_integer(t.dtype())) throw IndexError(cat("indexing: index arrays must be integer or Bool, got ", t.aval()));
  parts.push_back({Part::Kind::Array, 0, {}, t});
  return 1;
}

int axes_of(PyObject* o) {
  if (o == Py_None || o == Py_Ellipsis) return 0;
  if (is_tensor(o)) return value_of(o).dtype() == DType::Bool ? value_of(o).ndim() : 1;
  if (PySlice_Check(o) || is_integer_key(o) || PyBool_Check(o)) return 1;
  if (PyList_Check(o) || is_convertible(o)) {
    const Tensor t = tensor_from(o);
    return t.dtype() == DType::Bool ? t.ndim() : 1;
  }
  return 1;
}

std::vector<Part> parse(const Tensor& x, PyObject* key) {
  std::vector<PyObject*> items;
  if (PyTuple_Check(key))
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(key); ++i) items.push_back(PyTuple_GET_ITEM(key, i));
  else
    items.push_back(key);
  int used = 0, ellipses = 0;
  for (PyObject* o : items) used += axes_of(o), ellipses += o == Py_Ellipsis;
  if (ellipses > 1) throw IndexError("indexing: only one ellipsis is allowed");
  if (used > x.ndim()) throw IndexError(cat("indexing: ", used, " indices for a tensor of shape ", x.shape()));
  std::vector<Part> parts;
  int at = 0;
  const py::object all = py::slice(py::none(), py::none(), py::none());
  auto fill = [&](int n) {
    for (int i = 0; i < n; ++i, ++at) parts.push_back({Part::Kind::Slice, 0, all, {}});
  };
  for (PyObject* o : items) {
    if (o == Py_Ellipsis && used == x.ndim())
      parts.push_back({Part::Kind::Gap, 0, {}, {}});
    else if (o == Py_Ellipsis)
      fill(x.ndim() - used);
    else
      at += append_part(parts, o, x, at);
  }
  fill(x.ndim() - at);
  return parts;
}

}  // namespace

Tensor get_item(const Tensor& x, PyObject* key) {
  // The common case first: one integer.
  if (PyLong_CheckExact(key)) {
    const Py_ssize_t i = PyNumber_AsSsize_t(key, PyExc_IndexError);
    if (i == -1 && PyErr_Occurred()) throw py::error_already_set();
    return index(x, i, 0);
  }

  std::vector<Part> parts = parse(x, key);
  bool advanced = false;
  for (const Part& p : parts) advanced = advanced || p.kind == Part::Kind::Array;

  Tensor y = x;
  std::vector<Tensor> arrays;
  Axes axes;
  int at = 0;                 // axis of y
  int first = -1, last = -1;  // positions of the first and last array among the parts
  int first_axis = 0;         // axis of y where the first array stood, not counting axes of other arrays
  int between = 0;
  for (std::size_t k = 0; k < parts.size(); ++k) {
    Part& p = parts[k];
    switch (p.kind) {
      case Part::Kind::NewAxis: y = expand_dims(y, at++); break;
      case Part::Kind::Gap: break;  // only separates arrays, as in NumPy
      case Part::Kind::Slice: {
        Py_ssize_t start, stop, step;
        if (PySlice_Unpack(p.slice.ptr(), &start, &stop, &step) < 0) throw py::error_already_set();
        const Py_ssize_t n = PySlice_AdjustIndices(y.shape(at), &start, &stop, step);
        if (n != y.shape(at) || step != 1) {
          // The op takes Python's own notation, where "before the first" has no non-negative spelling.
          y = slice(y, at, start, n == 0 ? start : stop < 0 ? -y.shape(at) - 1 : stop, step);
        }
        ++at;
        break;
      }
      case Part::Kind::Integer:
        if (!advanced) {
          y = index(y, p.i, at);
          break;
        }
        if (p.i < -y.shape(at) || p.i >= y.shape(at))
          throw IndexError(cat("indexing: index ", p.i, " is out of range for axis of length ", y.shape(at)));
        p.array = scalar(static_cast<double>(p.i), DType::Int64);
        [[fallthrough]];
      case Part::Kind::Array:
        if (first < 0)
          first = static_cast<int>(k), first_axis = at;
        else if (static_cast<int>(k) != last + 1)
          between = 1;
        last = static_cast<int>(k);
        arrays.push_back(p.array);
        axes.push_back(at++);
        break;
    }
  }
  if (!advanced) return y;
  Tensor out = gather_nd(y, arrays, axes);
  if (between || first_axis == 0) return out;
  // Adjacent arrays leave their axes where they stood.
  const int n = out.ndim() - (y.ndim() - axes.size());
  Axes perm;
  for (int i = 0; i < first_axis; ++i) perm.push_back(n + i);
  for (int i = 0; i < n; ++i) perm.push_back(i);
  for (int i = n + first_axis; i < out.ndim(); ++i) perm.push_back(i);
  return transpose(out, perm);
}

Tensor set_item(const Tensor& x, PyObject* key, const Tensor& value, bool add) {
  // Every kind of index selects positions of the flattened tensor.
  const Tensor order = arange(0, static_cast<double>(x.size()), 1, DType::Int64, x.device());
  const Tensor positions = get_item(reshape(order, x.shape()), key);
  const Tensor v = value.dtype() == x.dtype() ? value : cast(value, x.dtype());
  try {
    if (broadcast_shapes(v.shape(), positions.shape(), "") != positions.shape()) throw ShapeError("");
  } catch (const ShapeError&) {
    throw ShapeError(cat("setting elements: a value of shape ", v.shape(),
                         " does not broadcast to the indexed elements, of shape ", positions.shape()));
  }
  const Tensor updates = reshape(broadcast_to(v, positions.shape()), {positions.size()});
  const Tensor flat = reshape(x, {x.size()});
  const Tensor idx[] = {reshape(positions, {positions.size()})};
  return reshape(add ? scatter_add_nd(flat, idx, {0}, updates) : scatter_set(flat, idx, {0}, updates), x.shape());
}

}  // namespace evolute::python
