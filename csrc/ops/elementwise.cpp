// Primitives and functions of the elementwise family, made from elementwise.def.
#include "ops/elementwise.h"

#include <array>

#include "ops/elementwise_rules.h"

namespace evolute {

namespace {

// ---- sums --------------------------------------------------------------------------------------------

// Linear: the rules need no derivative kernels.
template <bool minus>
void vjp_sum(const Op&, VjpArgs& a) {
  const Tensor& g = a.cotangent();
  if (a.wants(0)) a.grads[0] = sum_to(g, a.in_aval[0]->shape);
  if (a.wants(1)) a.grads[1] = minus ? neg(sum_to(g, a.in_aval[1]->shape)) : sum_to(g, a.in_aval[1]->shape);
}
template <bool minus>
void jvp_sum(const Op&, JvpArgs& a) {
  const Tensor &x = a.tangents[0], &y = a.tangents[1];
  Tensor t = x.defined() && y.defined() ? (minus ? sub(x, y) : add(x, y)) : x.defined() ? x : minus ? neg(y) : y;
  a.out_tangents[0] = broadcast_to(t, a.out[0].shape());
}
// ---- the table ----------------------------------------------------------------------------------------------------

using Table = std::array<ElementwiseFunction, 0
#define EV_UNARY(...) +1
#define EV_UNARY_FLAT(...) +1
#define EV_BINARY(...) +1
#define EV_BINARY_FLAT(...) +1
#define EV_COMPARE(...) +1
#include "evolute/elementwise.def"
                         >;

const Op* define_plain(const char* name, int kernel, OpDoc doc, bool boolean) {
  Op op = elementwise_op(name, kernel, doc);
  if (boolean) op.infer = infer_boolean;
  if (kernel == kAdd) op.vjp = vjp_sum<false>, op.jvp = jvp_sum<false>, op.taylor = taylor_linear, op.saves_in = 0;
  if (kernel == kSub) op.vjp = vjp_sum<true>, op.jvp = jvp_sum<true>, op.taylor = taylor_linear, op.saves_in = 0;
  return &define_op(op);
}

Table define_all() {
  Table table;
  std::size_t n = 0;
  auto list = [&](std::string_view class_name, std::string_view name, int arity, Operands operands, const Op* op) {
    table[n++] = {class_name, name, arity, operands, op};
  };
#define EV_DOC(text, lo, hi) OpDoc{"elementwise", text, "", lo, hi}
#define EV_UNARY(Name, fun, types, r, lo, hi, F, D1, D2, text) \
  define_unary<fn::Name>(#fun, k##Name, EV_DOC(text, lo, hi)); \
  list(#Name, #fun, 1, Operands::types, UnaryOps<fn::Name>::op);
#define EV_UNARY_FLAT(Name, fun, types, lo, hi, F, text) \
  list(#Name, #fun, 1, Operands::types, define_plain(#fun, k##Name, EV_DOC(text, lo, hi), false));
#define EV_BINARY(Name, fun, types, lo, hi, F, DX, DY, DXX, DXY, DYY, text) \
  define_binary<fn::Name>(#fun, k##Name, EV_DOC(text, lo, hi));             \
  list(#Name, #fun, 2, Operands::types, BinaryOps<fn::Name>::op);
#define EV_BINARY_FLAT(Name, fun, types, lo, hi, F, text) \
  list(#Name, #fun, 2, Operands::types, define_plain(#fun, k##Name, EV_DOC(text, lo, hi), false));
#define EV_COMPARE(Name, fun, types, lo, hi, F, text) \
  list(#Name, #fun, 2, Operands::types, define_plain(#fun, k##Name, EV_DOC(text, lo, hi), true));
#include "evolute/elementwise.def"
  return table;
}

const Table table = define_all();

// Position of each function in the table.
enum Index : std::size_t {
#define EV_UNARY(Name, ...) i##Name,
#define EV_UNARY_FLAT(Name, ...) i##Name,
#define EV_BINARY(Name, ...) i##Name,
#define EV_BINARY_FLAT(Name, ...) i##Name,
#define EV_COMPARE(Name, ...) i##Name,
#include "evolute/elementwise.def"
};

DType operand_dtype(Operands kind, DType t) {
  if (kind == Operands::real) return is_floating(t) ? t : DType::Float32;
  if (kind == Operands::logical) return t;
  return t == DType::Bool ? DType::Int32 : t;
}
Tensor converted(const Tensor& x, DType t) { return x.dtype() == t ? x : cast(x, t); }

// A C++ scalar beside a tensor is weak, and of floating kind.
Tensor weak(double c, const Tensor& like) { return scalar(c, promote_weak(like.dtype(), DType::Float64)); }

}  // namespace

KernelForm kernel_form(int kernel) {
  static const std::array<KernelForm, kNumElementwiseKernels> forms = [] {
    using Kind = KernelForm::Kind;
    std::array<KernelForm, kNumElementwiseKernels> all{};
    const auto set = [&](int k, const Op* f, Kind kind, Part part = Part::F) { all[k] = {kind, part, f}; };
#define EV_UNARY(Name, ...)                                      \
  set(k##Name, table[i##Name].op, Kind::Value);                  \
  set(k##Name##_d1, table[i##Name].op, Kind::Product, Part::X);  \
  set(k##Name##_d2, table[i##Name].op, Kind::Product, Part::XX); \
  set(k##Name##_d1_vjp, table[i##Name].op, Kind::Pair);
#define EV_BINARY(Name, ...)                                      \
  set(k##Name, table[i##Name].op, Kind::Value);                   \
  set(k##Name##_dx, table[i##Name].op, Kind::Product, Part::X);   \
  set(k##Name##_dy, table[i##Name].op, Kind::Product, Part::Y);   \
  set(k##Name##_dxx, table[i##Name].op, Kind::Product, Part::XX); \
  set(k##Name##_dxy, table[i##Name].op, Kind::Product, Part::XY); \
  set(k##Name##_dyy, table[i##Name].op, Kind::Product, Part::YY); \
  set(k##Name##_vjp, table[i##Name].op, Kind::Vjp);               \
  set(k##Name##_vjp2, table[i##Name].op, Kind::Vjp2);
#include "evolute/elementwise.def"
    return all;
  }();
  return kernel >= 0 ? forms[static_cast<std::size_t>(kernel)] : KernelForm{};
}

const Op* product_with(const Op& function, Part part) {
  for (const Op* op : op_table()) {
    const KernelForm form = kernel_form(op->kernel_id);
    if (form.function == &function && form.kind == KernelForm::Kind::Product && form.part == part) return op;
  }
  return nullptr;
}

std::span<const ElementwiseFunction> elementwise_functions() { return table; }

Tensor call_elementwise(const ElementwiseFunction& f, const Tensor& x) {
  if (!x.defined()) throw ValueError(cat(f.name, ": the operand is an undefined tensor"));
  return apply(*f.op, nullptr, converted(x, operand_dtype(f.operands, x.dtype())));
}
Tensor call_elementwise(const ElementwiseFunction& f, const Tensor& x, const Tensor& y) {
  if (!x.defined() || !y.defined()) throw ValueError(cat(f.name, ": an operand is an undefined tensor"));
  const DType t = operand_dtype(f.operands, promote(x.dtype(), y.dtype()));
  return apply(*f.op, nullptr, converted(x, t), converted(y, t));
}

Tensor pow_constant(const Tensor& x, double p, DType scalar_kind) {
  if (p == 1 && x.dtype() == promote_weak(x.dtype(), scalar_kind)) return x;
  if (p == 2 && x.dtype() == promote_weak(x.dtype(), scalar_kind)) return square(x);
  if (is_floating(x.dtype())) {
    if (p == 0.5) return sqrt(x);
    if (p == -1) return reciprocal(x);
    if (p == -0.5) return rsqrt(x);
  }
  return call_elementwise(table[iPow], x, scalar(p, promote_weak(x.dtype(), scalar_kind)));
}

#define EV_FUNCTION(Name, fun) \
  Tensor fun(const Tensor& x) { return call_elementwise(table[i##Name], x); }
#define EV_UNARY(Name, fun, ...) EV_FUNCTION(Name, fun)
#define EV_UNARY_FLAT(Name, fun, ...) EV_FUNCTION(Name, fun)
#define EV_FUNCTION2(Name, fun)                                                                                    \
  Tensor fun(const Tensor& x, const Tensor& y) { return call_elementwise(table[i##Name], x, y); }                  \
  Tensor fun(const Tensor& x, double y) {                                                                          \
    return i##Name == iPow ? pow_constant(x, y, DType::Float64) : call_elementwise(table[i##Name], x, weak(y, x)); \
  }                                                                                                                \
  Tensor fun(double x, const Tensor& y) {                                                                          \
    if (i##Name == iDiv && x == 1 && is_floating(y.dtype())) return reciprocal(y);                                 \
    return call_elementwise(table[i##Name], weak(x, y), y);                                                        \
  }
#define EV_BINARY(Name, fun, ...) EV_FUNCTION2(Name, fun)
#define EV_BINARY_FLAT(Name, fun, ...) EV_FUNCTION2(Name, fun)
#define EV_COMPARE(Name, fun, ...) EV_FUNCTION2(Name, fun)
#include "evolute/elementwise.def"

}  // namespace evolute
