// Sparsity patterns and colours through the C++ interface.
#include <doctest/doctest.h>

#include "evolute/evolute.h"

using namespace evolute;

TEST_CASE("sparsity of a chain and its colours") {
  const Function f = [](const TensorList& in) {
    const Tensor& x = in[0];
    return TensorList{mul(slice(x, 0, 1, 5), slice(x, 0, 0, 4))};
  };
  const Sparsity p = jacobian_sparsity(f, {zeros({5}, float64)});
  CHECK(p.start == std::vector<std::int64_t>{0, 2, 4, 6, 8});
  CHECK(p.columns == std::vector<std::int32_t>{0, 1, 1, 2, 2, 3, 3, 4});
  CHECK(color_columns(p) == std::vector<std::int32_t>{0, 1, 0, 1, 0});
  const Sparsity t = transposed(p);
  CHECK(t.n_rows() == 5);
  CHECK(t.n_columns == 4);
  CHECK(transposed(t).columns == p.columns);
}
