#include <algorithm>

#include "cuda/cuda_backend.h"

namespace evolute::cuda {

namespace {

std::int64_t batches_of(const Array& a) {
  std::int64_t n = 1;
  for (int i = 0; i < a.ndim() - 2; ++i) n *= a.shape()[i];
  return n;
}

Ref<Array> transposed_view(const Array& a) {
  Shape shape = a.shape();
  Strides strides = a.strides();
  std::swap(shape[a.ndim() - 1], shape[a.ndim() - 2]);
  std::swap(strides[a.ndim() - 1], strides[a.ndim() - 2]);
  return view(a, shape, strides);
}

// One matrix where all of a batch are the same.
Ref<Array> common(const Array& a) {
  const int axes = a.ndim() - 2;
  Shape shape = a.shape();
  for (int i = 0; i < axes; ++i) {
    if (a.shape()[i] != 1 && a.strides()[i] != 0) return Ref<Array>(const_cast<Array*>(&a));
    shape[i] = 1;
  }
  return view(a, shape, a.strides());
}

// A dense copy that may be written to.
Ref<Array> copy_of(Backend& b, const Array& a) {
  Ref<Array> out = empty({a.shape(), a.dtype(), {DeviceType::CUDA, 0}});
  b.copy(a, *out);
  return out;
}

}  // namespace

void CudaBackend::cholesky(const Array& in, Array& out) {
  if (out.size() == 0) return;
  copy(in, out);
  Call call("cholesky");
  start_cholesky(out.dtype(), batches_of(out), out.shape()[out.ndim() - 1], call.data(out), call.handle());
  call.end();
}

void CudaBackend::solve_triangular(const Array& a, const Array& b, bool lower, bool transpose, bool unit_diagonal,
                                   Array& out) {
  if (out.size() == 0) return;
  copy(b, out);
  const Ref<Array> op = transpose ? transposed_view(a) : Ref<Array>(const_cast<Array*>(&a));
  const Ref<Array> matrices = copy_of(*this, *common(*op));
  Call call("solve_triangular");
  const std::int64_t n = out.shape()[out.ndim() - 2], k = out.shape()[out.ndim() - 1];
  start_solve_triangular(out.dtype(), batches_of(out), n, k, call.data(*matrices),
                         batches_of(*matrices) == 1 ? 0 : n * n, lower != transpose, unit_diagonal, call.data(out),
                         call.handle());
  call.end();
}

void CudaBackend::solve(const Array& a, const Array& b, bool transpose, Array& out) {
  if (out.size() == 0) return;
  copy(b, out);
  const Ref<Array> op = transpose ? transposed_view(a) : Ref<Array>(const_cast<Array*>(&a));
  const Ref<Array> lu = copy_of(*this, *common(*op));
  Call call("solve");
  const std::int64_t n = out.shape()[out.ndim() - 2], k = out.shape()[out.ndim() - 1], count = batches_of(*lu);
  const Workspace<std::int64_t> pivots(count * n);
  start_lu(out.dtype(), count, n, call.data(*lu), pivots.get(), call.handle());
  start_lu_solve(out.dtype(), batches_of(out), n, k, call.data(*lu), pivots.get(), count == 1 ? 0 : n * n,
                 call.data(out), call.handle());
  call.end();
}

void CudaBackend::determinant(const Array& a, bool log, Array& out) {
  if (out.size() == 0) return;
  const Ref<Array> lu = copy_of(*this, a);
  Call call("det");
  const std::int64_t n = a.shape()[a.ndim() - 1], count = batches_of(a);
  const Workspace<std::int64_t> pivots(count * std::max<std::int64_t>(n, 1));
  start_lu(out.dtype(), count, n, call.data(*lu), pivots.get(), call.handle());
  start_determinant(out.dtype(), count, n, call.data(*lu), pivots.get(), log, call.data(out), call.handle());
  call.end();
}

void CudaBackend::cofactor(const Array& a, Array& out) {
  if (out.size() == 0) return;
  const Ref<Array> lu = copy_of(*this, a), work = empty({a.shape(), a.dtype(), {DeviceType::CUDA, 0}});
  Call call("cofactor");
  const std::int64_t n = a.shape()[a.ndim() - 1], count = batches_of(a);
  const Workspace<std::int64_t> permutations(count * 2 * n);
  start_cofactor(out.dtype(), count, n, call.data(*lu), call.data(*work), permutations.get(), call.data(out),
                 call.handle());
  call.end();
}

}  // namespace evolute::cuda
