// Whole Jacobians: one run of the function, with the unit vectors of a space as a batch of directions.
#include <algorithm>

#include "autodiff/batch.h"
#include "autodiff/transforms.h"
#include "evolute/autodiff.h"
#include "evolute/ops.h"

namespace evolute {

namespace {

// As many directions go at once as keep these and the derivatives along them within this many bytes, so that what is
// in between is bounded too. It is 1,000 at once for 4,000 variables and as many results.
constexpr std::int64_t kDirectionBytes = 64 << 20;

std::int64_t directions_at_once(std::int64_t elements, DType dtype) {
  const std::int64_t bytes = std::max<std::int64_t>(elements, 1) * static_cast<std::int64_t>(size_of(dtype));
  return std::max<std::int64_t>(kDirectionBytes / bytes, 1);
}

Shape joined(const Shape& a, const Shape& b) {
  Shape s = a;
  for (auto n : b) s.push_back(n);
  return s;
}

// Calls `run(directions)` with unit vectors in the shape of `x`, as a value of a batch that is open meanwhile, until
// all have been; what it gives, one tensor per result, is stacked along axis 0. `elements`: of one direction and what
// it leads to, as far as known; `run` may raise it.
template <class Run>
TensorList along_unit_vectors(const Aval& x, std::int64_t& elements, const Run& run) {
  const std::int64_t n = x.shape.product();
  std::vector<TensorList> parts;  // of each result
  for (std::int64_t first = 0; first < n;) {
    const std::int64_t count = std::min(n - first, directions_at_once(elements, x.dtype));
    const auto batch = make_ref<Batch>(count);
    LevelScope scope(*batch);
    const Tensor units = reshape(eye(count, n, first, x.dtype, x.device), joined({count}, x.shape));
    const TensorList results = run(batch->trace(units));
    parts.resize(results.size());
    for (std::size_t i = 0; i < results.size(); ++i) parts[i].push_back(batch->stacked(settle(results[i])));
    first += count;
  }
  TensorList stacks;
  for (const TensorList& p : parts) stacks.push_back(concat(p, 0));
  return stacks;
}

void check_inputs(const TensorList& x, const std::vector<int>& wanted, const char* what) {
  for (int i : wanted) {
    if (i < 0 || i >= static_cast<int>(x.size()))
      throw ValueError(cat(what, ": position ", i, " is out of range for ", x.size(), " inputs"));
    require_differentiable(x[static_cast<std::size_t>(i)], what);
  }
}

void require_floating_outputs(const TensorList& outputs, const char* what) {
  for (const Tensor& y : outputs)
    if (!is_floating(y.dtype()))
      throw DTypeError(cat(what, ": the function's output is ", y.aval(), ", which has no derivative"));
}

}  // namespace

Jacobian jacobian_forward(const Function& f, const TensorList& x, const std::vector<int>& wanted) {
  check_inputs(x, wanted, "jacfwd");
  Jacobian jacobian;
  for (int p : wanted) {
    const Tensor at = settle(x[static_cast<std::size_t>(p)]);
    std::int64_t elements = at.size();
    TensorList outputs;
    const TensorList columns = along_unit_vectors(at.aval(), elements, [&](const Tensor& direction) {
      TensorList tangents(x.size());
      tangents[static_cast<std::size_t>(p)] = direction;
      TensorList derivatives;
      std::tie(outputs, derivatives) = jvp(f, x, tangents);
      require_floating_outputs(outputs, "jacfwd");
      elements = at.size();
      for (const Tensor& y : outputs) elements += y.size();
      return derivatives;
    });
    if (at.size() == 0) outputs = f(x);
    jacobian.resize(outputs.size());
    for (std::size_t j = 0; j < outputs.size(); ++j) {
      const Shape shape = joined(outputs[j].shape(), at.shape());
      jacobian[j].push_back(columns.empty() ? zeros(shape, outputs[j].dtype(), outputs[j].device())
                                            : reshape(moveaxis(columns[j], 0, -1), shape));
    }
  }
  return jacobian;
}

namespace {

// What `vjp` gives for the wanted inputs alone.
VjpResult vjp_of(const Function& f, const TensorList& x, const std::vector<int>& wanted) {
  TensorList at;
  for (int p : wanted) at.push_back(x[static_cast<std::size_t>(p)]);
  return vjp(
      [&](const TensorList& traced) {
        TensorList all = x;
        for (std::size_t i = 0; i < wanted.size(); ++i) all[static_cast<std::size_t>(wanted[i])] = traced[i];
        return f(all);
      },
      at);
}

Jacobian pulled_back(const VjpResult& run, const TensorList& x, const std::vector<int>& wanted) {
  require_floating_outputs(run.outputs, "jacrev");
  Jacobian jacobian(run.outputs.size());
  for (std::size_t j = 0; j < run.outputs.size(); ++j) {
    const Tensor& y = run.outputs[j];
    std::int64_t elements = y.size();
    for (int p : wanted) elements += x[static_cast<std::size_t>(p)].size();
    const TensorList rows = along_unit_vectors(y.aval(), elements, [&](const Tensor& direction) {
      TensorList cotangents(run.outputs.size());
      cotangents[j] = direction;
      return run.pullback(cotangents);
    });
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      const Tensor& at = x[static_cast<std::size_t>(wanted[i])];
      const Shape shape = joined(y.shape(), at.shape());
      jacobian[j].push_back(rows.empty() ? zeros(shape, at.dtype(), at.device()) : reshape(rows[i], shape));
    }
  }
  return jacobian;
}

std::int64_t total_size(const TensorList& tensors) {
  std::int64_t n = 0;
  for (const Tensor& t : tensors) n += t.size();
  return n;
}

}  // namespace

Jacobian jacobian_reverse(const Function& f, const TensorList& x, const std::vector<int>& wanted) {
  check_inputs(x, wanted, "jacrev");
  return pulled_back(vjp_of(f, x, wanted), x, wanted);
}

Jacobian jacobian(const Function& f, const TensorList& x, const std::vector<int>& wanted) {
  check_inputs(x, wanted, "jacobian");
  const VjpResult run = vjp_of(f, x, wanted);
  std::int64_t inputs = 0;
  for (int p : wanted) inputs += x[static_cast<std::size_t>(p)].size();
  return total_size(run.outputs) <= inputs ? pulled_back(run, x, wanted) : jacobian_forward(f, x, wanted);
}

namespace detail {

Tensor jacfwd_at(const Function& f, const TensorList& x, int position) {
  return jacobian_forward(f, x, {position}).at(0).at(0);
}
Tensor jacrev_at(const Function& f, const TensorList& x, int position) {
  return jacobian_reverse(f, x, {position}).at(0).at(0);
}
Tensor jacobian_at(const Function& f, const TensorList& x, int position) {
  return jacobian(f, x, {position}).at(0).at(0);
}
Tensor hessian_at(const Function& f, const TensorList& x, int position) {
  return jacfwd_at([&](const TensorList& at) { return TensorList{grad_at(f, at, position)}; }, x, position);
}
Tensor hvp_at(const Function& f, const TensorList& x, const Tensor& v, int position) {
  check_inputs(x, {position}, "hvp");
  TensorList tangents(x.size());
  tangents[static_cast<std::size_t>(position)] = v;
  return jvp([&](const TensorList& at) { return TensorList{grad_at(f, at, position)}; }, x, tangents).second[0];
}

}  // namespace detail

}  // namespace evolute
