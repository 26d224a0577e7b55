// Shared factors: kernels of one function at the same operands, values and derivatives alike, each repeat the work on
// them. Where several are wanted, the parts F, F_x, F_xx … are computed once and together, by a jet, and multiplied: a
// product costs next to nothing beside most of them.
#include <array>
#include <map>
#include <vector>

#include "evolute/ops.h"
#include "graph/rewrite.h"
#include "ops/elementwise.h"

namespace evolute {

namespace {

using Kind = KernelForm::Kind;
using Parts = std::uint32_t;  // bit i: Part i

constexpr Parts bit(Part p) { return Parts{1} << static_cast<int>(p); }
constexpr Parts kSecond = bit(Part::XX) | bit(Part::XY) | bit(Part::YY);
constexpr Parts kByX = bit(Part::X) | bit(Part::XX), kByY = bit(Part::Y) | bit(Part::YY);

Parts parts_of(const KernelForm& form) {
  switch (form.kind) {
    case Kind::Value: return bit(Part::F);
    case Kind::Product: return bit(form.part);
    case Kind::Pair: return bit(Part::X) | bit(Part::XX);
    case Kind::Vjp: return bit(Part::X) | bit(Part::Y);
    case Kind::Vjp2: return bit(Part::X) | bit(Part::Y) | kSecond;
  }
  return 0;
}

// Kernels of a function at the same operands: behind their factors, if they have any.
struct Family {
  std::vector<const Graph::Node*> members;
  Parts parts = 0;
};
using Key = std::pair<const Op*, std::vector<ValueId>>;
Key key_of(const KernelForm& form, const Graph::Node& node) {
  const bool binary = form.function->jet[2].op != nullptr;
  return {form.function, {node.in.end() - (binary ? 2 : 1), node.in.end()}};
}

// A jet that has all of these parts, and which ones it has, in order.
std::vector<Part> find_jet(const Op& function, Parts parts, JetForm& jet) {
  const bool binary = function.jet[2].op != nullptr, second = (parts & kSecond) != 0;
  const std::size_t by = !binary || !(parts & ~kByX & ~bit(Part::F)) ? 1 : !(parts & ~kByY & ~bit(Part::F)) ? 2 : 3;
  jet = function.jet[by];
  if (second) jet = jet.op->jet[by];
  if (by == 1) return {Part::F, Part::X, Part::XX};
  if (by == 2) return {Part::F, Part::Y, Part::YY};
  return {Part::F, Part::X, Part::Y, Part::XX, Part::XY, Part::YY};
}

class Sharing {
 public:
  explicit Sharing(const Graph& graph) : graph_(graph) {
    for (const Graph::Node& node : graph.nodes)
      if (const KernelForm form = form_of(node); form.function) {
        Family& family = families_[key_of(form, node)];
        family.members.push_back(&node);
        family.parts |= parts_of(form);
      }
  }

  bool operator()(const Graph::Node& node, std::span<const Tensor> in, std::span<Tensor> out) const {
    const KernelForm form = form_of(node);
    if (!form.function) return false;
    const Family& family = families_.at(key_of(form, node));
    if (family.members.size() < 2) return false;
    const std::span<const Tensor> at = in.last(form.function->jet[2].op ? 2 : 1);
    std::array<Tensor, 6> part;
    if (!compute(*form.function, family.parts, at, part)) return false;
    multiply(form, in, part, out);
    for (std::size_t i = 0; i < out.size(); ++i)
      out[i] = broadcast_to(out[i], graph_.values[static_cast<std::size_t>(node.out[i])].shape);
    return true;
  }

 private:
  // Functions without jets have derivatives that are formed as quickly as they are read.
  static KernelForm form_of(const Graph::Node& node) {
    const KernelForm form = kernel_form(node.op->kernel_id);
    return form.function && form.function->jet[1].op ? form : KernelForm{};
  }

  static bool compute(const Op& function, Parts parts, std::span<const Tensor> at, std::array<Tensor, 6>& part) {
    if ((parts & (parts - 1)) == 0) {  // one of them: its kernel, with a factor of 1
      for (int p = 1; p < 6; ++p)
        if (parts >> p & 1) {
          std::vector<Tensor> in{scalar(1, at[0].dtype())};
          in.insert(in.end(), at.begin(), at.end());
          const Op* op = product_with(function, static_cast<Part>(p));
          if (!op) return false;
          part[static_cast<std::size_t>(p)] = apply(*op, nullptr, in);
          return true;
        }
      return false;
    }
    JetForm jet;
    const std::vector<Part> of_jet = find_jet(function, parts, jet);
    std::vector<Tensor> results(static_cast<std::size_t>(jet.results));
    apply(*jet.op, nullptr, at, results);
    for (std::size_t i = 0; i < results.size(); ++i) part[static_cast<std::size_t>(of_jet[i])] = results[i];
    return true;
  }

  static void multiply(const KernelForm& form, std::span<const Tensor> in, const std::array<Tensor, 6>& part,
                       std::span<Tensor> out) {
    const auto of = [&](Part p) -> const Tensor& { return part[static_cast<std::size_t>(p)]; };
    switch (form.kind) {
      case Kind::Value: out[0] = of(Part::F); break;
      case Kind::Product: out[0] = mul(in[0], of(form.part)); break;
      case Kind::Pair:
        out[0] = mul(in[0], of(Part::X));
        out[1] = mul(mul(in[0], in[1]), of(Part::XX));
        break;
      case Kind::Vjp:
        out[0] = mul(in[0], of(Part::X));
        out[1] = mul(in[0], of(Part::Y));
        break;
      case Kind::Vjp2: {
        const Tensor &a = in[0], &b = in[1], &g = in[2];
        out[0] = add(mul(a, of(Part::X)), mul(b, of(Part::Y)));
        out[1] = mul(g, add(mul(a, of(Part::XX)), mul(b, of(Part::XY))));
        out[2] = mul(g, add(mul(a, of(Part::XY)), mul(b, of(Part::YY))));
        break;
      }
    }
  }

  const Graph& graph_;
  std::map<Key, Family> families_;
};

}  // namespace

std::shared_ptr<Graph> share_factors(const Graph& graph) {
  const Sharing sharing(graph);
  return rewrite(graph, [&](const Rewriter&, const Graph::Node& node, std::span<const Tensor> in,
                            std::span<Tensor> out) { return sharing(node, in, out); });
}

}  // namespace evolute
