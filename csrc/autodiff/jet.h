// Forward mode: the jet level. A value carries its tangent beside it.
#pragma once

#include <map>
#include <utility>

#include "ops/op.h"

namespace evolute {

class Jet final : public Level {
 public:
  // With `recorded_tangents`, tangents are symbols of a recorder beneath, and primal values are computed apart from
  // them.
  explicit Jet(bool recorded_tangents = false) : recorded_tangents_(recorded_tangents) {}
  // `x` moving with the given tangent.
  Tensor trace(const Tensor& x, const Tensor& tangent);
  Tensor lower(const Tensor& t) const override;
  // The tangent of `t`; undefined where it is zero.
  Tensor tangent(const Tensor& t) const;

  void process(const Op& op, const AttrsPtr& attrs, std::span<const Tensor> in, std::span<Tensor> out) override;

 protected:
  void forget() noexcept override;

 private:
  const bool recorded_tangents_;
  // While recording, one value for each pair of primal and tangent: equal operands then are the same.
  std::map<std::pair<const Value*, const Value*>, Tensor> known_;
};

}  // namespace evolute
