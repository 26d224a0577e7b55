// vmap over Python functions.
#include "autodiff/batch.h"

#include <pybind11/stl.h>

#include "python/bindings.h"
#include "python/tree.h"

namespace evolute::python {

namespace {

using Axis = std::optional<std::int64_t>;

Axis axis_from(py::handle o, const char* role) {
  if (o.is_none()) return {};
  if (!PyLong_Check(o.ptr()) || PyBool_Check(o.ptr()))
    throw DTypeError(cat("vmap: ", role, " must be made of integers and None, got ", Py_TYPE(o.ptr())->tp_name));
  return o.cast<std::int64_t>();
}

bool is_number(py::handle o) { return PyFloat_Check(o.ptr()) || PyLong_Check(o.ptr()); }

// The leaves of all arguments in order, and those that are mapped traced.
class Inputs {
 public:
  void add(py::handle argument, py::handle axes, const std::string& name) {
    std::size_t place = 0;
    const bool structure =
        PyTuple_Check(argument.ptr()) || PyList_CheckExact(argument.ptr()) || PyDict_Check(argument.ptr());
    match_leaves(
        argument, axes, "vmap", "in_axes",
        [&](py::handle leaf, py::handle a) {
          const std::string where = structure ? cat(name, ", leaf ", place) : name;
          ++place;
          const Axis axis = axis_from(a, "in_axes");
          if (axis && is_number(leaf))
            throw ValueError(cat("vmap: in_axes has axis ", *axis, " for ", where, ", which is a number (",
                                 Py_TYPE(leaf.ptr())->tp_name, "); give None for what is the same for all examples"));
          leaves_.push_back({axis && is_array(leaf) ? tensor_from(leaf) : Tensor(), axis, where});
          if (!leaves_.back().value.defined()) leaves_.back().axis = {};
        },
        true);
  }
  // Keyword arguments: arrays along axis 0, all else as it is.
  void add_keyword(py::handle argument, const std::string& name) {
    visit_leaves(argument, [&](py::handle leaf) {
      if (is_array(leaf))
        leaves_.push_back({tensor_from(leaf), 0, name});
      else
        leaves_.push_back({});
    });
  }
  std::int64_t count() const { return count_examples(leaves_); }
  // The next argument, seen from inside.
  py::object traced(Batch& batch, py::handle argument) {
    return map_leaves(argument, [&](py::handle leaf) -> py::object {
      const MappedInput& m = leaves_[next_++];
      return m.axis ? wrapped(batch.trace(m.value, *m.axis)) : py::reinterpret_borrow<py::object>(leaf);
    });
  }

 private:
  std::vector<MappedInput> leaves_;
  std::size_t next_ = 0;
};

py::object vmap_function(const py::function& fn, const py::tuple& args, const py::dict& kwargs,
                         const py::object& in_axes, const py::object& out_axes) {
  const bool one_for_all = in_axes.is_none() || PyLong_Check(in_axes.ptr());
  if (!one_for_all && !PyTuple_Check(in_axes.ptr()) && !PyList_Check(in_axes.ptr()))
    throw DTypeError(cat("vmap: in_axes must be an integer, None, or a tuple with one entry per argument, got ",
                         Py_TYPE(in_axes.ptr())->tp_name));
  if (!one_for_all && py::len(in_axes) != args.size())
    throw ValueError(cat("vmap: in_axes has ", py::len(in_axes), " entries for ", args.size(),
                         " positional arguments; give one for each"));
  Inputs inputs;
  for (std::size_t i = 0; i < args.size(); ++i)
    inputs.add(args[i], one_for_all ? in_axes : py::object(in_axes[py::int_(i)]), cat("argument ", i));
  for (auto [key, value] : kwargs) inputs.add_keyword(value, cat("argument '", key.cast<std::string>(), "'"));

  const auto batch = make_ref<Batch>(inputs.count());
  LevelScope scope(*batch);
  py::tuple traced(args.size());
  for (std::size_t i = 0; i < args.size(); ++i) traced[i] = inputs.traced(*batch, args[i]);
  py::dict keywords;
  for (auto [key, value] : kwargs) keywords[key] = inputs.traced(*batch, value);
  const py::object out = fn(*traced, **keywords);

  std::vector<Axis> axes;
  match_leaves(
      out, out_axes, "vmap", "out_axes", [&](py::handle, py::handle a) { axes.push_back(axis_from(a, "out_axes")); },
      true);
  std::size_t next = 0;
  const bool single = axes.size() == 1;
  return map_leaves(out, [&](py::handle leaf) -> py::object {
    const Axis axis = axes[next++];
    if (leaf.is_none()) return py::none();
    if (!is_array(leaf) && !is_number(leaf))
      throw DTypeError(cat("vmap: the function must return tensors (or tuples, lists and dicts of them), not ",
                           Py_TYPE(leaf.ptr())->tp_name));
    const std::string name = single ? std::string("the output") : cat("output ", next - 1);
    return wrapped(leave_batch(*batch, tensor_from(leaf), axis, name));
  });
}

}  // namespace

void define_batch(py::module_& m) {
  using py::arg;
  m.def("vmap", vmap_function, arg("fn"), arg("args"), arg("kwargs"), arg("in_axes"), arg("out_axes"),
        "vmap(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], in_axes: Any, out_axes: Any) -> "
        "Any\n\nfn on many examples at once, which lie along the axes given.");
}

}  // namespace evolute::python
