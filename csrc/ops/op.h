// Primitives: what an operation is, and how one is applied.
//
// An Op is one record of static storage: shape rule, kernel, derivative rules, documentation. Everything else (other
// transforms, graph mode, the Python functions, the op table and the tests) works from that record.
#pragma once

#include <array>
#include <span>
#include <string>

#include "core/array.h"
#include "core/attrs.h"
#include "core/backend.h"
#include "core/small_vector.h"

namespace evolute {

using Tensors = SmallVector<Tensor, 4>;
using ArrayRefs = std::span<const Array* const>;

// Reverse rule. Operands belong to the level below the tape; what the op does not save is undefined.
struct VjpArgs {
  const Attrs* attrs;
  std::span<const Tensor> in;            // saved inputs
  std::span<const Tensor> out;           // saved outputs
  std::span<const Tensor> cotangents;    // of the outputs; undefined means zero; at least one is defined
  std::span<Tensor> grads;               // to be set for every wanted input; left undefined means zero
  std::span<const Aval* const> in_aval;  // null for inputs that are not wanted

  bool wants(std::size_t i) const { return in_aval[i] != nullptr; }
  const Tensor& cotangent() const { return cotangents[0]; }
};
using VjpRule = void (*)(const Op& op, VjpArgs& a);

// Forward rule. `out` holds the primal outputs (or takes them, where the op says so); tangents that are undefined are
// zero, at least one is defined.
//
// Also what a Taylor rule gets: operands then move along polynomials, x(t) = x + c₁ t + … + c_K tᴷ, and so do the
// results. Of each operand there are K coefficients in a row, without factorials; order 1 is that of tangents.
struct JvpArgs {
  const Attrs* attrs;
  std::span<const Tensor> in;
  std::span<Tensor> out;
  std::span<const Tensor> tangents;
  std::span<Tensor> out_tangents;  // left undefined means zero
  std::size_t order = 1;           // K

  std::span<const Tensor> series(std::size_t i) const { return tangents.subspan(i * order, order); }
  std::span<Tensor> out_series(std::size_t i) const { return out_tangents.subspan(i * order, order); }
  // Whether operand i moves.
  bool moves(std::size_t i) const;
};
using JvpRule = void (*)(const Op& op, JvpArgs& a);

// Batching rule: the op on all examples at once. Operands belong to the level below the batch; those that differ from
// example to example have one element per example along a new first axis.
struct BatchArgs {
  const Attrs* attrs;
  std::int64_t size;  // number of examples
  std::span<const Tensor> in;
  std::span<const bool> batched;  // which operands have the axis; at least one has, if there are any operands
  std::span<const Aval> result;   // the outputs for one example
  std::span<Tensor> out;          // to be set, with the axis …
  std::span<bool> out_batched;    // … unless this is set to false: the same for all examples
};
using BatchRule = void (*)(const Op& op, BatchArgs& a);

// Shapes and dtypes of the outputs. Throws ShapeError or DTypeError that names the op.
using InferRule = void (*)(const Op& op, const Attrs* attrs, std::span<const Tensor> in, SmallVector<Aval, 1>& out);
// Computes into freshly allocated row-major outputs.
using KernelRule = void (*)(const Op& op, const Attrs* attrs, ArrayRefs in, std::span<Array* const> out);
// For ops that only re-read their input through other strides: no kernel, no copy.
using ViewRule = Ref<Array> (*)(const Op& op, const Attrs* attrs, const Array& in, const Aval& out);

// Sets the results without a kernel if the operands allow it, as for a product with the constant 1; else returns false.
using ShortcutRule = bool (*)(std::span<const Tensor> in, const Aval& result, std::span<Tensor> out);

struct OpDoc {
  std::string_view group;    // heading in the docs: "elementwise", "reduction", ...
  std::string_view summary;  // one line
  std::string_view formula;
  double lo = -2, hi = 2;  // where tests sample the operands (elementwise ops)
};

// An elementwise op that gives the results of another one first, and then those derivatives that the reverse rule of
// that one asks for: for a tape whose operations run as it records them.
struct JetForm {
  const Op* op = nullptr;
  int results = 0;
};

struct Op {
  std::string name;
  InferRule infer = nullptr;
  KernelRule kernel = nullptr;
  ViewRule view = nullptr;
  ShortcutRule shortcut = nullptr;
  VjpRule vjp = nullptr;  // null: not differentiable (integer or boolean result, or zero derivative)
  JvpRule jvp = nullptr;
  // Null: the forward rule on series of an order less, which gives the derivative of the result. That takes its own
  // Taylor rule for the values, so the cost grows as the cube of the order; and it doubles with each order for an op
  // that its own forward rule applies, which therefore needs a rule.
  JvpRule taylor = nullptr;
  BatchRule batch = nullptr;     // every op has one
  std::uint32_t saves_in = ~0u;  // bit i: the reverse rule reads input i (bit 31 stands for all further inputs)
  std::uint32_t linear_in = 0;   // bit i: all outputs are linear in input i, whatever the others are
  bool saves_out = false;        // the reverse rule reads the outputs
  bool jvp_gives_out = false;    // the forward rule computes the outputs too
  bool runs_graph = false;       // control flow: may run for long, so is never run while compiling
  bool annotates = false;        // gives its first operands: it is there for transforms alone
  int kernel_id = -1;            // elementwise ops: which kernel
  bool pointwise = false;        // others whose result at one place depends on their operands there alone
  std::array<JetForm, 4> jet{};  // elementwise ops, by the set of operands to differentiate by (bit i: operand i)
  OpDoc doc{};

