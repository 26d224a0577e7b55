#include "cuda/elementwise.cuh"

namespace evolute::cuda {

ElementwiseLaunch elementwise_float32(int kernel) {
  static const auto table = elementwise_table<float>();
  return table[static_cast<std::size_t>(kernel)];
}

}  // namespace evolute::cuda
