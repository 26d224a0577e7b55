// The operations as Python functions, and as methods of Tensor.
#include "python/bindings.h"

#include <pybind11/stl.h>

#include <deque>

#include "evolute/ops.h"
#include "ops/elementwise.h"
#include "python/py_tensor.h"

namespace evolute::python {

namespace {

// ---- elementwise functions and methods: plain C functions, one per line of the table --------------------------------

// `self` is a capsule with the table row, so that all functions share one body.
const ElementwiseFunction& row_of(PyObject* self) {
  return *static_cast<const ElementwiseFunction*>(PyCapsule_GetPointer(self, nullptr));
}

Tensor operand_of(std::string_view what, PyObject* o) {
  if (is_tensor(o)) return value_of(o);
  if (!is_convertible(o) && !PyList_Check(o) && !PyTuple_Check(o) && !py::hasattr(o, "__array__"))
    throw DTypeError(cat(what, ": needs tensors, arrays, lists or numbers, got ", Py_TYPE(o)->tp_name));
  return tensor_from(o);
}

bool is_number(PyObject* o) { return !is_tensor(o) && (PyFloat_Check(o) || PyLong_Check(o)); }

// Two operands; a Python number beside something else is weak.
std::pair<Tensor, Tensor> operands(std::string_view what, PyObject* a, PyObject* b) {
  Tensor x, y;
  if (!is_number(a)) x = operand_of(what, a);
  if (!x.defined() || !weak_scalar(b, x.dtype(), y)) y = operand_of(what, b);
  if (!x.defined()) weak_scalar(a, y.dtype(), x);
  if (x.device() != y.device() && is_tensor(a) != is_tensor(b))
    is_tensor(a) ? y = placed(y, x.device()) : x = placed(x, y.device());
  return {std::move(x), std::move(y)};
}

PyObject* call_unary(PyObject* self, PyObject* const* args, Py_ssize_t n) {
  const ElementwiseFunction& f = row_of(self);
  if (n != 1) return PyErr_Format(PyExc_TypeError, "%s() takes 1 argument, got %zd", f.name.data(), n);
  return guarded([&] { return wrap(call_elementwise(f, operand_of(f.name, args[0]))); });
}

PyObject* call_binary(PyObject* self, PyObject* const* args, Py_ssize_t n) {
  const ElementwiseFunction& f = row_of(self);
  if (n != 2) return PyErr_Format(PyExc_TypeError, "%s() takes 2 arguments, got %zd", f.name.data(), n);
  return guarded([&] {
    const auto [x, y] = operands(f.name, args[0], args[1]);
    if (f.op->kernel_id == kPow && !is_number(args[0]) && is_number(args[1]) && !PyBool_Check(args[1]))
      return wrap(pow_constant(x, y.item(), PyFloat_Check(args[1]) ? DType::Float64 : DType::Int64));
    return wrap(call_elementwise(f, x, y));
  });
}

void define_elementwise(py::module_& m) {
  struct Storage {
    std::string doc;
    PyMethodDef def;
  };
  static std::deque<Storage> storage;  // CPython keeps pointers to these
  const py::object module_name = m.attr("__name__");
  const py::handle type(reinterpret_cast<PyObject*>(tensor_type));
  for (const ElementwiseFunction& f : elementwise_functions()) {
    Storage& s = storage.emplace_back();
    const char* args = f.arity == 1 ? "x: TensorLike" : "x: TensorLike, y: TensorLike";
    s.doc = cat(f.name, "(", args, ") -> Tensor\n\n", f.op->doc.summary, ", elementwise.");
    auto* body = f.arity == 1 ? reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(call_unary))
                              : reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(call_binary));
    s.def = {f.name.data(), body, METH_FASTCALL, s.doc.c_str()};
    py::object self =
        py::reinterpret_steal<py::object>(PyCapsule_New(const_cast<ElementwiseFunction*>(&f), nullptr, nullptr));
    const auto function = py::reinterpret_steal<py::object>(PyCFunction_NewEx(&s.def, self.ptr(), module_name.ptr()));
    m.add_object(f.name.data(), function);
    // Bound like a function written in Python: the tensor becomes the first argument.
    type.attr(f.name.data()) = py::reinterpret_steal<py::object>(PyInstanceMethod_New(function.ptr()));
  }
}

