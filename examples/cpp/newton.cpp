// Newton's method with exact gradients and Hessians, on Rosenbrock's function in n dimensions:
//
//   f(x) = sum_i 100 (x[i+1] - x[i]^2)^2 + (1 - x[i])^2,   with its minimum 0 at x = (1, ..., 1).
//
// The number of right digits doubles with every step near the minimum, which an inexact Hessian would not give: the
// program checks it and fails if it is not so.
#include <evolute/evolute.h>

#include <cstdint>
#include <cstdio>
#include <vector>

namespace ev = evolute;

namespace {

/// f for x of shape (n); a scalar.
ev::Tensor rosenbrock(const ev::Tensor& x) {
  const std::int64_t n = x.shape(0);
  const ev::Tensor head = ev::slice(x, 0, 0, n - 1);
  const ev::Tensor tail = ev::slice(x, 0, 1, n);
  return ev::sum(100.0 * ev::square(tail - ev::square(head)) + ev::square(1.0 - head));
}

/// Minimises from `x`, shape (n), printing every iterate. Returns the distances of the iterates from the minimum.
std::vector<double> newton(ev::Tensor x) {
  const auto gradient = ev::grad(rosenbrock);
  const auto hessian = ev::hessian(rosenbrock);

  std::printf("%4s %12s %12s %12s\n", "step", "f(x)", "|grad f(x)|", "|x - 1|");
  std::vector<double> errors;
  for (int step = 0; step <= 50; ++step) {
    const ev::Tensor g = gradient(x);
    errors.push_back(ev::norm(x - 1.0).item());
    std::printf("%4d %12.3e %12.3e %12.3e\n", step, rosenbrock(x).item(), ev::norm(g).item(), errors.back());
    if (ev::norm(g).item() < 1e-10) break;
    x = x - ev::solve(hessian(x), g);
  }
  return errors;
}

/// Whether the iterates end at the minimum, each error on the way at most a constant times the last one squared.
bool converges_quadratically(const std::vector<double>& errors) {
  constexpr double rounding = 1e-10;  // what an error is worth below which rounding decides
  constexpr double constant = 100;
  int steps = 0;
  for (std::size_t k = 1; k < errors.size(); ++k) {
    const double last = errors[k - 1];
    if (last > 1e-2 || last < rounding) continue;  // far from the minimum, or there
    if (errors[k] > constant * last * last + rounding) return false;
    ++steps;
  }
  return steps >= 1 && errors.back() < rounding;
}

}  // namespace

int main() {
  std::printf("Rosenbrock's function in 2 dimensions\n");
  const std::vector<double> plane = newton(ev::tensor({-1.2, 1.0}, ev::float64));

  std::printf("\nand in 100\n");
  const std::vector<double> start(100, 2.0);
  const std::vector<double> space = newton(ev::tensor(start, {100}, ev::float64));

  const bool ok = converges_quadratically(plane) && converges_quadratically(space);
  std::printf("\nquadratic convergence: %s\n", ok ? "yes" : "NO");
  return ok ? 0 : 1;
}
