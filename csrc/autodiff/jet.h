// Forward mode: the jet level. A value carries its tangent beside it.
#pragma once

#include "ops/op.h"

namespace evolute {

class Jet final : public Level {
 public:
  // `x` moving with the given tangent.
  Tensor trace(const Tensor& x, const Tensor& tangent);
  Tensor lower(const Tensor& t) const override;
  // The tangent of `t`; undefined where it is zero.
  Tensor tangent(const Tensor& t) const;

  void process(const Op& op, const AttrsPtr& attrs, std::span<const Tensor> in, std::span<Tensor> out) override;
};

}  // namespace evolute
