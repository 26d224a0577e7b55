// Where each value depends on one number of the input, so that a single tangent finds all derivatives.
//
// Let J be the derivatives of a value by an input. If every element of the value depends on one element of the input at
// most, Jᵀ c = c ⊙ J 1, summed over the elements that depend on the same one: the pull-back of any cotangent c is the
// push-forward of a tangent of ones.
#pragma once

#include "ops/op.h"

namespace evolute {

class Diagonal {
 public:
  explicit Diagonal(const Aval& input);

  bool exists() const { return kind_ != Kind::None; }
  // Whether the results of an operation still depend on one number each if its marked operands do.
  bool kept(const Op& op, const Attrs* attrs, std::span<const Aval* const> in, std::uint32_t marked,
            const Aval& out) const;
  // Jᵀ c in the shape of the input.
  Tensor gathered(const Tensor& cotangent, const Tensor& tangent) const;

 private:
  enum class Kind : std::uint8_t {
    None,
    Single,    // the input is one number, on which all depends
    Rows,      // it is a column: a row of a value depends on the number in its row
    Elements,  // an element depends on the element in its place
  };
  const Aval& input_;
  Kind kind_ = Kind::None;
};

}  // namespace evolute
