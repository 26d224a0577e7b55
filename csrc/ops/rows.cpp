#include "ops/rows.h"

#include <unordered_map>

#include "ops/attrs.h"

namespace evolute {

namespace {

constexpr RowRule kNone{};
constexpr RowRule kEach{RowRole::Rows, 1};  // operations on one operand

// One call, and n.
struct Call {
  const Op& op;
  const Attrs* parameters;
  std::span<const Aval* const> operands;
  const Aval& result;
  std::int64_t n;

  const Shape& in(std::size_t i) const { return operands[i]->shape; }
  const Shape& out() const { return result.shape; }
  bool rows(const Shape& s) const { return s.size() > 0 && s[0] == n; }
  template <class T>
  const T& attrs() const {
    return attrs_as<T>(parameters);
  }
};

// Operands broadcast against each other: those that reach the leading axis go by rows.
RowRule rule_broadcasting(const Call& c, std::size_t operands) {
  if (!c.rows(c.out()) || operands > 31) return kNone;
  RowRule r{RowRole::Rows, 0};
  for (std::size_t i = 0; i < operands; ++i)
    if (c.in(i).size() == c.out().size() && c.rows(c.in(i))) r.by_rows |= 1u << i;
  return r.by_rows ? r : kNone;
}
RowRule rule_elementwise(const Call& c) { return rule_broadcasting(c, c.operands.size()); }

RowRule rule_matmul(const Call& c) {
  const auto& f = c.attrs<MatmulAttrs>();
  if (c.out().size() > 2) return rule_broadcasting(c, 2);  // a batch axis leads
  if (!f.transpose_a) return c.rows(c.in(0)) ? kEach : kNone;
  return c.rows(c.in(0)) && !f.transpose_b ? RowRule{RowRole::Sum, 3} : kNone;
}

RowRule rule_reduce(const Call& c) {
  if (!c.rows(c.in(0))) return kNone;
  if (!c.attrs<ReduceAttrs>().axes.contains(0)) return kEach;
  static const Op& sum = primitive("sum");
  return &c.op == &sum ? RowRule{RowRole::Sum, 1} : kNone;
}
RowRule rule_arg_reduce(const Call& c) {
  return c.rows(c.in(0)) && c.attrs<ArgReduceAttrs>().axis != 0 ? kEach : kNone;
}
RowRule rule_cumsum(const Call& c) { return c.rows(c.in(0)) && c.attrs<CumsumAttrs>().axis != 0 ? kEach : kNone; }

// Rows in, rows out, and what happens within them does not matter.
RowRule rule_within(const Call& c) { return c.rows(c.in(0)) && c.rows(c.out()) ? kEach : kNone; }

RowRule rule_broadcast_to(const Call& c) {
  if (!c.rows(c.out())) return kNone;
  return c.in(0).size() == c.out().size() && c.rows(c.in(0)) ? kEach : kNone;
}
RowRule rule_transpose(const Call& c) { return c.rows(c.out()) && c.attrs<PermAttrs>().perm[0] == 0 ? kEach : kNone; }
RowRule rule_slice(const Call& c) {
  const auto& f = c.attrs<SliceAttrs>();
  return rule_within(c).role != RowRole::None && f.start[0] == 0 && f.step[0] == 1 ? kEach : kNone;
}
RowRule rule_concat(const Call& c) {
  if (!c.rows(c.out()) || c.attrs<ConcatAttrs>().axis == 0 || c.operands.size() > 31) return kNone;
  return {RowRole::Rows, (1u << c.operands.size()) - 1};
}

using Rule = RowRule (*)(const Call&);

const std::unordered_map<const Op*, Rule>& rules() {
  static const std::unordered_map<const Op*, Rule> table = [] {
    std::unordered_map<const Op*, Rule> t;
    const auto set = [&](Rule rule, std::initializer_list<const char*> names) {
      for (const char* name : names) t[&primitive(name)] = rule;
    };
    set(rule_elementwise, {"where"});
    set(rule_matmul, {"matmul"});
    set(rule_reduce, {"sum", "prod", "max", "min", "any", "all"});
    set(rule_arg_reduce, {"argmax", "argmin"});
    set(rule_cumsum, {"cumsum"});
    set(rule_within, {"reshape", "cast", "stop_gradient"});
    set(rule_broadcast_to, {"broadcast_to"});
    set(rule_transpose, {"transpose"});
    set(rule_slice, {"slice", "unslice"});
    set(rule_concat, {"concat"});
    return t;
  }();
  return table;
}

}  // namespace

RowRule row_rule(const Op& op, const Attrs* attrs, std::span<const Aval* const> in, const Aval& out, std::int64_t n) {
  const Call call{op, attrs, in, out, n};
  if (op.kernel_id >= 0) return rule_elementwise(call);
  const auto at = rules().find(&op);
  return at == rules().end() ? kNone : at->second(call);
}

AttrsPtr attrs_for_rows(const Op& op, const AttrsPtr& attrs, std::int64_t rows) {
  static const Op &reshape = primitive("reshape"), &broadcast_to = primitive("broadcast_to"),
                  &slice = primitive("slice"), &unslice = primitive("unslice");
  if (&op == &reshape || &op == &broadcast_to) {
    ShapeAttrs a = attrs_as<ShapeAttrs>(attrs.get());
    a.shape[0] = rows;
    return make_attrs(std::move(a));
  }
  if (&op == &slice || &op == &unslice) {
    SliceAttrs a = attrs_as<SliceAttrs>(attrs.get());
    a.shape[0] = rows;
    return make_attrs(std::move(a));
  }
  return attrs;
}

}  // namespace evolute
