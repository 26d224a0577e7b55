#include "evolute/dtype.h"

namespace evolute {

std::string_view name_of(DType t) {
  constexpr std::string_view names[kNumDTypes] = {"Bool", "Int32", "Int64", "Float32", "Float64"};
  return names[static_cast<int>(t)];
}

}  // namespace evolute
