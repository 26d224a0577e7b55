// Shared factors: derivative kernels of one residual r each repeat the work on r. Where several are wanted, f'(r) and
// f''(r) are computed once and multiplied: a product costs next to nothing beside most of them.
#include <map>

#include "cpu/cost.h"
#include "evolute/ops.h"
#include "graph/rewrite.h"
#include "math/elementwise.h"
#include "ops/elementwise.h"

namespace evolute {

namespace {

// Whether the factor takes much longer than a product: others, such as y² and 2 y, are formed as quickly as they are
// read.
bool is_costly(const Graph::Node& node) {
  return cpu::elementwise_ns(node.op->kernel_id, DType::Float32) > 3 * cpu::elementwise_ns(kMul, DType::Float32);
}

}  // namespace

std::shared_ptr<Graph> share_factors(const Graph& graph) {
  std::map<std::pair<decltype(UnaryDerivative::times_d1), ValueId>, int> uses;  // of a function's derivatives at r
  const auto use = [&](const Graph::Node& node, const UnaryDerivative& f) -> int& {
    return uses[{f.times_d1, node.in.back()}];
  };
  for (const Graph::Node& node : graph.nodes)
    if (const UnaryDerivative* f = unary_derivative(node.op->kernel_id)) ++use(node, *f);

  return rewrite(graph,
                 [&](const Rewriter&, const Graph::Node& node, std::span<const Tensor> in, std::span<Tensor> out) {
                   const UnaryDerivative* f = unary_derivative(node.op->kernel_id);
                   if (!f || use(node, *f) < 2 || !is_costly(node)) return false;
                   const Tensor& r = in.back();
                   const auto give = [&](std::size_t i, const Tensor& t) {
                     const Aval& a = graph.values[static_cast<std::size_t>(node.out[i])];
                     out[i] = t.defined() ? broadcast_to(t, a.shape) : zeros(a.shape, a.dtype);
                   };
                   switch (f->form) {
                     case UnaryDerivative::Form::D1: give(0, f->times_d1(in[0], r)); break;
                     case UnaryDerivative::Form::D2: give(0, f->times_d2(in[0], r)); break;
                     case UnaryDerivative::Form::Pair:
                       give(0, f->times_d1(in[0], r));
                       give(1, f->times_d2(mul(in[0], in[1]), r));
                       break;
                   }
                   return true;
                 });
}

}  // namespace evolute
