#include "evolute/tensor.h"

#include <charconv>
#include <cmath>
#include <cstring>
#include <ostream>
#include <type_traits>

#include "core/array.h"
#include "core/backend.h"
#include "core/level.h"

namespace evolute {
namespace {

// Row-major in host memory, of `dtype`.
Ref<Array> on_host(const Array& a, DType dtype) {
  if (a.contiguous() && a.dtype() == dtype && a.on_host()) return Ref<Array>(const_cast<Array*>(&a));
  Ref<Array> out = empty({a.shape(), dtype, Device{}});
  copy_array(a, *out);
  return out;
}

}  // namespace

const Array& Tensor::array() const {
  if (!defined()) throw TraceError("an undefined tensor has no value");
  const Tensor* t = this;
  while (Level* level = t->value()->level()) {
    if (level->is_recorder())
      throw UnknownValueError(
          cat("the value of a tensor (", aval(),
              ") is not known while a function is being recorded for graph mode; in place of Python ",
              "control flow use ops.cond or ops.where to choose, ops.while_loop, ops.fori_loop or ops.scan to repeat"));
    if (level->is_batch())
      throw TraceError(cat("a tensor (", aval(),
                           ") inside vmap has a value per example, not one value; use ops.cond or ",
                           "ops.where in place of Python control flow, or take the value outside vmap"));
    t = &static_cast<const Traced*>(t->value())->inner;
  }
  return *static_cast<const Array*>(t->value());
}

double Tensor::item() const {
  const Array& a = array();
  if (a.size() != 1) throw ShapeError(cat("item: needs a tensor with one element, got shape ", shape()));
  const Ref<Array> host = on_host(a, a.dtype());
  return dispatch(a.dtype(),
                  [&](auto tag) { return static_cast<double>(*host->data<typename decltype(tag)::type>()); });
}

std::vector<double> Tensor::to_vector() const {
  const Ref<Array> host = on_host(array(), float64);
  return {host->data<double>(), host->data<double>() + host->size()};
}

Tensor tensor(std::span<const double> values, const Shape& shape, DType dtype) {
  const auto n = static_cast<std::int64_t>(values.size());
  if (std::any_of(shape.begin(), shape.end(), [](auto d) { return d < 0; }) || shape.product() != n)
    throw ShapeError(cat("tensor: ", n, n == 1 ? " value does" : " values do", " not fill shape ", shape));
  Ref<Array> a = empty({shape, float64});
  std::copy(values.begin(), values.end(), a->data<double>());
  if (dtype == float64) return to_tensor(std::move(a));
  Ref<Array> out = empty({shape, dtype});
  backend(DeviceType::CPU).copy(*a, *out);
  return to_tensor(std::move(out));
}

Tensor scalar(double value, DType dtype) {
  if (!is_floating(dtype)) return tensor({&value, 1}, {}, dtype);
  Ref<Array> a = empty({{}, dtype});
  dispatch_floating(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    *a->data<T>() = static_cast<T>(value);
  });
  return to_tensor(std::move(a));
}

Tensor Variable::get() const {
  if (Bindings* b = thread_state.bindings) return b->get(const_cast<Variable&>(*this));
  return value_;
}

void Variable::set(Tensor value) {
  const std::string who = name_.empty() ? "a variable" : cat("variable '", name_, "'");
  if (!value.defined()) throw ShapeError(cat(who, " cannot be set to an undefined tensor"));
  if (value_.defined()) {
    if (value.shape() != value_.shape())
      throw ShapeError(
          cat(who, " has shape ", value_.shape(), " and cannot be set to a value of shape ", value.shape()));
    if (value.dtype() != value_.dtype())
      throw DTypeError(cat(who, " has dtype ", name_of(value_.dtype()), " and cannot be set to a value of dtype ",
                           name_of(value.dtype()), "; cast it first"));
  }
  if (is_per_example(value))
    throw TraceError(cat(who, " cannot be set inside vmap to a value per example, as it holds one value; return that ",
                         "from the function, or set it to a value that is the same for all"));
  const Tensor& settled = settle(value);
  if (const Level* level = settled.value()->level(); level && !level->live())
    throw TraceError(cat(who, " cannot be set to a value of a recording that has ended"));
  if (Bindings* b = thread_state.bindings)
    b->set(*this, std::move(value));
  else
    value_ = settled;
}

// Printing, by NumPy's rules: the shortest digits that give the value back, at most eight after the point, columns
// aligned at the point.
namespace {

constexpr int kDigits = 8;

template <class T>
std::string digits(T x, std::chars_format format) {
  char buffer[400];
  auto end = std::to_chars(buffer, std::end(buffer), x, format).ptr;
  const auto decimals = [&] {
    const auto point = std::find(buffer, end, '.');
    return std::find(point, end, 'e') - point - 1;
  };
  if (decimals() > kDigits) end = std::to_chars(buffer, std::end(buffer), x, format, kDigits).ptr;
  std::string text(buffer, end);
  const std::size_t e = std::min(text.find('e'), text.size());
  const std::size_t point = text.find('.');
  if (point == std::string::npos) return text.insert(e, ".");
  const std::size_t last = text.find_last_not_of('0', e - 1);
  return text.erase(last + 1, e - last - 1);
}

// Lengths of the parts before and after the point; text without a point ("nan", integers) has none after.
struct Widths {
  std::size_t left = 0, right = 0, whole = 0;
};

struct Cells {
  std::vector<std::string> text;

