// Batching: the level of vmap. A value of it is one value per example; the value beneath holds them all, with the
// examples along its axis 0.
#pragma once

#include <map>
#include <optional>

#include "ops/op.h"

namespace evolute {

class Batch final : public Level {
 public:
  explicit Batch(std::int64_t size) : Level(Kind::Batch), size_(size) {}

  std::int64_t size() const { return size_; }
  bool holds(const Tensor& t) const { return t.value()->level() == this; }

  // The examples along an axis of `x`, as one value; x belongs below this level.
  Tensor trace(const Tensor& x, std::int64_t axis = 0);
  // The value beneath. What is the same for all examples is itself.
  Tensor lower(const Tensor& t) const override;
  // All examples of `t` along an axis; repeated where they are the same.
  Tensor stacked(const Tensor& t, std::int64_t axis = 0) const;

  void process(const Op& op, const AttrsPtr& attrs, std::span<const Tensor> in, std::span<Tensor> out) override;

 protected:
  void forget() noexcept override;

 private:
  Tensor made(const Tensor& inner, const Aval& aval);

  const std::int64_t size_;
  // While recording, one value for each value beneath: equal operands then are the same.
  std::map<const Value*, Tensor> known_;
};

// An input of a mapped function, and the axis along which its examples lie; none if it is the same for all.
struct MappedInput {
  Tensor value;
  std::optional<std::int64_t> axis;
  std::string name;  // "input 0", for messages
};
// Their number of examples. Throws ValueError if none is mapped or an axis does not exist, ShapeError if they differ.
std::int64_t count_examples(std::span<const MappedInput> inputs);

// An output of the mapped function with its examples along `axis`. ValueError if that is none and they differ, or if
// it does not exist. `name` says which output it is.
Tensor leave_batch(const Batch& batch, const Tensor& y, std::optional<std::int64_t> axis, const std::string& name);

}  // namespace evolute
