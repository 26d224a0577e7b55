// Helpers of the bindings, and the parts that make up the module.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include "python/py_tensor.h"

namespace evolute::python {

// Defines functions and methods whose docstrings begin with a typed signature, from which the type stubs are made.
class Methods {
 public:
  explicit Methods(py::module_& m) : module_(m), type_(reinterpret_cast<PyObject*>(tensor_type)) {}

  template <class F, class... Extra>
  void function_returning(const char* name, const std::string& args, const char* result, const char* text, F f,
                          const Extra&... extra) {
    module_.def(name, f, extra..., doc(name, args, result, text).c_str());
  }
  template <class F, class... Extra>
  void function(const char* name, const std::string& args, const char* text, F f, const Extra&... extra) {
    function_returning(name, args, "Tensor", text, f, extra...);
  }
  template <class F, class... Extra>
  void method_returning(const char* name, const std::string& args, const char* result, const char* text, F f,
                        const Extra&... extra) {
    type_.attr(name) =
        py::cpp_function(f, py::name(name), py::is_method(type_), extra..., doc(name, args, result, text).c_str());
  }
  template <class F, class... Extra>
  void method(const char* name, const std::string& args, const char* text, F f, const Extra&... extra) {
    method_returning(name, args, "Tensor", text, f, extra...);
  }
  // A function, and the method of the same name whose `self` is its first argument.
  template <class F, class First, class... Extra>
  void both_returning(const char* name, const std::string& first, const std::string& rest, const char* result,
                      const char* text, F f, const First& x, const Extra&... extra) {
    function_returning(name, first + rest, result, text, f, x, extra...);
    method_returning(name, rest, result, text, f, extra...);
  }
  template <class F, class First, class... Extra>
  void both(const char* name, const std::string& first, const std::string& rest, const char* text, F f, const First& x,
            const Extra&... extra) {
    both_returning(name, first, rest, "Tensor", text, f, x, extra...);
  }

  py::module_& module() { return module_; }
  py::handle type() const { return type_; }

 private:
  static std::string doc(const char* name, const std::string& args, const char* result, const char* text) {
    return std::string(name) + "(" + args + ") -> " + result + "\n\n" + text;
  }
  py::module_& module_;
  py::handle type_;
};

void define_errors(py::module_& m);
void define_ops(py::module_& m);
void define_exports(Methods& def);
void define_table(py::module_& m);
void define_transforms(py::module_& m);
void define_batch(py::module_& m);
void define_compiled(py::module_& m);
void define_control(py::module_& m);
void define_custom(py::module_& m);
void define_sparsity(py::module_& m);

}  // namespace evolute::python
