#include "graph/products.h"

#include <cstring>
#include <utility>

#include "ops/attrs.h"

namespace evolute {

namespace {

Ref<Array> transposed_view(const Array& a) {
  return view(a, {a.shape()[1], a.shape()[0]}, {a.strides()[1], a.strides()[0]});
}

void infer_matmul_add(const Op&, const Attrs*, std::span<const Tensor> in, SmallVector<Aval, 1>& out) {
  out.push_back(in[2].aval());
}
void run_matmul_add(const Op&, const Attrs* attrs, ArrayRefs in, std::span<Array* const> out) {
  const auto& f = attrs_as<MatmulAttrs>(attrs);
  Ref<Array> a, b;
  if (f.transpose_a) a = transposed_view(*in[0]);
  if (f.transpose_b) b = transposed_view(*in[1]);
  Backend& device = backend(out[0]->aval().device.type);
  if (in[2]->bytes() != out[0]->bytes()) device.copy(*in[2], *out[0]);
  device.matmul(a ? *a : *in[0], b ? *b : *in[1], *out[0], true);
}

void infer_transposed(const Op&, const Attrs*, std::span<const Tensor> in, SmallVector<Aval, 1>& out) {
  Aval a = in[0].aval();
  std::swap(a.shape[0], a.shape[1]);
  out.push_back(a);
}
void run_transposed(const Op&, const Attrs*, ArrayRefs in, std::span<Array* const> out) {
  backend(out[0]->aval().device.type).copy(*transposed_view(*in[0]), *out[0]);
}

const Op matmul_add{.name = "matmul_add",
                    .infer = infer_matmul_add,
                    .kernel = run_matmul_add,
                    .doc = {.group = "graph", .summary = "", .formula = ""}};
const Op transposed{.name = "transposed",
                    .infer = infer_transposed,
                    .kernel = run_transposed,
                    .doc = {.group = "graph", .summary = "", .formula = ""}};

}  // namespace

const Op& matmul_add_op = matmul_add;
const Op& transposed_op = transposed;

}  // namespace evolute