  bool saves_input(std::size_t i) const { return saves_in >> (i < 31 ? i : 31) & 1u; }
};

// Applies a primitive at the highest live level among its inputs: kernels at the bottom, or a recorder if one is there.
void apply(const Op& op, const AttrsPtr& attrs, std::span<const Tensor> in, std::span<Tensor> out);

// For primitives with one output.
inline Tensor apply(const Op& op, const AttrsPtr& attrs, std::span<const Tensor> in) {
  Tensor out;
  apply(op, attrs, in, {&out, 1});
  return out;
}
template <class... T>
  requires(std::same_as<T, Tensor> && ...)
Tensor apply(const Op& op, const AttrsPtr& attrs, const Tensor& first, const T&... rest) {
  const Tensor in[] = {first, rest...};
  return apply(op, attrs, std::span<const Tensor>(in));
}

// Runs the kernel of `op` on concrete inputs.
void evaluate(const Op& op, const Attrs* attrs, std::span<const Tensor> in, std::span<Tensor> out);

// Forward rule of ops linear in every differentiable input jointly (reshape, sum, concat …): the op applied to the
// tangents, symbolic zeros materialised only where other tangents are present.
void jvp_linear(const Op& op, JvpArgs& a);
// Forward rule of ops linear in input 0 alone, the others being indices or the like.
void jvp_linear_in_first(const Op& op, JvpArgs& a);

// a + b where an undefined operand is zero.
Tensor add_cotangents(const Tensor& a, const Tensor& b);

// Taylor rule of ops whose forward rule does not read what moves (linear ones, also piecewise: max, where): that rule
// for each coefficient.
void taylor_linear(const Op& op, JvpArgs& a);
// Σ term(i) over i = first, …, last, where undefined terms are zero.
template <class Term>
Tensor sum_of_terms(std::size_t first, std::size_t last, Term&& term) {
  Tensor total;
  for (std::size_t i = first; i <= last; ++i) total = add_cotangents(total, term(i));
  return total;
}

// Sums away broadcast axes, so that a cotangent of `shape` results; returns `t` itself when nothing was broadcast.
Tensor sum_to(const Tensor& t, const Shape& shape);

// `apply` of an elementwise op without parameters, and each result summed to a shape as by sum_to; in one pass where
// that is faster.
void apply_summed(const Op& op, std::span<const Tensor> in, std::span<const Shape* const> shapes,
                  std::span<Tensor> out);

// Op table: every primitive registers itself here, in order of definition.
std::span<const Op* const> op_table();
// A primitive by name, looked up once per use: `static const Op& sum = primitive("sum");`
const Op& primitive(std::string_view name);
// Copies `op` into static storage, lists it, and returns it.
const Op& define_op(Op op);

}  // namespace evolute