// ---- the other operations -------------------------------------------------------------------------------------------

// An axis argument: None, an integer or a sequence of integers.
OptAxes axes_from(const py::object& o) {
  if (o.is_none()) return {};
  if (PyIndex_Check(o.ptr())) return Axes{o.cast<std::int64_t>()};
  Axes axes;
  for (py::handle i : o) axes.push_back(i.cast<std::int64_t>());
  return axes;
}
Dims dims_from(const py::object& o) {
  if (PyIndex_Check(o.ptr())) return Dims{o.cast<std::int64_t>()};
  Dims d;
  for (py::handle i : o) d.push_back(i.cast<std::int64_t>());
  return d;
}
std::optional<DType> dtype_from(const py::object& o) {
  if (o.is_none()) return {};
  return as_dtype(o);
}
DType float_dtype(const py::object& o) { return dtype_from(o).value_or(DType::Float32); }

// Tensors of one dtype, for concat and stack.
std::vector<Tensor> common(const std::vector<Tensor>& xs) {
  DType t = DType::Bool;
  for (const Tensor& x : xs) t = promote(t, x.dtype());
  std::vector<Tensor> out;
  for (const Tensor& x : xs) out.push_back(x.dtype() == t ? x : cast(x, t));
  return out;
}

Tensor squeezed_norm(const Tensor& x, const py::object& ord, const py::object& axis, bool keepdims) {
  double p = 2;
  if (py::isinstance<py::str>(ord)) {
    if (ord.cast<std::string>() != "fro") throw ValueError("norm: ord must be a number or 'fro'");
  } else if (!ord.is_none()) {
    p = ord.cast<double>();
  }
  return norm(x, p, axes_from(axis), keepdims);
}

}  // namespace

