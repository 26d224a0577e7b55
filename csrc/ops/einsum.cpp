// Einstein summation as a series of diagonals, sums, batched matrix products and a transpose: its derivatives are
// theirs.
#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "evolute/ops.h"

namespace evolute {

namespace {

// A letter, or a negative number for an axis of an ellipsis: −1 for the last, −2 for the one before. Their order is
// that of implicit output.
using Label = int;
using Labels = std::vector<Label>;
constexpr Label kEllipsis = -1000;  // the ellipsis as written

bool has(const Labels& labels, Label x) { return std::find(labels.begin(), labels.end(), x) != labels.end(); }
int position(const Labels& labels, Label x) {
  return static_cast<int>(std::find(labels.begin(), labels.end(), x) - labels.begin());
}
std::string name_of(Label x) { return x < 0 ? "…" : cat("'", static_cast<char>(x), "'"); }

// A tensor with a label for each axis.
struct Operand {
  Tensor t;
  Labels labels;

  std::int64_t length(Label x) const { return t.shape(position(labels, x)); }
};

// ---- the equation

// One term as written: letters, with kEllipsis where the ellipsis stands.
struct Term {
  Labels labels;
  bool ellipsis = false;
};

[[noreturn]] void fail(std::string_view equation, const std::string& what) {
  throw ValueError(cat("einsum: in \"", equation, "\": ", what));
}

Term parse_term(std::string_view equation, std::string_view text) {
  Term term;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
      term.labels.push_back(c);
    } else if (text.substr(i, 3) == "..." && !term.ellipsis) {
      term.labels.push_back(kEllipsis);
      term.ellipsis = true;
      i += 2;
    } else {
      fail(equation, cat("unexpected '", c, "'; a term consists of letters and at most one \"...\""));
    }
  }
  return term;
}

struct Equation {
  std::vector<Term> inputs;
  std::optional<Term> output;
};

Equation parse(std::string_view equation) {
  std::string text;
  std::copy_if(equation.begin(), equation.end(), std::back_inserter(text), [](char c) { return c != ' '; });
  Equation e;
  std::string_view left = text;
  if (const auto arrow = left.find("->"); arrow != left.npos) {
    e.output = parse_term(equation, left.substr(arrow + 2));
    left = left.substr(0, arrow);
  }
  for (;;) {
    const auto comma = left.find(',');
    e.inputs.push_back(parse_term(equation, left.substr(0, comma)));
    if (comma == left.npos) return e;
    left = left.substr(comma + 1);
  }
}

// Replaces the ellipsis by one label per axis it stands for.
Labels expanded(const Term& term, int axes) {
  Labels out;
  for (Label x : term.labels) {
    if (x != kEllipsis)
      out.push_back(x);
    else
      for (int i = axes; i > 0; --i) out.push_back(-i);
  }
  return out;
}

// ---- one operand

Tensor permuted(const Operand& x, const Labels& order) {
  Axes perm;
  for (Label l : order) perm.push_back(position(x.labels, l));
  return transpose(x.t, perm);
}

// Takes the diagonal over axes with the same label.
void take_diagonals(Operand& x, std::string_view equation) {
  for (std::size_t i = 0; i < x.labels.size(); ++i) {
    const Label label = x.labels[i];
    const auto again = std::find(x.labels.begin() + i + 1, x.labels.end(), label);
    if (again == x.labels.end()) continue;
    const int j = static_cast<int>(again - x.labels.begin());
    if (x.t.shape(static_cast<int>(i)) != x.t.shape(j))
      throw ShapeError(cat("einsum: in \"", equation, "\": index ", name_of(label), " has lengths ",
                           x.t.shape(static_cast<int>(i)), " and ", x.t.shape(j), " in one operand, of shape ",
                           x.t.shape(), "; a diagonal needs equal lengths"));
    x.t = diagonal(x.t, 0, static_cast<std::int64_t>(i), j);
    x.labels.erase(again);
    x.labels.erase(x.labels.begin() + i);
    x.labels.push_back(label);
    --i;
  }
}

// Drops axes for which `drop(label)` holds, by `reduce`(tensor, axes).
template <class Drop, class Reduce>
void drop_axes(Operand& x, Drop drop, Reduce reduce) {
  Axes axes;
  Labels kept;
  for (std::size_t i = 0; i < x.labels.size(); ++i) {
    if (drop(x.labels[i]))
      axes.push_back(static_cast<std::int64_t>(i));
    else
      kept.push_back(x.labels[i]);
  }
  if (axes.empty()) return;
  x.t = reduce(x.t, axes);
  x.labels = kept;
}

