// Compiled Python functions: signature, cache, recording and replay.
#include <pybind11/stl.h>

#include <algorithm>
#include <bit>
#include <optional>
#include <sstream>
#include <unordered_map>

#include "graph/explain.h"
#include "graph/rewrite.h"
#include "python/bindings.h"
#include "python/tree.h"

namespace evolute::python {

namespace {

// The signature of a call: a byte string in which tensors stand for their abstract values, numbers and strings for
// themselves, and all other objects for their identity. Collects what the replay needs on the way.
class Signature {
 public:
  Signature(const py::tuple& args, const py::dict& kwargs) {
    add(args);
    add(kwargs);
  }
  std::string key;
  std::vector<Tensor> leaves;    // in order of appearance
  std::vector<py::object> held;  // objects whose identity is in the key
  bool concrete = true;          // false if a tensor belongs to a transform or recording elsewhere

  // Whether an argument is an input of the graph.
  static bool is_dynamic(PyObject* o) {
    return (is_tensor(o) && !as_py_tensor(o)->variable) ||
           (is_convertible(o) && !PyFloat_CheckExact(o) && !PyLong_Check(o));
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
      concrete = concrete && !t.value()->level();
      leaves.push_back(std::move(t));
    } else if (PyTuple_Check(o) || PyList_CheckExact(o)) {
      put(PyTuple_Check(o) ? '(' : '[', PySequence_Fast_GET_SIZE(o));
      if (PyTuple_Check(o) && !PyTuple_CheckExact(o)) identity(py::type::handle_of(h));
      for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(o); ++i) add(PySequence_Fast_GET_ITEM(o, i));
    } else if (PyDict_Check(o)) {
      put('{', PyDict_GET_SIZE(o));
      if (!PyDict_CheckExact(o)) identity(py::type::handle_of(h));
      PyObject *k, *v;
      for (Py_ssize_t at = 0; PyDict_Next(o, &at, &k, &v);) add_static(k), add(v);
    } else {
      add_static(h);
    }
  }
  void add_static(py::handle h) {
    PyObject* o = h.ptr();
    if (PyLong_CheckExact(o)) {
      text('i', py::str(h));
    } else if (PyFloat_CheckExact(o)) {
      put('f', PyFloat_AS_DOUBLE(o));
    } else if (PyUnicode_CheckExact(o)) {
      text('s', h);
    } else if (PyComplex_CheckExact(o) || PyBytes_CheckExact(o) || PyRange_Check(o)) {
      identity(py::type::handle_of(h));
      text('r', py::repr(h));
    } else if (PySlice_Check(o)) {
      for (const char* part : {"start", "stop", "step"}) add_static(h.attr(part));
    } else if (py::isinstance<DType>(h)) {  // made anew each time somebody asks a tensor for it
      put('t', h.cast<DType>());
    } else {
      identity(h);
    }
  }
  void text(char tag, py::handle h) {
    Py_ssize_t n = 0;
    const char* s = PyUnicode_AsUTF8AndSize(h.ptr(), &n);
    if (!s) {  // lone surrogates
      PyErr_Clear();
      return identity(h);
    }
    put(tag, n);
    key.append(s, static_cast<std::size_t>(n));
  }
  void identity(py::handle h) {
    put('o', h.ptr());
    held.push_back(py::reinterpret_borrow<py::object>(h));
  }
};

// Something outside the function that it was recorded with: it must still be the same object.
struct Guard {
  py::object holder;  // closure cell, list, or dictionary
  py::object key;     // null for a cell; None for the length of a list or dictionary
  py::object expected;

  static Guard from(const py::tuple& t) {
    const py::object holder = t[0];
    const bool cell = PyCell_Check(holder.ptr());
    if (!cell && !PyDict_Check(holder.ptr()) && !PyList_Check(holder.ptr()))
      throw py::type_error("on_record: what holds a dependency must be a closure cell, a dict or a list");
    return {holder, cell ? py::object() : py::object(t[1]), t[2]};
  }
  bool holds() const {
    PyObject* o = holder.ptr();
    if (!key) return same(PyCell_GET(o));
    if (key.is_none())
      return (PyDict_Check(o) ? PyDict_GET_SIZE(o) : PyList_GET_SIZE(o)) == PyLong_AsSsize_t(expected.ptr());
    if (PyDict_Check(o)) {
      PyObject* now = PyDict_GetItemWithError(o, key.ptr());
      if (!now) PyErr_Clear();
      return same(now);
    }
    const Py_ssize_t i = PyLong_AsSsize_t(key.ptr());
    return i < PyList_GET_SIZE(o) && same(PyList_GET_ITEM(o, i));
  }

