// What a call costs when there is next to nothing to compute: 4 elements.
#include "common.h"

namespace bench {

void add_overhead() {
  const ev::Tensor x = ev::tensor({0.1, 0.7, 1.3, 1.9}), y = ev::tensor({1.5, 0.2, 0.8, 1.1});
  const auto f = [](const ev::Tensor& a, const ev::Tensor& b) { return ev::sum(ev::sin(a) * b); };
  const auto slope = ev::grad(f);
  const auto first = ev::grad([](const ev::Tensor& a) { return ev::sin(a); });
  const auto second = ev::grad([first](const ev::Tensor& a) { return first(a); });

  add("overhead/mul", [x, y] { return x * y; });
  add("overhead/grad", [slope, x, y] { return slope(x, y); });
  add("overhead/grad2", [second, x] { return second(x); });
  add("overhead/grad/compiled",
      [fn = ev::jit([slope](const ev::Tensor& a, const ev::Tensor& b) { return slope(a, b); }), x, y] {
        return fn(x, y);
      });
  add("overhead/grad2/compiled",
      [fn = ev::jit([second](const ev::Tensor& a) { return second(a); }), x] { return fn(x); });
}

}  // namespace bench
