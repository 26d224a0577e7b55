// Calls that a level remembers.
#pragma once

#include <unordered_map>

#include "core/attrs.h"

namespace evolute {

// What a level has done, so that the same operation on the same operands is done once. Kept while recording only: a
// derivative of order k repeats itself so much that its operations are polynomially many in k, where one by one they
// are exponentially many.
class CallMemo {
 public:
  // Sets `out` and returns true if this call is known.
  bool find(const Op& op, const AttrsPtr& attrs, std::span<const Tensor> in, std::span<Tensor> out) const;
  void keep(const Op& op, const AttrsPtr& attrs, std::span<const Tensor> in, std::span<const Tensor> out);

 private:
  struct Call {
    const Op* op;
    AttrsPtr attrs;
    std::vector<Tensor> in, out;
  };
  std::unordered_multimap<std::size_t, Call> calls_;
};

}  // namespace evolute
