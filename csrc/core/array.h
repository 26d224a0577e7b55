// Array: a concrete value, strided over a buffer. Views share the buffer.
#pragma once

#include "core/buffer.h"
#include "evolute/tensor.h"

namespace evolute {

class Array final : public Value {
 public:
  Array(const Aval& aval, Ref<Buffer> buffer, std::byte* data, const Strides& strides);
  // Row-major over the whole of `buffer` from its start.
  Array(const Aval& aval, Ref<Buffer> buffer);

  std::byte* bytes() const noexcept { return data_; }
  template <class T>
  T* data() const noexcept {
    return reinterpret_cast<T*>(data_);
  }
  const Ref<Buffer>& buffer() const noexcept { return buffer_; }
  const Shape& shape() const noexcept { return aval().shape; }
  DType dtype() const noexcept { return aval().dtype; }
  int ndim() const noexcept { return aval().shape.size(); }
  std::int64_t size() const noexcept { return size_; }
  const Strides& strides() const noexcept { return strides_; }
  bool contiguous() const noexcept { return contiguous_; }  // row-major, without gaps
  // Lets an array that has one owner stand for other elements that lie the same way. It does not keep them alive.
  void move_to(std::byte* data) noexcept { data_ = data; }
  bool on_host() const noexcept { return buffer_->on_host(); }
  // One number in all places, known to the host without asking a device: it may stand beside operands of any device,
  // and an array of a device may be one, until somebody needs its elements in memory.
  bool is_host_constant() const noexcept;

 private:
  Ref<Buffer> buffer_;
  std::byte* data_;
  std::int64_t size_;
  bool contiguous_;
  Strides strides_;
};

Strides row_major(const Shape& shape);
bool is_row_major(const Shape& shape, const Strides& strides);

// A fresh, uninitialised row-major array on `aval.device`.
Ref<Array> empty(const Aval& aval);
inline Tensor to_tensor(Ref<Array> a) { return Tensor(Ref<Value>(std::move(a))); }

// View of `a` with another shape and strides (in elements), starting `offset` elements after its first.
Ref<Array> view(const Array& a, const Shape& shape, const Strides& strides, std::int64_t offset = 0);
// View with zero strides along broadcast axes; `shape` must be one `a` broadcasts to.
Ref<Array> broadcast_view(const Array& a, const Shape& shape);
// The matrices of `a`, transposed if asked for, as factors of a product: with the batch axes of `product`.
Ref<Array> factor_view(const Array& a, bool transpose, const Shape& product);
// `a` itself when row-major, else a row-major copy.
Ref<Array> contiguous(const Array& a);
// `a` itself when the host can read it, else a row-major copy there, which waits for the device.
Ref<Array> to_host(const Array& a);
// Copies with conversion between any two devices; `in` broadcasts to out's shape.
void copy_array(const Array& in, Array& out);

// NumPy broadcasting. Throws ShapeError naming `op` when the shapes do not fit.
Shape broadcast_shapes(const Shape& a, const Shape& b, const char* op);
// Python-style axis: negative counts from the end. Throws IndexError naming `op`.
int normalize_axis(std::int64_t axis, int ndim, const char* op);
// Each axis normalised; throws on repeats. Result sorted.
Axes normalize_axes(const Axes& axes, int ndim, const char* op);

}  // namespace evolute