  // Pads every cell to one width: points aligned, exponents in line.
  void align(bool scientific) {
    Widths w;
    for (const auto& t : text) {
      const std::size_t point = t.find('.'), e = std::min(t.find('e'), t.size());
      if (point != std::string::npos) {
        w.left = std::max(w.left, point);
        w.right = std::max(w.right, (scientific ? e : t.size()) - point);
      }
    }
    for (auto& t : text) {
      const std::size_t point = t.find('.');
      if (point == std::string::npos) continue;
      const std::size_t e = std::min(t.find('e'), t.size());
      if (scientific)
        t.insert(e, w.right - (e - point), '0');
      else
        t.append(w.right - (t.size() - point), ' ');
      t.insert(0, w.left - point, ' ');
    }
    for (const auto& t : text) w.whole = std::max(w.whole, t.size());
    for (auto& t : text) t.insert(0, w.whole - t.size(), ' ');
  }
};

template <class T>
Cells format(const T* x, std::int64_t n) {
  Cells cells;
  cells.text.reserve(static_cast<std::size_t>(n));
  if constexpr (std::is_floating_point_v<T>) {
    T lo = std::numeric_limits<T>::infinity(), hi = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      const T a = std::abs(x[i]);
      if (a == 0 || !std::isfinite(a)) continue;
      lo = std::min(lo, a);
      hi = std::max(hi, a);
    }
    const bool scientific = hi >= T(1e8) || (hi > 0 && (lo < T(1e-4) || hi / lo > T(1000)));
    for (std::int64_t i = 0; i < n; ++i) {
      if (std::isfinite(x[i]))
        cells.text.push_back(digits(x[i], scientific ? std::chars_format::scientific : std::chars_format::fixed));
      else
        cells.text.push_back(std::isnan(x[i]) ? "nan" : x[i] > 0 ? "inf" : "-inf");
    }
    cells.align(scientific);
  } else {
    for (std::int64_t i = 0; i < n; ++i) {
      if constexpr (std::is_same_v<T, bool>)
        cells.text.push_back(x[i] ? "True" : "False");
      else
        cells.text.push_back(std::to_string(x[i]));
    }
    cells.align(false);
  }
  return cells;
}

// One value on its own: as Python prints a number.
template <class T>
void print_scalar(std::ostream& s, T x) {
  if constexpr (std::is_floating_point_v<T>) {
    if (!std::isfinite(x)) {
      s << format(&x, 1).text[0];
      return;
    }
    const T a = std::abs(x);
    const bool scientific = a != 0 && (a < T(1e-4) || a >= T(1e16));
    std::string text = digits(x, scientific ? std::chars_format::scientific : std::chars_format::fixed);
    const std::size_t point = text.find('.');
    if (scientific && text[point + 1] == 'e')
      text.erase(point, 1);
    else if (point + 1 == text.size())
      text += '0';
    s << text;
  } else {
    s << format(&x, 1).text[0];
  }
}

void print_nested(std::ostream& s, const Shape& shape, int axis, const std::string*& cell) {
  if (axis == shape.size()) {
    s << *cell++;
    return;
  }
  const bool innermost = axis + 1 == shape.size();
  s << '[';
  for (std::int64_t i = 0; i < shape[axis]; ++i) {
    if (i && innermost) s << ' ';
    if (i && !innermost)
      s << std::string(static_cast<std::size_t>(shape.size() - 1 - axis), '\n')
        << std::string(static_cast<std::size_t>(axis) + 1, ' ');
    print_nested(s, shape, axis + 1, cell);
  }
  s << ']';
}

bool has_value(const Tensor& t) {
  try {
    t.array();
    return true;
  } catch (const TraceError&) {
    return false;
  }
}

}  // namespace

std::ostream& operator<<(std::ostream& s, const Tensor& t) {
  if (!t.defined()) return s << "<undefined>";
  if (!has_value(t)) return s << "<traced " << t.aval() << '>';
  const Ref<Array> host = on_host(t.array(), t.dtype());
  dispatch(t.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* x = host->data<T>();
    if (host->ndim() == 0) return print_scalar(s, *x);
    if (host->size() == 0) return void(s << "[]");
    const Cells cells = format(x, host->size());
    const std::string* cell = cells.text.data();
    print_nested(s, host->shape(), 0, cell);
  });
  return s;
}

}  // namespace evolute
