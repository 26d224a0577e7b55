// Elementwise kernels: broadcasting around the inner loops of cpu/simd.
#include "cpu/elementwise.h"

#include "cpu/cost.h"
#include "cpu/cpu_backend.h"
#include "cpu/simd.h"
#include "cpu/strided_loop.h"

namespace evolute::cpu {

namespace {

// The inner loops take the outputs last; the first of them leads. `ns`: see run_split.
void run_loop(ElementwiseLoop inner, double ns, std::span<const Array* const> in, std::span<Array* const> out) {
  std::array<const Array*, StridedLoop::kMaxOperands> operands;
  std::copy(out.begin(), out.end(), std::copy(in.begin(), in.end(), operands.begin()));
  const StridedLoop loop(out[0]->shape(), std::span<const Array* const>(operands.data(), in.size() + out.size()),
                         static_cast<int>(in.size()));
  loop.run_parallel(ns, inner);
}

template <class T>
void select_elements(char* const* p, const std::int64_t* step, std::int64_t n) {
  for (std::int64_t k = 0; k < n; ++k) {
    const bool c = *reinterpret_cast<const bool*>(p[0] + k * step[0]);
    *reinterpret_cast<T*>(p[3] + k * step[3]) =
        *reinterpret_cast<const T*>(c ? p[1] + k * step[1] : p[2] + k * step[2]);
  }
}

}  // namespace

ElementwiseLoop select_loop(DType t) {
  return dispatch(t, [](auto tag) -> ElementwiseLoop { return select_elements<typename decltype(tag)::type>; });
}

void CpuBackend::elementwise(int kernel, std::span<const Array* const> in, std::span<Array* const> out) {
  const DType t = in[0]->dtype();
  run_loop(simd().elementwise(kernel, t), elementwise_ns(kernel, t), in, out);
}

void CpuBackend::select(const Array& cond, const Array& a, const Array& b, Array& out) {
  const Array* in[] = {&cond, &a, &b};
  Array* outs[] = {&out};
  run_loop(select_loop(out.dtype()), 4 * kNsPerByte * static_cast<double>(size_of(out.dtype())), in, outs);
}

}  // namespace evolute::cpu
