#include "evolute/shape.h"

#include <ostream>

#include "evolute/error.h"

namespace evolute {

void Dims::overflow() { throw ShapeError(cat("a tensor has at most ", kMaxDims, " axes")); }

std::ostream& operator<<(std::ostream& s, const Dims& d) {
  s << '(';
  for (int i = 0; i < d.size(); ++i) s << (i ? ", " : "") << d[i];
  return s << (d.size() == 1 ? ",)" : ")");
}

}  // namespace evolute