 private:
  bool same(PyObject* now) const {
    PyObject* then = expected.ptr();
    if (now == then) return true;
    if (!now || Py_TYPE(now) != Py_TYPE(then)) return false;
    if (PyFloat_CheckExact(now))
      return std::bit_cast<std::uint64_t>(PyFloat_AS_DOUBLE(now)) ==
             std::bit_cast<std::uint64_t>(PyFloat_AS_DOUBLE(then));
    return (PyLong_CheckExact(now) || PyUnicode_CheckExact(now)) && PyObject_RichCompareBool(now, then, Py_EQ) == 1;
  }
};

// An object whose address is in a signature. Where possible it is referred to weakly, so that a function does not keep
// everything alive that it was ever called with; its address may then come to mean another object.
class Held {
 public:
  explicit Held(const py::object& o)
      : o_(py::reinterpret_steal<py::object>(PyWeakref_NewRef(o.ptr(), nullptr))), weak_(o_) {
    if (weak_) return;
    PyErr_Clear();
    o_ = o;
  }
  bool alive() const {
    if (!weak_) return true;
#if PY_VERSION_HEX >= 0x030D0000
    PyObject* o = nullptr;
    const bool found = PyWeakref_GetRef(o_.ptr(), &o) == 1;
    Py_XDECREF(o);
    return found;
#else
    return PyWeakref_GetObject(o_.ptr()) != Py_None;
#endif
  }
  PyObject* ptr() const { return o_.ptr(); }

 private:
  py::object o_;
  bool weak_;
};

struct Entry {
  std::shared_ptr<const Plan> plan;  // null: this signature runs eagerly
  py::object structure;              // outputs, with undefined tensors in place of the graph's results
  std::vector<Held> held;

  bool alive() const {
    return std::all_of(held.begin(), held.end(), [](const Held& h) { return h.alive(); });
  }
};

bool is_result(py::handle o) { return is_tensor(o.ptr()) && !as_py_tensor(o.ptr())->variable; }

class Compiled {
 public:
  Compiled(py::function fn, py::function on_record, py::function on_fallback,
           std::optional<std::vector<std::string>> passes)
      : fn_(std::move(fn)),
        on_record_(std::move(on_record)),
        on_fallback_(std::move(on_fallback)),
        passes_(std::move(passes)) {}

  py::object call(const py::args& args, const py::kwargs& kwargs) {
    if (!at_top_level()) return fn_(*args, **kwargs);
    if (epoch_ != mutation_epoch || !std::all_of(guards_.begin(), guards_.end(), [](auto& g) { return g.holds(); }))
      clear();
    const Signature signature(args, kwargs);
    if (!signature.concrete) return fn_(*args, **kwargs);
    auto at = entries_.find(signature.key);
    if (at != entries_.end() &&
        (!at->second.alive() || (at->second.plan && !variables_match(at->second.plan->graph())))) {
      const Entry stale = std::move(at->second);  // destroyed last, as that may run Python code
      entries_.erase(at);
      at = entries_.end();
    }
    if (at != entries_.end()) {
      const Entry entry = at->second;  // a copy: the call may clear the cache
      return entry.plan ? replay(entry, signature.leaves) : fn_(*args, **kwargs);
    }
    std::optional<py::error_already_set> unknown;
    try {
      const Entry entry = record(signature, args, kwargs);
      keep(signature.key, entry);
      return replay(entry, signature.leaves);
    } catch (py::error_already_set& e) {
      if (!e.matches(unknown_value())) throw;
      unknown.emplace(e);
    }
    if (unknown->trace()) PyException_SetTraceback(unknown->value().ptr(), unknown->trace().ptr());
    py::object result = on_fallback_(unknown->value(), args, kwargs);
    keep(signature.key, {nullptr, {}, held(signature)});
    return result;
  }

