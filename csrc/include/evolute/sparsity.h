/// \file
/// Sparse Jacobians: which elements can be other than zero, and how few directions find all of these.
#pragma once

#include "evolute/autodiff.h"

namespace evolute {

/// The elements of a matrix that may be other than zero, row by row: row i has columns[start[i]] … columns[start[i + 1]
/// - 1], in increasing order.
struct Sparsity {
  std::int64_t n_columns = 0;
  std::vector<std::int64_t> start;
  std::vector<std::int32_t> columns;
  std::int64_t n_rows() const { return static_cast<std::int64_t>(start.size()) - 1; }
};
EVOLUTE_API Sparsity transposed(const Sparsity& pattern);

/// The pattern of the Jacobian of all outputs, one after the other, by all inputs. f is recorded, and sets of inputs
/// are passed through its operations: the pattern holds for all values of the inputs. Elementwise operations, movements
/// of data, sums, products of matrices, branches, loops and functions with rules of their own are followed element by
/// element; where an operation is not, as a factorisation, each result counts as dependent on all that goes in.
EVOLUTE_API Sparsity jacobian_sparsity(const Function& f, const TensorList& inputs);

/// A colour for each column such that no row has two of one colour: the sum of all columns of a colour shows each of
/// its elements. Greedy, in the order of the columns.
EVOLUTE_API std::vector<std::int32_t> color_columns(const Sparsity& pattern);
/// Colours for a symmetric matrix, of which it is enough that an element shows either in its own place or in that of
/// its transpose (a star colouring). Greedy, in order of decreasing number of elements. The pattern must be symmetric.
EVOLUTE_API std::vector<std::int32_t> color_symmetric(const Sparsity& pattern);

/// Where each element of the pattern shows in the products with the sums of unit vectors of each colour: row
/// `colour`, element `row` of a matrix with a row per colour, as colour · n_rows + row.
EVOLUTE_API std::vector<std::int64_t> places_of(const Sparsity& pattern, const std::vector<std::int32_t>& colors);

}  // namespace evolute
