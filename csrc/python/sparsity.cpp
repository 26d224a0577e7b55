// Sparsity patterns and colours as NumPy arrays.
#include "evolute/sparsity.h"

#include <pybind11/numpy.h>

#include "python/bindings.h"

namespace evolute::python {

namespace {

template <class T>
py::array_t<T> array_of(const std::vector<T>& values) {
  return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
}
template <class T>
std::vector<T> vector_of(const py::array_t<T, py::array::c_style | py::array::forcecast>& a) {
  return {a.data(), a.data() + a.size()};
}
using Starts = py::array_t<std::int64_t, py::array::c_style | py::array::forcecast>;
using Columns = py::array_t<std::int32_t, py::array::c_style | py::array::forcecast>;

py::tuple sparsity_function(const py::function& fn, const py::handle x) {
  const Sparsity p = jacobian_sparsity(
      [&](const TensorList& in) { return TensorList{value_of(fn(wrapped(in[0])).ptr())}; }, {value_of(x.ptr())});
  return py::make_tuple(array_of(p.start), array_of(p.columns));
}

py::tuple color_function(const Starts& start, const Columns& columns, std::int64_t n_columns, bool symmetric) {
  const Sparsity pattern{n_columns, vector_of<std::int64_t>(start), vector_of<std::int32_t>(columns)};
  const std::vector<std::int32_t> colors = symmetric ? color_symmetric(pattern) : color_columns(pattern);
  return py::make_tuple(array_of(colors), array_of(places_of(pattern, colors)));
}

}  // namespace

void define_sparsity(py::module_& m) {
  using py::arg;
  m.def("jacobian_sparsity", sparsity_function, arg("fn"), arg("x"),
        "jacobian_sparsity(fn: Callable[[Tensor], Tensor], x: Tensor) -> tuple[NDArray[Any], NDArray[Any]]\n\n"
        "Where each row of the pattern begins, and its columns.");
  m.def("color", color_function, arg("start"), arg("columns"), arg("n_columns"), arg("symmetric"),
        "color(start: NDArray[Any], columns: NDArray[Any], n_columns: int, symmetric: bool) -> tuple[NDArray[Any], "
        "NDArray[Any]]\n\nA colour for each column, and where each element shows in the products.");
}

}  // namespace evolute::python