  void clear() {
    epoch_ = mutation_epoch;
    // Out of the way before they are destroyed: that may run Python code.
    const auto entries = std::exchange(entries_, {});
    const auto guards = std::exchange(guards_, {});
  }
  std::size_t recorded() const { return entries_.size(); }
  // What each recording does, by one of the functions of graph/explain.h; those that run eagerly are left out.
  std::vector<std::string> described(void (*write)(std::ostream&, const Plan&)) const {
    std::vector<std::string> all;
    for (const auto& [key, e] : entries_) {
      if (!e.plan) continue;
      std::ostringstream s;
      write(s, *e.plan);
      all.push_back(std::move(s).str());
    }
    return all;
  }

  template <class F>
  int visit_references(F&& visit) {
    for (PyObject* o : {fn_.ptr(), on_record_.ptr(), on_fallback_.ptr()})
      if (int r = visit(o)) return r;
    for (const Guard& g : guards_)
      for (PyObject* o : {g.holder.ptr(), g.key.ptr(), g.expected.ptr()})
        if (int r = visit(o)) return r;
    for (const auto& [key, e] : entries_) {
      if (int r = visit(e.structure.ptr())) return r;
      for (const Held& o : e.held)
        if (int r = visit(o.ptr())) return r;
    }
    return 0;
  }
  void drop_references() {
    clear();
    const auto fn = std::exchange(fn_, {}), on_record = std::exchange(on_record_, {}),
               on_fallback = std::exchange(on_fallback_, {});
  }

 private:
  // Tells the Python layer that a recording is going on, for a scope.
  class Announcement {
   public:
    explicit Announcement(const py::function& on_record) : on_record_(on_record) { on_record_(true, py::list()); }
    ~Announcement() {
      if (done_) return;
      py::error_scope keep;  // what ended the recording goes on
      try {
        on_record_(false, py::list());
      } catch (py::error_already_set&) {
      }
    }
    py::list finish(const std::vector<py::object>& static_arguments) {
      done_ = true;
      return on_record_(false, py::cast(static_arguments));
    }

   private:
    const py::function& on_record_;
    bool done_ = false;
  };

  Entry record(const Signature& signature, const py::args& args, const py::kwargs& kwargs) {
    Entry entry;
    entry.held = held(signature);
    Announcement announcement(on_record_);
    Recording recording;
    std::size_t next = 0;
    auto symbolic = [&](py::handle o) -> py::object {
      if (!Signature::is_dynamic(o.ptr())) return py::reinterpret_borrow<py::object>(o);
      return wrapped(recording.input(signature.leaves[next++].aval()));
    };
    const py::tuple traced_args = map_leaves(args, symbolic);
    const py::dict traced_kwargs = map_leaves(kwargs, symbolic);
    const py::object out = fn_(*traced_args, **traced_kwargs);
    std::vector<Tensor> outputs;
    entry.structure = map_leaves(out, [&](py::handle o) -> py::object {
      if (!is_result(o)) return py::reinterpret_borrow<py::object>(o);
      outputs.push_back(value_of(o.ptr()));
      return wrapped({});
    });
    std::shared_ptr<Graph> graph = recording.finish(outputs);
    entry.plan = passes_ ? compile(std::move(graph), *passes_) : compile(std::move(graph));
    std::vector<Guard> guards;
    for (py::handle g : announcement.finish(signature.held)) guards.push_back(Guard::from(g.cast<py::tuple>()));
    std::swap(guards_, guards);
    epoch_ = mutation_epoch;
    return entry;
  }

  static std::vector<Held> held(const Signature& signature) { return {signature.held.begin(), signature.held.end()}; }

  void keep(const std::string& key, Entry entry) {
    if (entries_.size() >= kMaxEntries) clear();
    std::vector<Entry> dead;
    for (auto at = entries_.begin(); at != entries_.end();) {
      const auto next = std::next(at);
      if (!at->second.alive()) dead.push_back(std::move(entries_.extract(at).mapped()));
      at = next;
    }
    std::swap(entries_[key], entry);
  }