void define_ops(py::module_& m) {
  define_elementwise(m);
  using py::arg;
  using T = Tensor;
  using O = py::object;
  const auto none = py::none();

  Methods def(m);
  // Reductions.
#define EV_REDUCTION(fn, text)                                                                             \
  def.both(                                                                                                \
      #fn, "x: TensorLike, ", "axis: int | Sequence[int] | None = None, keepdims: bool = False", text,     \
      [](const T& x, const O& axis, bool keepdims) { return fn(x, axes_from(axis), keepdims); }, arg("x"), \
      arg("axis") = none, arg("keepdims") = false);
  EV_REDUCTION(sum, "Sum over `axis` (all axes by default). Integers and booleans add up as int64.")
  EV_REDUCTION(mean, "Arithmetic mean over `axis`.")
  EV_REDUCTION(prod, "Product over `axis`; its derivative is right also where elements are 0.")
  EV_REDUCTION(max, "Largest element over `axis`; ties share the derivative.")
  EV_REDUCTION(min, "Smallest element over `axis`; ties share the derivative.")
  EV_REDUCTION(any, "Whether any element over `axis` is not 0.")
  EV_REDUCTION(all, "Whether all elements over `axis` are not 0.")
  EV_REDUCTION(logsumexp, "log(sum(exp(x))) over `axis` without overflow.")
#undef EV_REDUCTION
  def.both(
      "argmax", "x: TensorLike, ", "axis: int | None = None, keepdims: bool = False",
      "Index of the first largest element along `axis` (of the flattened tensor by default).",
      [](const T& x, std::optional<std::int64_t> axis, bool keepdims) { return argmax(x, axis, keepdims); }, arg("x"),
      arg("axis") = none, arg("keepdims") = false);
  def.both(
      "argmin", "x: TensorLike, ", "axis: int | None = None, keepdims: bool = False",
      "Index of the first smallest element along `axis` (of the flattened tensor by default).",
      [](const T& x, std::optional<std::int64_t> axis, bool keepdims) { return argmin(x, axis, keepdims); }, arg("x"),
      arg("axis") = none, arg("keepdims") = false);
  def.both(
      "cumsum", "x: TensorLike, ", "axis: int = 0, reverse: bool = False", "Cumulative sum along `axis`.",
      [](const T& x, std::int64_t axis, bool reverse) { return cumsum(x, axis, reverse); }, arg("x"), arg("axis") = 0,
      arg("reverse") = false);
  def.both("norm", "x: TensorLike, ",
           "ord: float | str | None = None, axis: int | Sequence[int] | None = None, keepdims: bool = False",
           "Vector p-norm over `axis`, 2 by default; derivative 0 where all elements are 0.", squeezed_norm, arg("x"),
           arg("ord") = none, arg("axis") = none, arg("keepdims") = false);
  def.both(
      "softmax", "x: TensorLike, ", "axis: int = -1", "exp(x) / sum(exp(x)) along `axis`.",
      [](const T& x, std::int64_t axis) { return softmax(x, axis); }, arg("x"), arg("axis") = -1);
  def.both(
      "log_softmax", "x: TensorLike, ", "axis: int = -1", "log(softmax(x)) along `axis`, without overflow.",
      [](const T& x, std::int64_t axis) { return log_softmax(x, axis); }, arg("x"), arg("axis") = -1);

  // Products.
  def.both(
      "matmul", "a: TensorLike, ", "b: TensorLike, transpose_a: bool = False, transpose_b: bool = False",
      "Matrix product over the last two axes, batch axes broadcast; the flags transpose an operand's last two axes.",
      [](const T& a, const T& b, bool ta, bool tb) {
        const DType t = promote(a.dtype(), b.dtype());
        return matmul(a.dtype() == t ? a : cast(a, t), b.dtype() == t ? b : cast(b, t), ta, tb);
      },
      arg("a"), arg("b"), arg("transpose_a") = false, arg("transpose_b") = false);
  def.both(
      "dot", "a: TensorLike, ", "b: TensorLike", "NumPy's dot: inner product of vectors, product of matrices.",
      [](const T& a, const T& b) { return dot(a, b); }, arg("a"), arg("b"));
  def.function(
      "outer", "a: TensorLike, b: TensorLike", "Outer product of two flattened tensors.",
      [](const T& a, const T& b) { return outer(a, b); }, arg("a"), arg("b"));
  def.function(
      "einsum", "equation: str, *operands: TensorLike", "Einstein summation, in NumPy's notation.",
      [](const std::string& equation, const py::args& operands) {
        std::vector<Tensor> ts;
        for (py::handle o : operands) ts.push_back(o.cast<Tensor>());
        return einsum(equation, common(ts));
      },
      arg("equation"));

  // Shape.
  def.function(
      "reshape", "x: TensorLike, shape: int | Sequence[int]",
      "The same elements in row-major order in another shape; one entry may be -1.",
      [](const T& x, const O& shape) { return reshape(x, dims_from(shape)); }, arg("x"), arg("shape"));
  def.method("reshape", "*shape: int | Sequence[int]",
             "The same elements in row-major order in another shape; one entry may be -1.",
             [](const T& x, const py::args& shape) {
               return reshape(x, dims_from(shape.size() == 1 ? py::object(shape[0]) : py::object(shape)));
             });
  def.function(
      "transpose", "x: TensorLike, axes: Sequence[int] | None = None", "Permutes the axes; reverses them by default.",
      [](const T& x, const O& axes) { return transpose(x, axes_from(axes)); }, arg("x"), arg("axes") = none);
  def.method("transpose", "*axes: int | Sequence[int]", "Permutes the axes; reverses them by default.",
             [](const T& x, const py::args& axes) {
               if (axes.empty()) return transpose(x);
               return transpose(x, axes_from(axes.size() == 1 ? py::object(axes[0]) : py::object(axes)));
             });
  def.both(
      "swapaxes", "x: TensorLike, ", "axis1: int, axis2: int", "Exchanges two axes.",
      [](const T& x, std::int64_t a, std::int64_t b) { return swapaxes(x, a, b); }, arg("x"), arg("axis1"),
      arg("axis2"));
  def.both(
      "moveaxis", "x: TensorLike, ", "source: int, destination: int", "Moves one axis to another place.",
      [](const T& x, std::int64_t a, std::int64_t b) { return moveaxis(x, a, b); }, arg("x"), arg("source"),
      arg("destination"));
  def.both(
      "broadcast_to", "x: TensorLike, ", "shape: Sequence[int]",
      "Repeats x along new axes and axes of length 1, without a copy.",
      [](const T& x, const O& shape) { return broadcast_to(x, dims_from(shape)); }, arg("x"), arg("shape"));
  def.both(
      "squeeze", "x: TensorLike, ", "axis: int | Sequence[int] | None = None", "Removes axes of length 1.",
      [](const T& x, const O& axis) { return squeeze(x, axes_from(axis)); }, arg("x"), arg("axis") = none);
  def.both(
      "expand_dims", "x: TensorLike, ", "axis: int", "Inserts an axis of length 1.",
      [](const T& x, std::int64_t axis) { return expand_dims(x, axis); }, arg("x"), arg("axis"));
  def.method("flatten", "", "The elements in one axis.", [](const T& x) { return reshape(x, {x.size()}); });
  def.function(
      "concat", "tensors: Sequence[TensorLike], axis: int = 0", "Joins tensors along an axis they have.",
      [](const std::vector<T>& xs, std::int64_t axis) { return concat(common(xs), axis); }, arg("tensors"),
      arg("axis") = 0);
  def.function(
      "stack", "tensors: Sequence[TensorLike], axis: int = 0", "Joins tensors of one shape along a new axis.",
      [](const std::vector<T>& xs, std::int64_t axis) { return stack(common(xs), axis); }, arg("tensors"),
      arg("axis") = 0);
  def.both_returning(
      "split", "x: TensorLike, ", "indices_or_sections: int | Sequence[int], axis: int = 0", "list[Tensor]",
      "Equal parts, or parts that end before each index.",
      [](const T& x, const O& parts, std::int64_t axis) {
        if (PyIndex_Check(parts.ptr())) return split(x, parts.cast<std::int64_t>(), axis);
        return split_at(x, parts.cast<std::vector<std::int64_t>>(), axis);
      },
      arg("x"), arg("indices_or_sections"), arg("axis") = 0);
  def.both(
      "tile", "x: TensorLike, ", "repeats: int | Sequence[int]", "Repeats x along each axis.",
      [](const T& x, const O& r) { return tile(x, dims_from(r)); }, arg("x"), arg("repeats"));
  def.both(
      "flip", "x: TensorLike, ", "axis: int | Sequence[int] | None = None",
      "Reverses the order along `axis` (all axes by default).",
      [](const T& x, const O& axis) { return flip(x, axes_from(axis)); }, arg("x"), arg("axis") = none);
  def.both(
      "roll", "x: TensorLike, ", "shift: int | Sequence[int], axis: int | Sequence[int] | None = None",
      "Shifts elements cyclically along `axis` (of the flattened tensor by default).",
      [](const T& x, const O& shift, const O& axis) {
        if (axis.is_none()) return reshape(roll(reshape(x, {x.size()}), dims_from(shift), {0}), x.shape());
        Dims s = dims_from(shift);
        const Axes a = *axes_from(axis);
        while (s.size() == 1 && s.size() < a.size()) s = Dims::filled(a.size(), s[0]);
        return roll(x, s, a);
      },
      arg("x"), arg("shift"), arg("axis") = none);
  def.function(
      "pad", "x: TensorLike, pad_width: int | Sequence[Sequence[int]], value: float = 0.0",
      "Adds pad_width[i] = (before, after) elements of `value` around axis i.",
      [](const T& x, const O& width, double value) {
        Dims before, after;
        if (PyIndex_Check(width.ptr())) {
          before = after = Dims::filled(x.ndim(), width.cast<std::int64_t>());
        } else {
          for (py::handle w : width) {
            const auto pair = w.cast<std::vector<std::int64_t>>();
            if (pair.size() != 2) throw ValueError("pad: each entry of pad_width must be (before, after)");
            before.push_back(pair[0]), after.push_back(pair[1]);
          }
        }
        return pad(x, before, after, value);
      },
      arg("x"), arg("pad_width"), arg("value") = 0.0);
  def.both(
      "diagonal", "x: TensorLike, ", "offset: int = 0, axis1: int = 0, axis2: int = 1",
      "Diagonal of each matrix; its axis comes last.",
      [](const T& x, std::int64_t k, std::int64_t a, std::int64_t b) { return diagonal(x, k, a, b); }, arg("x"),
      arg("offset") = 0, arg("axis1") = 0, arg("axis2") = 1);
  def.function(
      "diag", "x: TensorLike, offset: int = 0", "A matrix with a vector on its diagonal, or the diagonal of a matrix.",
      [](const T& x, std::int64_t k) { return diag(x, k); }, arg("x"), arg("offset") = 0);
  def.function(
      "diag_embed", "x: TensorLike, offset: int = 0", "Matrices with the last axis of x on their diagonal.",
      [](const T& x, std::int64_t k) { return diag_embed(x, k); }, arg("x"), arg("offset") = 0);
  def.both(
      "trace", "x: TensorLike, ", "offset: int = 0", "Sum of the diagonal of a matrix.",
      [](const T& x, std::int64_t k) { return trace(x, k); }, arg("x"), arg("offset") = 0);
  def.function(
      "tril", "x: TensorLike, offset: int = 0", "Lower triangle of each matrix, zeros above.",
      [](const T& x, std::int64_t k) { return tril(x, k); }, arg("x"), arg("offset") = 0);
  def.function(
      "triu", "x: TensorLike, offset: int = 0", "Upper triangle of each matrix, zeros below.",
      [](const T& x, std::int64_t k) { return triu(x, k); }, arg("x"), arg("offset") = 0);

  // Indexing.
  def.both(
      "take", "x: TensorLike, ", "indices: TensorLike, axis: int = 0",
      "Slices of x along `axis` at `indices` (NumPy's take).",
      [](const T& x, const T& i, std::int64_t axis) { return take(x, i, axis); }, arg("x"), arg("indices"),
      arg("axis") = 0);
  def.function(
      "gather", "x: TensorLike, axis: int, index: TensorLike",
      "out[i, j] = x[index[i, j], j] for axis 0, and so on (NumPy's take_along_axis).",
      [](const T& x, std::int64_t axis, const T& i) { return gather(x, axis, i); }, arg("x"), arg("axis"),
      arg("index"));
  def.function(
      "scatter_add", "x: TensorLike, axis: int, index: TensorLike, src: TensorLike",
      "A copy of x with src[i, j] added at [index[i, j], j] for axis 0, and so on.",
      [](const T& x, std::int64_t axis, const T& i, const T& s) { return scatter_add(x, axis, i, s); }, arg("x"),
      arg("axis"), arg("index"), arg("src"));
  def.function(
      "index_add", "x: TensorLike, axis: int, index: TensorLike, src: TensorLike",
      "A copy of x with slice i of src along `axis` added to slice index[i].",
      [](const T& x, std::int64_t axis, const T& i, const T& s) { return index_add(x, axis, i, s); }, arg("x"),
      arg("axis"), arg("index"), arg("src"));
  def.function(
      "index_update", "x: TensorLike, key: Any, value: TensorLike", "A copy of x with x[key] = value.",
      [](const T& x, const O& key, const T& v) { return set_item(x, key.ptr(), v, false); }, arg("x"), arg("key"),
      arg("value"));
  def.function(
      "index_increment", "x: TensorLike, key: Any, value: TensorLike",
      "A copy of x with x[key] += value; repeated indices add up.",
      [](const T& x, const O& key, const T& v) { return set_item(x, key.ptr(), v, true); }, arg("x"), arg("key"),
      arg("value"));
  def.function_returning(
      "nonzero", "x: TensorLike", "tuple[Tensor, ...]",
      "Indices of the elements that are not 0, one int64 vector per axis.",
      [](const T& x) {
        return py::tuple(py::cast(nonzero(x.dtype() == DType::Bool ? x : not_equal(x, zeros_like(x)))));
      },
      arg("x"));

  // Selection and conversion.
  def.function(
      "where", "cond: TensorLike, x: TensorLike, y: TensorLike", "cond ? x : y, elementwise.",
      [](const T& c, const O& x, const O& y) {
        const auto [a, b] = operands("where", x.ptr(), y.ptr());
        return where(c, a, b);
      },
      arg("cond"), arg("x"), arg("y"));
  def.both(
      "clip", "x: TensorLike, ", "lo: TensorLike | None = None, hi: TensorLike | None = None", "Limits x to [lo, hi].",
      [](const T& x, const O& lo, const O& hi) {
        auto bound = [&](const O& o) {
          Tensor t;
          if (!o.is_none() && !weak_scalar(o.ptr(), x.dtype(), t)) t = o.cast<T>();
          return t;
        };
        return clip(x, bound(lo), bound(hi));
      },
      arg("x"), arg("lo") = none, arg("hi") = none);
  def.function(
      "cast", "x: TensorLike, dtype: DTypeLike", "x converted to another dtype.",
      [](const T& x, const O& t) { return cast(x, as_dtype(t)); }, arg("x"), arg("dtype"));
  def.function(
      "to_device", "x: TensorLike, device: str", "x on a device, 'CPU' or 'GPU'; itself if it is there.",
      [](const T& x, const std::string& device) { return to_device(x, as_device(device)); }, arg("x"), arg("device"));
  def.method(
      "to", "device: str",
      "The tensor on a device, 'CPU' or 'GPU'; itself if it is there. Raises DeviceError if the device is missing.",
      [](const T& x, const std::string& device) { return to_device(x, as_device(device)); }, arg("device"));
  def.method(
      "astype", "dtype: DTypeLike", "The tensor converted to another dtype.",
      [](const T& x, const O& t) { return cast(x, as_dtype(t)); }, arg("dtype"));
  def.function(
      "stop_gradient", "x: TensorLike", "x, with derivative zero in every mode.",
      [](const T& x) { return stop_gradient(x); }, arg("x"));

  // Creation.
  def.function(
      "zeros", "shape: int | Sequence[int], dtype: DTypeLike | None = None", "Zeros; float32 by default.",
      [](const O& s, const O& t) { return zeros(dims_from(s), float_dtype(t), default_device); }, arg("shape"),
      arg("dtype") = none);
  def.function(
      "ones", "shape: int | Sequence[int], dtype: DTypeLike | None = None", "Ones; float32 by default.",
      [](const O& s, const O& t) { return ones(dims_from(s), float_dtype(t), default_device); }, arg("shape"),
      arg("dtype") = none);
  def.function(
      "full", "shape: int | Sequence[int], value: float, dtype: DTypeLike | None = None",
      "A constant; float32 by default for a float, int64 for an integer.",
      [](const O& s, const O& v, const O& t) {
        const Tensor x = tensor_from(v, dtype_from(t));
        return broadcast_to(x, dims_from(s));
      },
      arg("shape"), arg("value"), arg("dtype") = none);
  def.function(
      "zeros_like", "x: TensorLike", "Zeros of x's shape and dtype.", [](const T& x) { return zeros_like(x); },
      arg("x"));
  def.function(
      "ones_like", "x: TensorLike", "Ones of x's shape and dtype.", [](const T& x) { return ones_like(x); }, arg("x"));
  def.function(
      "full_like", "x: TensorLike, value: float", "A constant of x's shape and dtype.",
      [](const T& x, double v) { return full(x.shape(), v, x.dtype(), x.device()); }, arg("x"), arg("value"));
  def.function(
      "arange", "start: float, stop: float | None = None, step: float = 1, dtype: DTypeLike | None = None",
      "Numbers from start (0 when only one is given) up to, not including, stop; int64 if all are integers.",
      [](const O& a, const O& b, const O& step, const O& t) {
        const bool floats = PyFloat_Check(a.ptr()) || PyFloat_Check(b.ptr()) || PyFloat_Check(step.ptr());
        const DType dtype = dtype_from(t).value_or(floats ? DType::Float32 : DType::Int64);
        const double first = a.cast<double>();
        return b.is_none() ? arange(0, first, step.cast<double>(), dtype, default_device)
                           : arange(first, b.cast<double>(), step.cast<double>(), dtype, default_device);
      },
      arg("start"), arg("stop") = none, arg("step") = 1, arg("dtype") = none);
  def.function(
      "linspace", "start: float, stop: float, num: int = 50, dtype: DTypeLike | None = None",
      "`num` numbers evenly spaced over [start, stop].",
      [](double a, double b, std::int64_t n, const O& t) { return linspace(a, b, n, float_dtype(t), default_device); },
      arg("start"), arg("stop"), arg("num") = 50, arg("dtype") = none);
  def.function(
      "eye", "n: int, m: int | None = None, offset: int = 0, dtype: DTypeLike | None = None",
      "Ones on a diagonal, zeros elsewhere.",
      [](std::int64_t n, std::optional<std::int64_t> c, std::int64_t k, const O& t) {
        return eye(n, c.value_or(-1), k, float_dtype(t), default_device);
      },
      arg("n"), arg("m") = none, arg("offset") = 0, arg("dtype") = none);
  def.function(
      "uniform", "shape: int | Sequence[int], seed: int, dtype: DTypeLike | None = None",
      "Uniform random numbers on [0, 1) (Philox4x32-10); the same seed gives the same numbers.",
      [](const O& s, std::uint64_t seed, const O& t) {
        return uniform(dims_from(s), seed, float_dtype(t), default_device);
      },
      arg("shape"), arg("seed"), arg("dtype") = none);
  def.function(
      "standard_normal", "shape: int | Sequence[int], seed: int, dtype: DTypeLike | None = None",
      "Standard normal random numbers (Philox4x32-10); the same seed gives the same numbers.",
      [](const O& s, std::uint64_t seed, const O& t) {
        return standard_normal(dims_from(s), seed, float_dtype(t), default_device);
      },
      arg("shape"), arg("seed"), arg("dtype") = none);

  // Linear algebra.
  def.function(
      "cholesky", "a: TensorLike", "Lower Cholesky factor of symmetric positive definite matrices.",
      [](const T& a) { return cholesky(a); }, arg("a"));
  def.function(
      "solve_triangular",
      "a: TensorLike, b: TensorLike, lower: bool = True, transpose: bool = False, unit_diagonal: bool = False",
      "Solves a x = b (aᵀ x = b with `transpose`) for triangular a.",
      [](const T& a, const T& b, bool lower, bool tr, bool unit) { return solve_triangular(a, b, lower, tr, unit); },
      arg("a"), arg("b"), arg("lower") = true, arg("transpose") = false, arg("unit_diagonal") = false);
  def.function(
      "solve", "a: TensorLike, b: TensorLike", "Solves a x = b by LU factorisation.",
      [](const T& a, const T& b) { return solve(a, b); }, arg("a"), arg("b"));
  def.function("inv", "a: TensorLike", "Inverse of each matrix.", [](const T& a) { return inv(a); }, arg("a"));
  def.function("det", "a: TensorLike", "Determinant of each matrix.", [](const T& a) { return det(a); }, arg("a"));
  def.function_returning(
      "slogdet", "a: TensorLike", "tuple[Tensor, Tensor]", "Sign of the determinant and log of its absolute value.",
      [](const T& a) { return slogdet(a); }, arg("a"));

  // To Python and NumPy.
  define_exports(def);
}

}  // namespace evolute::python