// ---- two operands

// How the axes of a pair take part in its product.
struct Roles {
  Labels batch, only_a, only_b, contracted;

  // `needed(label)`: other operands or the output have it.
  template <class Needed>
  Roles(const Operand& a, const Operand& b, Needed needed) {
    const Operand& larger = a.t.size() >= b.t.size() ? a : b;  // its order of shared axes is kept, to spare a copy
    for (Label x : larger.labels)
      if (has(a.labels, x) && has(b.labels, x)) (needed(x) ? batch : contracted).push_back(x);
    for (Label x : a.labels)
      if (!has(b.labels, x)) only_a.push_back(x);
    for (Label x : b.labels)
      if (!has(a.labels, x)) only_b.push_back(x);
  }
};

Labels operator+(Labels a, const Labels& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::int64_t total(const Operand& x, const Labels& labels) {
  std::int64_t n = 1;
  for (Label l : labels) n *= x.length(l);
  return n;
}

// The operand as (batch, rows, cols), or without the batch axis when there is none.
Tensor as_matrices(const Operand& x, const Labels& batch, const Labels& rows, const Labels& cols) {
  Shape shape;
  if (!batch.empty()) shape.push_back(total(x, batch));
  shape.push_back(total(x, rows));
  shape.push_back(total(x, cols));
  return reshape(permuted(x, batch + rows + cols), shape);
}

Operand contracted(const Operand& a, const Operand& b, const Roles& r) {
  const Labels labels = r.batch + r.only_a + r.only_b;
  if (r.contracted.empty()) {  // nothing to sum: a product with broadcasting
    Shape left, right;
    for (Label x : labels) {
      left.push_back(has(a.labels, x) ? a.length(x) : 1);
      right.push_back(has(b.labels, x) ? b.length(x) : 1);
    }
    return {mul(reshape(permuted(a, r.batch + r.only_a), left), reshape(permuted(b, r.batch + r.only_b), right)),
            labels};
  }
  // A flag of matmul takes the place of a transpose wherever an operand has its axes in the other order.
  const bool flip_a = a.labels == r.batch + r.contracted + r.only_a,
             flip_b = b.labels == r.batch + r.only_b + r.contracted;
  const Tensor x =
      flip_a ? as_matrices(a, r.batch, r.contracted, r.only_a) : as_matrices(a, r.batch, r.only_a, r.contracted);
  const Tensor y =
      flip_b ? as_matrices(b, r.batch, r.only_b, r.contracted) : as_matrices(b, r.batch, r.contracted, r.only_b);
  Shape shape;
  for (Label l : labels) shape.push_back((has(a.labels, l) ? a : b).length(l));
  return {reshape(matmul(x, y, flip_a, flip_b), shape), labels};
}

// ---- all operands

class Contraction {
 public:
  Contraction(std::string_view equation, std::span<const Tensor> operands);
  Tensor run();

 private:
  void check_lengths();
  // `count`: how often each label is written in the terms of the operands.
  void choose_output(const std::optional<Term>& written, const std::map<Label, int>& count);
  // Whether an operand other than i and j, or the output, has the label.
  bool needed(Label x, std::size_t i, std::size_t j) const;
  void sum_lone(std::size_t i);
  std::pair<std::size_t, std::size_t> cheapest_pair() const;

  std::string_view equation_;
  std::vector<Operand> operands_;
  int ellipsis_axes_ = 0;
  std::map<Label, std::int64_t> length_;
  Labels output_;
};

Contraction::Contraction(std::string_view equation, std::span<const Tensor> operands) : equation_(equation) {
  const Equation e = parse(equation);
  if (e.inputs.size() != operands.size())
    fail(equation, cat("there are ", e.inputs.size(), " terms for ", operands.size(), " operands"));
  DType dtype = DType::Bool;
  for (const Tensor& t : operands) dtype = promote(dtype, t.dtype());
  if (dtype == DType::Bool) dtype = DType::Int64;
  std::map<Label, int> count;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    const Term& term = e.inputs[i];
    const int letters = static_cast<int>(term.labels.size()) - term.ellipsis, rest = operands[i].ndim() - letters;
    if (rest < 0 || (rest > 0 && !term.ellipsis))
      fail(equation, cat("term ", i, " names ", letters, " axes, but operand ", i, " has shape ", operands[i].shape()));
    ellipsis_axes_ = std::max(ellipsis_axes_, rest);
    operands_.push_back({cast(operands[i], dtype), expanded(term, rest)});
    for (Label x : operands_.back().labels) ++count[x];
    take_diagonals(operands_.back(), equation);
  }
  check_lengths();
  choose_output(e.output, count);
}