  py::object replay(const Entry& entry, const std::vector<Tensor>& leaves) {
    const Graph& graph = entry.plan->graph();
    std::vector<Tensor> variables = read_variables(graph);
    std::vector<Tensor> results;
    {
      py::gil_scoped_release release;
      results = entry.plan->run(leaves, variables);
    }
    write_variables(graph, results);
    std::size_t next = 0;
    return map_leaves(entry.structure, [&](py::handle o) -> py::object {
      return is_result(o) ? wrapped(results[next++]) : py::reinterpret_borrow<py::object>(o);
    });
  }

  static PyObject* unknown_value() {
    static PyObject* type =
        py::object(py::module_::import("evolute._evolute").attr("UnknownValueError")).release().ptr();
    return type;
  }

  static constexpr std::size_t kMaxEntries = 256;

  py::function fn_, on_record_, on_fallback_;
  const std::optional<std::vector<std::string>> passes_;
  std::vector<Guard> guards_;  // of all entries
  std::unordered_map<std::string, Entry> entries_;
  std::uint64_t epoch_ = mutation_epoch;
};

// Compiled functions refer to Python objects that refer back to them, so that the garbage collector must see through
// them.
void set_up_collection(PyHeapTypeObject* heap_type) {
  PyTypeObject* type = &heap_type->ht_type;
  type->tp_flags |= Py_TPFLAGS_HAVE_GC;
  type->tp_traverse = [](PyObject* self, visitproc visit, void* arg) -> int {
    Py_VISIT(Py_TYPE(self));
    if (!py::detail::is_holder_constructed(self)) return 0;
    return py::cast<Compiled&>(py::handle(self)).visit_references([&](PyObject* o) { return o ? visit(o, arg) : 0; });
  };
  type->tp_clear = [](PyObject* self) -> int {
    if (py::detail::is_holder_constructed(self)) py::cast<Compiled&>(py::handle(self)).drop_references();
    return 0;
  };
}

}  // namespace

void define_compiled(py::module_& m) {
  using py::arg;
  py::class_<Compiled>(m, "Compiled", "A function recorded once per signature and replayed without the interpreter.",
                       py::custom_type_setup(set_up_collection))
      .def(py::init<py::function, py::function, py::function, std::optional<std::vector<std::string>>>(), arg("fn"),
           arg("on_record"), arg("on_fallback"), arg("passes") = py::none(),
           "__init__(fn: Callable[..., Any], on_record: Callable[[bool, list[Any]], list[tuple[Any, Any, Any]]], "
           "on_fallback: "
           "Callable[[BaseException, tuple[Any, ...], dict[str, Any]], Any], passes: Sequence[str] | None = None) -> "
           "None\n\n"
           "on_record(True, []) is called before fn is recorded and on_record(False, static arguments) after it; the "
           "latter "
           "returns what the recording depends on: (closure cell, None, content), (dict or list, key, item) or (dict "
           "or list, None, length).\n"
           "on_fallback(error, args, kwargs) runs a function that cannot be recorded.\n"
           "passes: names of those to run; all by default.")
      .def("__call__", &Compiled::call, "__call__(*args: Any, **kwargs: Any) -> Any")
      .def("clear", &Compiled::clear, "clear() -> None\n\nForgets all recorded graphs.")
      .def_property_readonly("recorded", &Compiled::recorded, "recorded: int\n\nNumber of signatures known.")
      .def(
          "explain", [](const Compiled& c) { return c.described(explain); },
          "explain() -> list[str]\n\nOf each recording: the passes, the graph, the steps and the memory.")
      .def(
          "to_dot", [](const Compiled& c) { return c.described(write_dot); },
          "to_dot() -> list[str]\n\nDrawings of the recordings in the language of Graphviz.");
  m.def("at_top_level", at_top_level,
        "at_top_level() -> bool\n\nTrue when no transform and no recording is active on this thread.");
  m.def(
      "is_recording", [] { return thread_state.recorder != nullptr; },
      "is_recording() -> bool\n\nTrue while a graph is being recorded on this thread.");
}

}  // namespace evolute::python
