// The forward Laplacian: Taylor mode of second order along many directions at once, collapsed. A value carries its
// derivatives along all directions, and of its second derivatives along them the sum alone.
//
// The second coefficient of a result is Df[c₂] + ½ D²f[c₁, c₁]. The first term is linear, so it may be taken of the
// sum; the other is what the Taylor rule gives where c₂ is zero. So no op has a rule for this.
#pragma once

#include <array>
#include <map>

#include "autodiff/batch.h"

namespace evolute {

class Laplacian final : public Level {
 public:
  // The level below it has a direction per example.
  explicit Laplacian(Ref<Batch> directions) : directions_(std::move(directions)) {}

  // `slope` is a value of the level of directions, `sum` one below it; undefined is zero.
  Tensor trace(const Tensor& x, const Tensor& slope, const Tensor& sum);
  Tensor lower(const Tensor& t) const override;
  // Derivatives along the directions, and half of the sum of second derivatives; undefined is zero.
  Tensor slope(const Tensor& t) const;
  Tensor sum(const Tensor& t) const;

  void process(const Op& op, const AttrsPtr& attrs, std::span<const Tensor> in, std::span<Tensor> out) override;

 protected:
  void forget() noexcept override;

 private:
  Tensor summed(const Tensor& t) const;

  const Ref<Batch> directions_;
  // While recording, one value for what it is made of: equal operands then are the same.
  std::map<std::array<const Value*, 3>, Tensor> known_;
};

}  // namespace evolute
