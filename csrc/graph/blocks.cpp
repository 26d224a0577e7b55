#include "graph/blocks.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "core/thread_pool.h"
#include "math/elementwise.h"

namespace evolute {

namespace {

// Rows [begin, begin + count) of an array.
Ref<Array> rows_of(const Array& a, std::int64_t begin, std::int64_t count) {
  Shape shape = a.shape();
  shape[0] = count;
  return view(a, shape, a.strides(), begin * a.strides()[0]);
}

// One sum over the blocks of a part. Some are added up one after the other, as the rows within a block are; then in the
// shape of a binary tree, so that the error grows with the logarithm of their number.
class RowSum {
 public:
  explicit RowSum(const Aval& aval) : aval_(aval) {}

  // Where the blocks of one term add what is theirs, zero at first.
  Array* new_term() {
    term_ = fresh();
    std::memset(term_->bytes(), 0, static_cast<std::size_t>(term_->size()) * size_of(aval_.dtype));
    return term_.get();
  }
  Array* term() const { return term_.get(); }
  void add_term() { add(std::exchange(term_, {})); }

  void add(RowSum& other) { add(other.total()); }
  // Leaves the sum alone in memory.
  void finish() {
    levels_ = {total()};
    spare_.clear();
  }
  void store(Array& out) {
    const Ref<Array> sum = total();
    std::memcpy(out.bytes(), sum->bytes(), static_cast<std::size_t>(out.size()) * size_of(out.dtype()));
  }

 private:
  // levels_[i] is the sum of 2^i terms, where there is one.
  void add(Ref<Array> sum) {
    std::size_t i = 0;
    for (; i < levels_.size() && levels_[i]; ++i) sum = plus(std::exchange(levels_[i], {}), std::move(sum));
    if (i == levels_.size()) levels_.emplace_back();
    levels_[i] = std::move(sum);
  }
  Ref<Array> total() {
    Ref<Array> sum;
    for (Ref<Array>& level : levels_)
      if (level) sum = sum ? plus(std::exchange(level, {}), std::move(sum)) : std::exchange(level, {});
    return sum;
  }
  Ref<Array> plus(Ref<Array> a, Ref<Array> b) {
    Ref<Array> sum = fresh();
    const Array* in[] = {a.get(), b.get()};
    Array* out[] = {sum.get()};
    backend(DeviceType::CPU).elementwise(kAdd, in, out);
    spare_.push_back(std::move(a));
    spare_.push_back(std::move(b));
    return sum;
  }
  Ref<Array> fresh() {
    if (spare_.empty()) return empty(aval_);
    Ref<Array> a = std::move(spare_.back());
    spare_.pop_back();
    return a;
  }

  Aval aval_;
  Ref<Array> term_;
  std::vector<Ref<Array>> levels_, spare_;
};

// Runs blocks [begin, end), and gives their sums in `sums`, a term of which is that of `chain` blocks.
void run_blocks(const RowBlocks& b, ArrayRefs in, std::span<Array* const> out, std::int64_t begin, std::int64_t end,
                std::int64_t chain, std::vector<RowSum>& sums) {
  for (std::size_t i = 0; i < out.size(); ++i)
    if (!b.rows_out[i]) sums.emplace_back(out[i]->aval());
  std::vector<Ref<Array>> views;
  std::vector<const Array*> block_in(sums.size());  // the sums so far, then the operands
  block_in.insert(block_in.end(), in.begin(), in.end());
  std::vector<Array*> block_out(out.begin(), out.end());
  const auto part = [&](const Array& a, std::int64_t first, std::int64_t count) {
    views.push_back(rows_of(a, first, count));
    return views.back().get();
  };
  for (std::int64_t k = begin; k < end; ++k) {
    views.clear();
    const std::int64_t first = k * b.rows, count = std::min(b.rows, b.n - first);
    for (std::size_t i = 0; i < sums.size(); ++i) block_in[i] = k % chain == 0 ? sums[i].new_term() : sums[i].term();
    for (std::size_t i = 0; i < in.size(); ++i)
      if (b.rows_in[i]) block_in[sums.size() + i] = part(*in[i], first, count);
    std::size_t next = 0;
    for (std::size_t i = 0; i < out.size(); ++i)
      block_out[i] = b.rows_out[i] ? part(*out[i], first, count) : sums[next++].term();
    (count == b.rows ? b.plan : b.last)->run_into(block_in, block_out);
    if ((k + 1) % chain == 0 || k + 1 == end)
      for (RowSum& s : sums) s.add_term();
  }
  for (RowSum& s : sums) s.finish();
}

void run(const Op&, const Attrs* attrs, ArrayRefs in, std::span<Array* const> out) {
  const RowBlocks& b = *attrs_as<RowBlocksAttrs>(attrs).blocks;
  const std::int64_t blocks = (b.n + b.rows - 1) / b.rows;
  // More parts than threads: one that is late, or disturbed, then does fewer of them. Each is a subtree of the sums, as
  // its blocks are a power of two in number, so that the bits do not depend on how many parts there are.
  constexpr std::int64_t kPartsPerThread = 16;
  const std::int64_t threads = worthwhile_parts(b.ns * static_cast<double>(b.n));
  const std::int64_t wanted = threads == 1 ? 1 : kPartsPerThread * threads;
  // A term of a sum, which no two parts share; by the number of blocks alone.
  constexpr std::uint64_t kMaxChain = 16, kMinTerms = 32;
  const auto chain = static_cast<std::int64_t>(
      std::clamp<std::uint64_t>(std::bit_floor(static_cast<std::uint64_t>(blocks) / kMinTerms), 1, kMaxChain));
  const auto size = std::max(
      chain, static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>((blocks + wanted - 1) / wanted))));
  const std::int64_t parts = (blocks + size - 1) / size;
  std::vector<std::vector<RowSum>> sums(static_cast<std::size_t>(parts));
  parallel_for(parts, [&](std::int64_t p) {
    run_blocks(b, in, out, p * size, std::min((p + 1) * size, blocks), chain, sums[static_cast<std::size_t>(p)]);
  });
  std::size_t next = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (b.rows_out[i]) continue;
    RowSum total(out[i]->aval());
    for (auto& part : sums) total.add(part[next]);
    total.store(*out[i]);
    ++next;
  }
}

const Op op{.name = "row_blocks", .kernel = run, .doc = {.group = "graph", .summary = "", .formula = ""}};

}  // namespace

const Op& row_blocks_op = op;

}  // namespace evolute
