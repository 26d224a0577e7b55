// Forward mode and Taylor mode: the jet level. A value carries the coefficients of a polynomial in t beside it, along
// which it moves: its tangent, and in Taylor mode of order K the coefficients of t² to tᴷ too, without factorials.
#pragma once

#include <map>
#include <vector>

#include "ops/op.h"

namespace evolute {

// The Taylor rule of `op` of the given order; for order 1 its forward rule.
void push_series(const Op& op, JvpArgs& a);

class Jet final : public Level {
 public:
  // With `recorded_tangents`, tangents are symbols of a recorder beneath, and primal values are computed apart from
  // them.
  explicit Jet(std::size_t order = 1, bool recorded_tangents = false)
      : order_(order), recorded_tangents_(recorded_tangents) {}

  std::size_t order() const { return order_; }
  // `x` moving with the given tangent, or along given coefficients (as many as the order; undefined is zero).
  Tensor trace(const Tensor& x, const Tensor& tangent);
  Tensor trace(const Tensor& x, std::span<const Tensor> series);
  Tensor lower(const Tensor& t) const override;
  // The tangent of `t`; undefined where it is zero.
  Tensor tangent(const Tensor& t) const;
  // The coefficients of `t`; empty where all are zero.
  std::span<const Tensor> series(const Tensor& t) const;

  void process(const Op& op, const AttrsPtr& attrs, std::span<const Tensor> in, std::span<Tensor> out) override;

 protected:
  void forget() noexcept override;

 private:
  const std::size_t order_;
  const bool recorded_tangents_;
  // While recording, one value for each primal and its coefficients: equal operands then are the same.
  std::map<std::vector<const Value*>, Tensor> known_;
};

}  // namespace evolute
