// Compiled Python functions: signature, cache, recording and replay.
#include <pybind11/stl.h>

#include <unordered_map>

#include "graph/recorder.h"
#include "python/bindings.h"
#include "python/tree.h"

namespace evolute::python {

namespace {

// The signature of a call: a byte string in which tensors stand for their abstract values, numbers and strings for
// themselves, and all other objects for their identity. Collects what the replay needs on the way.
class Signature {
 public:
  explicit Signature(const py::tuple& args, const py::dict& kwargs) {
    add(args);
    add(kwargs);
  }
  std::string key;
  std::vector<Tensor> leaves;    // in order of appearance
  std::vector<py::object> held;  // objects whose identity is in the key

  // Whether an argument is an input of the graph.
  static bool is_dynamic(PyObject* o) {
    return (is_tensor(o) && !as_py_tensor(o)->variable) || (is_convertible(o) && !PyFloat_CheckExact(o) && !PyLong_Check(o));
  }

 private:
  template <class T>
  void put(char tag, T v) {
    key.push_back(tag);
    key.append(reinterpret_cast<const char*>(&v), sizeof v);
  }
  void add(py::handle h) {
    PyObject* o = h.ptr();
    if (is_dynamic(o)) {
      Tensor t = is_tensor(o) ? settle(value_of(o)) : tensor_from(h);
      put('T', static_cast<char>(t.dtype()));
      put('d', static_cast<char>(t.device().type));
      put('n', t.ndim());
      for (auto n : t.shape()) put(',', n);
      leaves.push_back(std::move(t));
    } else if (PyTuple_Check(o) || PyList_CheckExact(o)) {
      put(PyTuple_Check(o) ? '(' : '[', PySequence_Fast_GET_SIZE(o));
      if (is_named_tuple(o)) identity(py::type::handle_of(h));
      for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(o); ++i) add(PySequence_Fast_GET_ITEM(o, i));
    } else if (PyDict_Check(o)) {
      put('{', PyDict_GET_SIZE(o));
      PyObject *k, *v;
      for (Py_ssize_t at = 0; PyDict_Next(o, &at, &k, &v);) add(k), add(v);
    } else if (PyBool_Check(o) || o == Py_None) {
      identity(h);
    } else if (PyLong_CheckExact(o)) {
      text('i', py::str(h));
    } else if (PyFloat_CheckExact(o)) {
      put('f', PyFloat_AS_DOUBLE(o));
    } else if (PyUnicode_Check(o)) {
      text('s', h);
    } else {
      identity(h);
    }
  }
  void text(char tag, py::handle h) {
    const auto s = h.cast<std::string>();
    put(tag, s.size());
    key += s;
  }
  void identity(py::handle h) {
    put('o', h.ptr());
    held.push_back(py::reinterpret_borrow<py::object>(h));
  }
};

// A name outside the function's own scope that it refers to: it must still hold the same object.
struct Guard {
  py::object holder;  // closure cell, or the dictionary of globals
  py::object name;    // null for a cell
  py::object expected;

  bool holds() const {
    PyObject* now = name ? PyDict_GetItemWithError(holder.ptr(), name.ptr()) : PyCell_GET(holder.ptr());
    return now == expected.ptr();
  }
};

struct Entry {
  std::shared_ptr<const Graph> graph;  // null: this signature runs eagerly
  py::object structure;                // outputs, with undefined tensors in place of the graph's results
  std::vector<py::object> held;
};

class Compiled {
 public:
  Compiled(py::function fn, py::function on_record, py::function on_fallback, std::vector<py::tuple> guards)
      : fn_(std::move(fn)), on_record_(std::move(on_record)), on_fallback_(std::move(on_fallback)) {
    for (const py::tuple& g : guards)
      guards_.push_back({g[0], g[1].is_none() ? py::object() : py::object(g[1]), g[2]});
  }

  py::object call(const py::args& args, const py::kwargs& kwargs) {
    if (!at_top_level()) return fn_(*args, **kwargs);
    for (Guard& g : guards_)
      if (!g.holds()) return stale(args, kwargs);
    Signature signature(args, kwargs);
    auto at = entries_.find(signature.key);
    if (at != entries_.end() && at->second.graph && !variables_match(*at->second.graph)) {
      entries_.erase(at);
      at = entries_.end();
    }
    if (at == entries_.end()) {
      if (!record(signature, args, kwargs)) return fn_(*args, **kwargs);
      at = entries_.find(signature.key);
    }
    const Entry entry = at->second;  // a copy: the call may clear the cache
    if (!entry.graph) return fn_(*args, **kwargs);
    return replay(entry, signature.leaves);
  }