// Lengths agree, but for 1, which broadcasts.
void Contraction::check_lengths() {
  for (const Operand& x : operands_)
    for (std::size_t i = 0; i < x.labels.size(); ++i) {
      const std::int64_t n = x.t.shape(static_cast<int>(i));
      const auto [at, fresh] = length_.try_emplace(x.labels[i], n);
      if (fresh || at->second == n || n == 1) continue;
      if (at->second != 1)
        throw ShapeError(cat("einsum: in \"", equation_, "\": index ", name_of(x.labels[i]), " has length ", at->second,
                             " in one operand and ", n, " in another, of shape ", x.t.shape(),
                             "; its lengths must be equal or 1"));
      at->second = n;
    }
}

void Contraction::choose_output(const std::optional<Term>& written, const std::map<Label, int>& count) {
  if (!written) {
    for (const auto& [label, n] : count)
      if (label < 0 || n == 1) output_.push_back(label);
    return;
  }
  if (!written->ellipsis && ellipsis_axes_ > 0)
    fail(equation_, "the output needs the \"...\" that the operands have; sum over it with sum");
  output_ = expanded(*written, ellipsis_axes_);
  for (std::size_t i = 0; i < output_.size(); ++i) {
    if (!count.contains(output_[i]))
      fail(equation_, cat("the output index ", name_of(output_[i]), " is in no operand"));
    if (std::count(output_.begin(), output_.end(), output_[i]) > 1)
      fail(equation_, cat("the output has index ", name_of(output_[i]), " twice"));
  }
}

bool Contraction::needed(Label x, std::size_t i, std::size_t j) const {
  if (has(output_, x)) return true;
  for (std::size_t k = 0; k < operands_.size(); ++k)
    if (k != i && k != j && has(operands_[k].labels, x)) return true;
  return false;
}

void Contraction::sum_lone(std::size_t i) {
  drop_axes(
      operands_[i], [&](Label x) { return !needed(x, i, i); },
      [](const Tensor& t, const Axes& axes) { return cast(sum(t, axes), t.dtype()); });  // sum widens int32
}

// The pair whose product adds the fewest elements to what there is.
std::pair<std::size_t, std::size_t> Contraction::cheapest_pair() const {
  std::pair<std::size_t, std::size_t> best{0, 1};
  double least = std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < operands_.size(); ++i)
    for (std::size_t j = i + 1; j < operands_.size(); ++j) {
      const Operand &a = operands_[i], &b = operands_[j];
      const Roles r(a, b, [&](Label x) { return needed(x, i, j); });
      double size = 1;
      for (Label x : r.batch + r.only_a + r.only_b) size *= static_cast<double>(length_.at(x));
      const double growth = size - static_cast<double>(a.t.size()) - static_cast<double>(b.t.size());
      if (growth >= least) continue;
      least = growth;
      best = {i, j};
    }
  return best;
}

Tensor Contraction::run() {
  for (Operand& x : operands_)  // an axis of length 1 that broadcasts goes: another operand gives the label its length
    drop_axes(
        x, [&](Label l) { return x.length(l) == 1 && length_.at(l) != 1; },
        [](const Tensor& t, const Axes& axes) { return squeeze(t, axes); });
  for (std::size_t i = 0; i < operands_.size(); ++i) sum_lone(i);
  while (operands_.size() > 1) {
    const auto [i, j] = cheapest_pair();
    const Roles roles(operands_[i], operands_[j], [&, i = i, j = j](Label x) { return needed(x, i, j); });
    operands_[i] = contracted(operands_[i], operands_[j], roles);
    operands_.erase(operands_.begin() + static_cast<std::ptrdiff_t>(j));
  }
  return permuted(operands_[0], output_);
}

}  // namespace

Tensor einsum(std::string_view equation, std::span<const Tensor> operands) {
  if (operands.empty()) throw ValueError(cat("einsum: \"", equation, "\" needs at least one operand"));
  return Contraction(equation, operands).run();
}

}  // namespace evolute
