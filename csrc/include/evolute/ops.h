/// \file
/// Operations on tensors: each differentiable to any order, in every mode.
///
/// Shapes broadcast as in NumPy; dtypes promote as `promote` says. Functions of real analysis turn integers into
/// float32. Every function throws ShapeError or DTypeError, naming itself, when its operands do not fit.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "evolute/tensor.h"

namespace evolute {

// Elementwise functions, one per line of elementwise.def.
#define EV_UNARY(Name, fn, ...) EVOLUTE_API Tensor fn(const Tensor& x);
#define EV_UNARY_FLAT(Name, fn, ...) EVOLUTE_API Tensor fn(const Tensor& x);
#define EV_BINARY(Name, fn, ...)                           \
  EVOLUTE_API Tensor fn(const Tensor& x, const Tensor& y); \
  EVOLUTE_API Tensor fn(const Tensor& x, double y);        \
  EVOLUTE_API Tensor fn(double x, const Tensor& y);
#define EV_BINARY_FLAT(...) EV_BINARY(__VA_ARGS__)
#define EV_COMPARE(...) EV_BINARY(__VA_ARGS__)
#include "evolute/elementwise.def"

inline Tensor operator-(const Tensor& x) { return neg(x); }
#define EV_OPERATOR(symbol, fn)                                                        \
  inline Tensor operator symbol(const Tensor& x, const Tensor& y) { return fn(x, y); } \
  inline Tensor operator symbol(const Tensor& x, double y) { return fn(x, y); }        \
  inline Tensor operator symbol(double x, const Tensor& y) { return fn(x, y); }
EV_OPERATOR(+, add)
EV_OPERATOR(-, sub)
EV_OPERATOR(*, mul)
EV_OPERATOR(/, div)
#undef EV_OPERATOR

/// cond ? x : y.
EVOLUTE_API Tensor where(const Tensor& cond, const Tensor& x, const Tensor& y);
/// Limits x to [lo, hi]; an undefined bound is no bound. At a bound the derivative is that of x.
EVOLUTE_API Tensor clip(const Tensor& x, const Tensor& lo, const Tensor& hi);
/// Conversion of element type.
EVOLUTE_API Tensor cast(const Tensor& x, DType dtype);
/// x on another device; x itself if it is there. Throws DeviceError if the device is not available.
EVOLUTE_API Tensor to_device(const Tensor& x, Device device);
/// x with derivative zero, in every mode.
EVOLUTE_API Tensor stop_gradient(const Tensor& x);

// Reductions. No `axes` means all.
using OptAxes = std::optional<Axes>;
EVOLUTE_API Tensor sum(const Tensor& x, const OptAxes& axes = {}, bool keepdims = false);
EVOLUTE_API Tensor mean(const Tensor& x, const OptAxes& axes = {}, bool keepdims = false);
EVOLUTE_API Tensor prod(const Tensor& x, const OptAxes& axes = {}, bool keepdims = false);
EVOLUTE_API Tensor max(const Tensor& x, const OptAxes& axes = {}, bool keepdims = false);
EVOLUTE_API Tensor min(const Tensor& x, const OptAxes& axes = {}, bool keepdims = false);
EVOLUTE_API Tensor any(const Tensor& x, const OptAxes& axes = {}, bool keepdims = false);
EVOLUTE_API Tensor all(const Tensor& x, const OptAxes& axes = {}, bool keepdims = false);
EVOLUTE_API Tensor argmax(const Tensor& x, std::optional<std::int64_t> axis = {}, bool keepdims = false);
EVOLUTE_API Tensor argmin(const Tensor& x, std::optional<std::int64_t> axis = {}, bool keepdims = false);
EVOLUTE_API Tensor cumsum(const Tensor& x, std::int64_t axis, bool reverse = false);
/// Vector p-norm over `axes`; derivative 0 where all elements are 0.
EVOLUTE_API Tensor norm(const Tensor& x, double ord = 2, const OptAxes& axes = {}, bool keepdims = false);
EVOLUTE_API Tensor logsumexp(const Tensor& x, const OptAxes& axes = {}, bool keepdims = false);
EVOLUTE_API Tensor softmax(const Tensor& x, std::int64_t axis = -1);
EVOLUTE_API Tensor log_softmax(const Tensor& x, std::int64_t axis = -1);

// Products.
/// Matrix product over the last two axes, batch axes broadcast; 1-d operands as in NumPy. The flags transpose the last
/// two axes of an operand that has them.
EVOLUTE_API Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a = false, bool transpose_b = false);
/// NumPy's dot: inner product of vectors, matrix product of matrices, last axis with last but one otherwise.
EVOLUTE_API Tensor dot(const Tensor& a, const Tensor& b);
EVOLUTE_API Tensor outer(const Tensor& a, const Tensor& b);
/// Einstein summation; ellipsis, repeated and omitted indices as in NumPy.
EVOLUTE_API Tensor einsum(std::string_view equation, std::span<const Tensor> operands);

