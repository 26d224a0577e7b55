#include "core/array.h"

#include <ostream>

#include "core/backend.h"

namespace evolute {

void* Value::operator new(std::size_t bytes) { return pool_allocate(bytes); }
void Value::operator delete(void* p, std::size_t bytes) noexcept { pool_free(p, bytes); }

Array::Array(const Aval& aval, Ref<Buffer> buffer, std::byte* data, const Strides& strides)
    : Value(aval),
      buffer_(std::move(buffer)),
      data_(data),
      size_(aval.shape.product()),
      contiguous_(is_row_major(aval.shape, strides)),
      strides_(strides) {}

Array::Array(const Aval& aval, Ref<Buffer> buffer)
    : Value(aval),
      buffer_(std::move(buffer)),
      data_(buffer_->data()),
      size_(aval.shape.product()),
      contiguous_(true),
      strides_(row_major(aval.shape)) {}

bool Array::is_host_constant() const noexcept {
  if (size_ == 0 || !on_host()) return false;
  for (int i = 0; i < ndim(); ++i)
    if (shape()[i] != 1 && strides_[i] != 0) return false;
  return true;
}

Strides row_major(const Shape& shape) {
  Strides s = shape;
  std::int64_t step = 1;
  for (int i = shape.size() - 1; i >= 0; --i) {
    s[i] = step;
    step *= std::max<std::int64_t>(shape[i], 1);
  }
  return s;
}

bool is_row_major(const Shape& shape, const Strides& strides) {
  bool match = true;
  std::int64_t step = 1;
  for (int i = shape.size() - 1; i >= 0; --i) {
    if (shape[i] == 0) return true;
    if (shape[i] == 1) continue;
    match = match && strides[i] == step;
    step *= shape[i];
  }
  return match;
}

namespace {

// Throws std::bad_alloc where the size of the array does not fit the address space.
std::size_t checked_bytes(const Aval& aval) {
  std::size_t bytes = size_of(aval.dtype);
  bool overflow = false, empty = false;
  for (auto n : aval.shape) {
    empty = empty || n == 0;
    overflow = __builtin_mul_overflow(bytes, static_cast<std::size_t>(n), &bytes) || overflow;
  }
  if (empty) return 0;
  if (overflow || bytes > static_cast<std::size_t>(PTRDIFF_MAX)) throw std::bad_alloc();
  return bytes;
}

}  // namespace

Ref<Array> empty(const Aval& aval) {
  return make_ref<Array>(aval, backend(aval.device.type).allocate(checked_bytes(aval)));
}

Ref<Array> view(const Array& a, const Shape& shape, const Strides& strides, std::int64_t offset) {
  std::byte* data = a.bytes() + offset * static_cast<std::int64_t>(size_of(a.dtype()));
  return make_ref<Array>(Aval{shape, a.dtype(), a.aval().device}, a.buffer(), data, strides);
}

Ref<Array> broadcast_view(const Array& a, const Shape& shape) {
  Strides strides = Strides::filled(shape.size(), 0);
  const int lead = shape.size() - a.ndim();
  for (int i = 0; i < a.ndim(); ++i)
    if (a.shape()[i] == shape[lead + i]) strides[lead + i] = a.strides()[i];
  return view(a, shape, strides);
}

Ref<Array> factor_view(const Array& a, bool transpose, const Shape& product) {
  const int n = product.size();
  Shape shape = product;
  shape[n - 2] = a.shape()[a.ndim() - 2];
  shape[n - 1] = a.shape()[a.ndim() - 1];
  Ref<Array> v = broadcast_view(a, shape);
  if (!transpose) return v;
  Strides strides = v->strides();
  std::swap(shape[n - 2], shape[n - 1]);
  std::swap(strides[n - 2], strides[n - 1]);
  return view(*v, shape, strides);
}

Ref<Array> contiguous(const Array& a) {
  if (a.contiguous()) return Ref<Array>(const_cast<Array*>(&a));
  Ref<Array> out = empty(a.aval());
  copy_array(a, *out);
  return out;
}

Ref<Array> to_host(const Array& a) {
  if (a.on_host()) return Ref<Array>(const_cast<Array*>(&a));
  Ref<Array> out = empty({a.shape(), a.dtype(), Device{}});
  copy_array(a, *out);
  return out;
}

// Devices know how to copy from and to the host; the host knows no devices.
void copy_array(const Array& in, Array& out) {
  const DeviceType to = out.aval().device.type;
  backend(to != DeviceType::CPU || in.on_host() ? to : in.aval().device.type).copy(in, out);
}

Shape broadcast_shapes(const Shape& a, const Shape& b, const char* op) {
  if (a == b) return a;
  const Shape& longer = a.size() >= b.size() ? a : b;
  const Shape& shorter = a.size() >= b.size() ? b : a;
  const int lead = longer.size() - shorter.size();
  Shape out = longer;
  for (int i = 0; i < shorter.size(); ++i) {
    const std::int64_t x = longer[lead + i], y = shorter[i];
    if (x != y && x != 1 && y != 1)
      throw ShapeError(
          cat(op, ": shapes ", a, " and ", b,
              " do not broadcast: aligned at the last axis, each pair of lengths must be equal or have a 1"));
    if (x == 1) out[lead + i] = y;
  }
  return out;
}

int normalize_axis(std::int64_t axis, int ndim, const char* op) {
  if (axis >= ndim || axis < -ndim)
    throw IndexError(
        cat(op, ": axis ", axis, " is out of range for a tensor of ", ndim, ndim == 1 ? " axis" : " axes"));
  return static_cast<int>(axis < 0 ? axis + ndim : axis);
}

Axes normalize_axes(const Axes& axes, int ndim, const char* op) {
  Axes out;
  for (auto axis : axes) {
    const int k = normalize_axis(axis, ndim, op);
    if (out.contains(k)) throw ValueError(cat(op, ": axis ", axis, " is given twice in ", axes));
    out.push_back(k);
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::ostream& operator<<(std::ostream& s, Device d) {
  if (d.type == DeviceType::CPU) return s << "CPU";
  return s << "GPU:" << static_cast<int>(d.index);
}
std::ostream& operator<<(std::ostream& s, const Aval& a) { return s << name_of(a.dtype) << a.shape; }

}  // namespace evolute
