// Contractions: a sum of the product of two broadcast operands is a matrix product, or a dot product, in disguise:
// Σ_k x[i, k, 1] y[1, k, j]. Written as one it never makes the product, which may be much larger than both operands.
#include <string>

#include "evolute/ops.h"
#include "graph/rewrite.h"
#include "ops/attrs.h"

namespace evolute {

namespace {

// One letter for each axis longer than 1 that the operand has, aligned at the last axis of the product.
std::string labels_of(const Shape& operand, const Shape& product) {
  std::string s;
  for (int i = 0; i < operand.size(); ++i)
    if (operand[i] != 1) s += static_cast<char>('a' + i + product.size() - operand.size());
  return s;
}
Tensor squeezed(const Tensor& t) {
  Shape shape;
  for (auto n : t.shape())
    if (n != 1) shape.push_back(n);
  return reshape(t, shape);
}

bool contract_sum(const Rewriter& r, const Graph::Node& node, std::span<const Tensor> in, std::span<Tensor> out) {
  static const Op& mul = primitive("mul");
  const Graph::Node* product = r.made_by(in[0], mul);
  if (!product || !is_floating(in[0].dtype()) || in[0].shape().product() == 0) return false;
  const Shape shape = in[0].shape();
  const Tensor x = r.operand(*product, 0), y = r.operand(*product, 1);
  if (x.is_same(y)) return false;
  const std::string of_x = labels_of(x.shape(), shape), of_y = labels_of(y.shape(), shape);
  const auto has = [](const std::string& labels, char c) { return labels.find(c) != std::string::npos; };

  const Axes& axes = attrs_as<ReduceAttrs>(node.attrs.get()).axes;
  std::string kept;
  Shape result;
  bool contracted = false, x_alone = false, y_alone = false;
  for (int i = 0; i < shape.size(); ++i) {
    const char c = static_cast<char>('a' + i);
    const bool both = has(of_x, c) && has(of_y, c);
    if (axes.contains(i)) {
      if (shape[i] != 1 && !both) return false;  // a factor of the sum: to be left where it is
      contracted = contracted || both;
      continue;
    }
    result.push_back(shape[i]);
    if (shape[i] == 1) continue;
    kept += c;
    x_alone = x_alone || !has(of_y, c);
    y_alone = y_alone || !has(of_x, c);
  }
  const bool matrix = x_alone && y_alone, dot = kept.empty();
  if (!contracted || !(matrix || dot)) return false;
  const Tensor operands[] = {squeezed(x), squeezed(y)};
  out[0] = reshape(einsum(cat(of_x, ",", of_y, "->", kept), operands), result);
  return true;
}

}  // namespace

std::shared_ptr<Graph> contract(const Graph& graph) {
  static const Op& sum = primitive("sum");
  const std::vector<int> uses = uses_of_values(graph);
  return rewrite(
      graph, [&](const Rewriter& r, const Graph::Node& node, std::span<const Tensor> in, std::span<Tensor> out) {
        return node.op == &sum && uses[static_cast<std::size_t>(node.in[0])] == 1 && contract_sum(r, node, in, out);
      });
}

}  // namespace evolute