// Shape.
/// One entry may be -1.
EVOLUTE_API Tensor reshape(const Tensor& x, const Shape& shape);
/// No `perm` reverses the axes.
EVOLUTE_API Tensor transpose(const Tensor& x, const OptAxes& perm = {});
EVOLUTE_API Tensor swapaxes(const Tensor& x, std::int64_t a, std::int64_t b);
EVOLUTE_API Tensor moveaxis(const Tensor& x, std::int64_t from, std::int64_t to);
EVOLUTE_API Tensor broadcast_to(const Tensor& x, const Shape& shape);
/// No `axes` squeezes all axes of length 1.
EVOLUTE_API Tensor squeeze(const Tensor& x, const OptAxes& axes = {});
EVOLUTE_API Tensor expand_dims(const Tensor& x, std::int64_t axis);
EVOLUTE_API Tensor concat(std::span<const Tensor> xs, std::int64_t axis = 0);
EVOLUTE_API Tensor stack(std::span<const Tensor> xs, std::int64_t axis = 0);
/// Equal parts; throws ShapeError when `parts` does not divide the axis.
EVOLUTE_API std::vector<Tensor> split(const Tensor& x, std::int64_t parts, std::int64_t axis = 0);
/// Parts that end before each index.
EVOLUTE_API std::vector<Tensor> split_at(const Tensor& x, std::span<const std::int64_t> indices, std::int64_t axis = 0);
EVOLUTE_API Tensor tile(const Tensor& x, const Shape& repeats);
EVOLUTE_API Tensor flip(const Tensor& x, const OptAxes& axes = {});
/// Rolls elements by `shift[i]` along `axes[i]`.
EVOLUTE_API Tensor roll(const Tensor& x, const Dims& shift, const Axes& axes);
/// Pads axis i with before[i] and after[i] elements of `value`.
EVOLUTE_API Tensor pad(const Tensor& x, const Dims& before, const Dims& after, double value = 0);
EVOLUTE_API Tensor diagonal(const Tensor& x, std::int64_t offset = 0, std::int64_t axis1 = 0, std::int64_t axis2 = 1);
/// A matrix (batched over leading axes) with the last axis of x on its diagonal `offset`.
EVOLUTE_API Tensor diag_embed(const Tensor& x, std::int64_t offset = 0);
/// NumPy's diag: builds a matrix from a vector, takes the diagonal of a matrix.
EVOLUTE_API Tensor diag(const Tensor& x, std::int64_t offset = 0);
EVOLUTE_API Tensor trace(const Tensor& x, std::int64_t offset = 0);
EVOLUTE_API Tensor tril(const Tensor& x, std::int64_t offset = 0);
EVOLUTE_API Tensor triu(const Tensor& x, std::int64_t offset = 0);

// Indexing.
/// x[start:stop:step] along one axis, Python rules.
EVOLUTE_API Tensor slice(const Tensor& x, std::int64_t axis, std::int64_t start, std::int64_t stop,
                         std::int64_t step = 1);
