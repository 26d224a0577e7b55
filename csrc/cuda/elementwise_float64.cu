#include "cuda/elementwise.cuh"

namespace evolute::cuda {

ElementwiseLaunch elementwise_float64(int kernel) {
  static const auto table = elementwise_table<double>();
  return table[static_cast<std::size_t>(kernel)];
}

}  // namespace evolute::cuda
