// Elementwise kernels whose results are summed at once: the work is cut into chunks that fit the second-level cache,
// and what a kernel wrote there is summed before it is written over.
#include <vector>

#include "core/thread_pool.h"
#include "cpu/cost.h"
#include "cpu/cpu_backend.h"

namespace evolute::cpu {

namespace {

constexpr std::int64_t kChunk = 32768;  // elements

// How an operand that broadcasts to a shape of `ndim` axes lies along one of these axes.
struct Along {
  Along(const Array& a, int axis, int ndim)
      : array(a), axis(axis - (ndim - a.ndim())), varies(this->axis >= 0 && a.shape()[this->axis] != 1) {}

  // Positions [begin, begin + n) of an array that varies, all of one that does not.
  Ref<Array> slice(std::int64_t begin, std::int64_t n) const {
    if (!varies) return view(array, array.shape(), array.strides());
    Shape shape = array.shape();
    shape[axis] = n;
    return view(array, shape, array.strides(), begin * array.strides()[axis]);
  }

  const Array& array;
  int axis;
  bool varies;
};

// out = `in` summed over the axes along which `out` is broadcast; `out` may lack leading axes.
void sum_into(Backend& cpu, const Array& in, const Array& out) {
  Axes axes;
  Shape shape;
  Strides strides;
  const int extra = in.ndim() - out.ndim();
  for (int i = 0; i < in.ndim(); ++i) {
    if (i < extra || (out.shape()[i - extra] == 1 && in.shape()[i] != 1)) {
      axes.push_back(i);
    } else {
      shape.push_back(out.shape()[i - extra]);
      strides.push_back(out.strides()[i - extra]);
    }
  }
  cpu.reduce(Reduction::Sum, in, axes, *view(out, shape, strides));
}

// Where to cut: along the outermost axis that gives chunks of more than one entry, `rows` of them for each chunk.
struct Cut {
  explicit Cut(const Shape& shape) {
    constexpr std::int64_t kShortest = 256;  // elements side by side
    std::int64_t inner = shape.product() / shape[0];
    while (inner > kChunk / 2) inner /= shape[++axis];
    length = shape[axis];
    others = shape.product() / length;
    rows = std::clamp<std::int64_t>(std::max(kChunk / others, kShortest / inner), 1, length);
    chunks = (length + rows - 1) / rows;
  }
  int axis = 0;
  std::int64_t length, others, rows, chunks;
};

// One result. If it is broadcast along the axis that is cut, each chunk gives a summand of its own.
struct Target {
  Target(Array& out, const Shape& shape, int axis, std::int64_t chunks)
      : out(out), along(out, axis, shape.size()), full(out.shape() == shape) {
    if (full || along.varies) return;
    Shape partial{chunks};
    for (auto n : out.shape()) partial.push_back(n);
    summands = empty({partial, out.dtype()});
  }
  Ref<Array> of_chunk(std::int64_t chunk, std::int64_t begin, std::int64_t n) const {
    return summands ? view(*summands, out.shape(), row_major(out.shape()), chunk * out.size()) : along.slice(begin, n);
  }

  Array& out;
  Along along;
  bool full;
  Ref<Array> summands;
};

}  // namespace

void CpuBackend::elementwise_sum(int kernel, const Shape& shape, std::span<const Array* const> in,
                                 std::span<Array* const> out) {
  const DType dtype = out[0]->dtype();
  const Cut cut(shape);
  std::vector<Along> sources;
  std::vector<Target> targets;
  for (const Array* a : in) sources.emplace_back(*a, cut.axis, shape.size());
  for (Array* a : out) targets.emplace_back(*a, shape, cut.axis, cut.chunks);

  const double ns = static_cast<double>(cut.rows * cut.others) * (elementwise_ns(kernel, dtype) + kNsPerByte);
  parallel_ranges(cut.chunks, ns, [&](std::int64_t first, std::int64_t last) {
    Shape tile = shape;
    tile[cut.axis] = cut.rows;
    std::vector<Ref<Array>> scratch;  // for each result that is summed
    for (const Target& t : targets) scratch.push_back(t.full ? Ref<Array>() : empty({tile, dtype}));
    std::vector<Ref<Array>> operands, results;
    std::vector<const Array*> from;
    std::vector<Array*> to;
    for (std::int64_t c = first; c < last; ++c) {
      const std::int64_t begin = c * cut.rows, n = std::min(cut.rows, cut.length - begin);
      tile[cut.axis] = n;
      operands.clear(), results.clear(), from.clear(), to.clear();
      for (const Along& s : sources) from.push_back(operands.emplace_back(s.slice(begin, n)).get());
      for (std::size_t i = 0; i < targets.size(); ++i) {
        results.push_back(targets[i].full ? targets[i].along.slice(begin, n)
                                          : view(*scratch[i], tile, row_major(tile)));
        to.push_back(results[i].get());
      }
      elementwise(kernel, from, to);
      for (std::size_t i = 0; i < targets.size(); ++i)
        if (!targets[i].full) sum_into(*this, *to[i], *targets[i].of_chunk(c, begin, n));
    }
  });
  for (const Target& t : targets)
    if (t.summands) reduce(Reduction::Sum, *t.summands, {0}, t.out);
}

}  // namespace evolute::cpu