/// x[i] along `axis`, which is removed.
EVOLUTE_API Tensor index(const Tensor& x, std::int64_t i, std::int64_t axis = 0);
/// Integer-array indexing: index arrays broadcast to a shape B, used along `axes`; those axes leave, B comes first.
EVOLUTE_API Tensor gather_nd(const Tensor& x, std::span<const Tensor> indices, const Axes& axes);
/// Copy of `base` with `updates` set at (or added to) the positions `gather_nd` would read; `updates` broadcasts.
/// Where an index occurs twice, a set keeps the last in row-major order.
EVOLUTE_API Tensor scatter_set(const Tensor& base, std::span<const Tensor> indices, const Axes& axes,
                               const Tensor& updates);
EVOLUTE_API Tensor scatter_add_nd(const Tensor& base, std::span<const Tensor> indices, const Axes& axes,
                                  const Tensor& updates);
/// NumPy's take: `indices` of any shape along `axis`, whose place the index shape takes.
EVOLUTE_API Tensor take(const Tensor& x, const Tensor& indices, std::int64_t axis = 0);
/// out[i, j, ..] = x[index[i, j, ..], j, ..] for axis 0, and so on (torch.gather, np.take_along_axis).
EVOLUTE_API Tensor gather(const Tensor& x, std::int64_t axis, const Tensor& index);
/// The reverse of `gather`: adds src[i, j, ..] to base[index[i, j, ..], j, ..].
EVOLUTE_API Tensor scatter_add(const Tensor& base, std::int64_t axis, const Tensor& index, const Tensor& src);
/// Adds slice i of `src` along `axis` to slice index[i] of base.
EVOLUTE_API Tensor index_add(const Tensor& base, std::int64_t axis, const Tensor& index, const Tensor& src);
/// Indices (one int64 vector per axis) of the true elements. Needs a concrete value.
EVOLUTE_API std::vector<Tensor> nonzero(const Tensor& mask);

// Creation.
EVOLUTE_API Tensor full(const Shape& shape, double value, DType dtype = float32, Device device = {});
inline Tensor zeros(const Shape& shape, DType dtype = float32, Device device = {}) {
  return full(shape, 0, dtype, device);
}
inline Tensor ones(const Shape& shape, DType dtype = float32, Device device = {}) {
  return full(shape, 1, dtype, device);
}
inline Tensor zeros_like(const Tensor& x) { return full(x.shape(), 0, x.dtype(), x.device()); }
inline Tensor ones_like(const Tensor& x) { return full(x.shape(), 1, x.dtype(), x.device()); }
EVOLUTE_API Tensor arange(double start, double stop, double step = 1, DType dtype = float32, Device device = {});
EVOLUTE_API Tensor linspace(double start, double stop, std::int64_t n, DType dtype = float32, Device device = {});
EVOLUTE_API Tensor eye(std::int64_t n, std::int64_t m = -1, std::int64_t offset = 0, DType dtype = float32,
                       Device device = {});
/// Uniform on [0, 1): 24 (float32) or 53 (float64) random bits. The same seed gives the same values everywhere.
EVOLUTE_API Tensor uniform(const Shape& shape, std::uint64_t seed, DType dtype = float32, Device device = {});
EVOLUTE_API Tensor standard_normal(const Shape& shape, std::uint64_t seed, DType dtype = float32, Device device = {});

// Dense linear algebra over the last two axes; leading axes are batch axes and broadcast.
EVOLUTE_API Tensor cholesky(const Tensor& a);
EVOLUTE_API Tensor solve_triangular(const Tensor& a, const Tensor& b, bool lower = true, bool transpose = false,
                                    bool unit_diagonal = false);
/// Solves a x = b; b is a matrix (…, n, k), or a vector (n,).
EVOLUTE_API Tensor solve(const Tensor& a, const Tensor& b);
EVOLUTE_API Tensor inv(const Tensor& a);
EVOLUTE_API Tensor det(const Tensor& a);
/// Sign of the determinant and log of its absolute value.
EVOLUTE_API std::pair<Tensor, Tensor> slogdet(const Tensor& a);

}  // namespace evolute
