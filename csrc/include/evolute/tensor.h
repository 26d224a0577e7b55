/// \file
/// Tensor: an immutable value, concrete or traced by a transform; Variable: a named slot that holds one.
#pragma once

#include <atomic>
#include <iosfwd>
#include <span>
#include <string>
#include <vector>

#include "evolute/dtype.h"
#include "evolute/error.h"
#include "evolute/ref.h"
#include "evolute/shape.h"

namespace evolute {

enum class DeviceType : std::uint8_t { CPU, CUDA };
inline constexpr int kNumDevices = 2;

struct Device {
  DeviceType type = DeviceType::CPU;
  std::int8_t index = 0;
  bool operator==(const Device&) const = default;
};
/// Prints `CPU`, `GPU:0`.
EVOLUTE_API std::ostream& operator<<(std::ostream& s, Device d);

/// Abstract value: all that shape rules look at.
struct Aval {
  Shape shape;
  DType dtype = DType::Float32;
  Device device{};
  bool operator==(const Aval&) const = default;
};
EVOLUTE_API std::ostream& operator<<(std::ostream& s, const Aval& a);

class Level;
class Bindings;
class Array;

/// What a Tensor points to. `level()` is null for concrete arrays; otherwise the transform that traces the value.
class EVOLUTE_API Value : public RefCounted {
 public:
  explicit Value(const Aval& aval, Level* level = nullptr) : aval_(aval), level_(level) {}
  const Aval& aval() const noexcept { return aval_; }
  Level* level() const noexcept { return level_; }

  /// Whether a recorded graph may hold this value as a constant; see `mark_constant`.
  bool is_constant() const noexcept { return constant_.load(std::memory_order_relaxed); }
  void mark_constant() const noexcept { constant_.store(true, std::memory_order_relaxed); }

  // Values are small and short-lived: they come from a per-thread pool.
  static void* operator new(std::size_t bytes);
  static void operator delete(void* p, std::size_t bytes) noexcept;

 private:
  Aval aval_;
  mutable std::atomic<bool> constant_{false};
  Level* level_;
};

/// Immutable n-dimensional array of one element type, or a value traced by a transform. Copying copies a handle.
class EVOLUTE_API Tensor {
 public:
  Tensor() noexcept = default;  ///< undefined; stands for a symbolic zero where a rule says so
  explicit Tensor(Ref<Value> v) noexcept : v_(std::move(v)) {}

  bool defined() const noexcept { return static_cast<bool>(v_); }
  const Aval& aval() const noexcept { return v_->aval(); }
  const Shape& shape() const noexcept { return v_->aval().shape; }
  std::int64_t shape(int axis) const noexcept { return shape()[axis < 0 ? axis + ndim() : axis]; }
  DType dtype() const noexcept { return v_->aval().dtype; }
  Device device() const noexcept { return v_->aval().device; }
  int ndim() const noexcept { return shape().size(); }
  std::int64_t size() const noexcept { return shape().product(); }

  /// The single element as a double. Throws ShapeError for other sizes, TraceError while being recorded.
  double item() const;
  /// Elements in row-major order, converted to double. Throws TraceError while being recorded.
  std::vector<double> to_vector() const;

  /// The concrete array beneath all transforms. Throws TraceError while being recorded.
  const Array& array() const;

  Value* value() const noexcept { return v_.get(); }
  bool is_same(const Tensor& o) const noexcept { return v_ == o.v_; }

 private:
  Ref<Value> v_;
};

/// Prints nested brackets with eight significant digits, as `print` in Python does.
EVOLUTE_API std::ostream& operator<<(std::ostream& s, const Tensor& t);

/// A tensor from nested values. Throws ShapeError if `values` does not fill `shape`.
EVOLUTE_API Tensor tensor(std::span<const double> values, const Shape& shape, DType dtype = float32);
inline Tensor tensor(std::initializer_list<double> values, DType dtype = float32) {
  return tensor(std::span(values.begin(), values.size()), {static_cast<std::int64_t>(values.size())}, dtype);
}
/// A 0-d tensor.
EVOLUTE_API Tensor scalar(double value, DType dtype = float32);

/// A slot with identity: parameters and any other state that recorded functions read and write. Made by
/// `make_ref<Variable>(…)`: transforms hold on to the variables they meet.
class EVOLUTE_API Variable : public RefCounted {
 public:
  explicit Variable(Tensor value, std::string name = {}) : value_(std::move(value)), name_(std::move(name)) {}

  /// The current value. While a function is recorded this is an input of the graph, not the value baked in.
  Tensor get() const;
  /// Replaces the value. Within a transform other threads see it when the transform has ended. While a function is
  /// recorded the write happens after each run of the graph.
  /// Throws ShapeError or DTypeError if shape or dtype differ from the current value's.
  void set(Tensor value);

  /// The stored handle, whatever transform or recorder is active on this thread.
  const Tensor& raw() const noexcept { return value_; }
  Tensor exchange_raw(Tensor value) noexcept { return std::exchange(value_, std::move(value)); }

  const std::string& name() const noexcept { return name_; }
  void rename(std::string name) { name_ = std::move(name); }

 private:
  friend class Bindings;
  Tensor value_;
  std::string name_;
  mutable std::atomic<std::uint32_t> place_{0};  // where transforms last found it in their lists of variables
};

}  // namespace evolute