  void clear() { entries_.clear(); }
  std::size_t recorded() const { return entries_.size(); }
  std::string describe() const {
    std::string s;
    for (const auto& [key, e] : entries_) s += e.graph ? cat(*e.graph) : std::string("runs eagerly\n");
    return s;
  }

 private:
  // A guard broke: the graphs hold what the name used to mean.
  py::object stale(const py::args& args, const py::kwargs& kwargs) {
    clear();
    for (Guard& g : guards_) {
      PyObject* now = g.name ? PyDict_GetItemWithError(g.holder.ptr(), g.name.ptr()) : PyCell_GET(g.holder.ptr());
      g.expected = now ? py::reinterpret_borrow<py::object>(now) : py::none();
      if (!now) return fn_(*args, **kwargs);  // unbound name: let Python say so
    }
    return call(args, kwargs);
  }

  // Records one signature. False if nothing could be kept (the value of a tensor was needed).
  bool record(const Signature& signature, const py::args& args, const py::kwargs& kwargs) {
    Entry entry;
    entry.held = signature.held;
    try {
      Recording recording;
      std::size_t next = 0;
      auto symbolic = [&](py::handle o) -> py::object {
        if (!Signature::is_dynamic(o.ptr())) return py::reinterpret_borrow<py::object>(o);
        return wrapped(recording.input(signature.leaves[next++].aval()));
      };
      const py::object traced_args = map_leaves(args, symbolic);
      const py::object traced_kwargs = map_leaves(kwargs, symbolic);
      const py::object token = on_record_(true, py::none());
      py::object out;
      try {
        out = fn_(*py::tuple(traced_args), **py::dict(traced_kwargs));
      } catch (...) {
        on_record_(false, token);
        throw;
      }
      on_record_(false, token);
      std::vector<Tensor> outputs;
      entry.structure = map_leaves(out, [&](py::handle o) -> py::object {
        if (!is_tensor(o.ptr())) return py::reinterpret_borrow<py::object>(o);
        outputs.push_back(value_of(o.ptr()));
        return wrapped({});
      });
      entry.graph = recording.finish(outputs);
    } catch (py::error_already_set& e) {
      if (!e.matches(unknown_value())) throw;
      on_fallback_(fn_, e.value());
      entry.graph = nullptr;
    }
    if (entries_.size() >= kMaxEntries) entries_.clear();
    entries_[signature.key] = std::move(entry);
    return entries_[signature.key].graph != nullptr;
  }

  py::object replay(const Entry& entry, const std::vector<Tensor>& leaves) {
    const Graph& graph = *entry.graph;
    std::vector<Tensor> variables = read_variables(graph);
    std::vector<Tensor> results;
    {
      py::gil_scoped_release release;
      results = run(graph, leaves, variables);
    }
    write_variables(graph, results);
    std::size_t next = 0;
    return map_leaves(entry.structure, [&](py::handle o) -> py::object {
      return is_tensor(o.ptr()) ? wrapped(results[next++]) : py::reinterpret_borrow<py::object>(o);
    });
  }

  static PyObject* unknown_value() {
    static PyObject* type = py::object(py::module_::import("evolute._evolute").attr("UnknownValueError")).release().ptr();
    return type;
  }

  static constexpr std::size_t kMaxEntries = 256;

  py::function fn_, on_record_, on_fallback_;
  std::vector<Guard> guards_;
  std::unordered_map<std::string, Entry> entries_;
};

}  // namespace

void define_compiled(py::module_& m) {
  using py::arg;
  py::class_<Compiled>(m, "Compiled", "A function recorded once per signature and replayed without the interpreter.")
      .def(py::init<py::function, py::function, py::function, std::vector<py::tuple>>(), arg("fn"), arg("on_record"),
           arg("on_fallback"), arg("guards"),
           "__init__(fn: Callable[..., Any], on_record: Callable[[bool, Any], Any], on_fallback: Callable[[Any, "
           "BaseException], None], guards: list[tuple[Any, Any, Any]]) -> None")
      .def("__call__", &Compiled::call, "__call__(*args: Any, **kwargs: Any) -> Any")
      .def("clear", &Compiled::clear, "clear() -> None\n\nForgets all recorded graphs.")
      .def_property_readonly("recorded", &Compiled::recorded, "recorded: int\n\nNumber of signatures known.")
      .def("describe", &Compiled::describe, "describe() -> str\n\nThe recorded graphs as text.");
  m.def("at_top_level", at_top_level,
        "at_top_level() -> bool\n\nTrue when no transform and no recording is active on this thread.");
  m.def("is_recording", [] { return thread_state.recorder != nullptr; },
        "is_recording() -> bool\n\nTrue while a graph is being recorded on this thread.");
}

}  // namespace evolute::python
