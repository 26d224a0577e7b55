/// \file
/// Linear parts of functions, to be applied again and again, and their transposes.
#pragma once

#include "evolute/autodiff.h"

namespace evolute {

/// What `linearize` gives: the outputs of f, and its derivative at the inputs.
struct Linearized {
  TensorList outputs;
  /// Maps tangents (one per input, of its shape and dtype) to those of the outputs. It runs the linear operations
  /// alone: everything that depends on the inputs has been computed. May be called any number of times, under any
  /// transform.
  Function derivative;
};
/// Runs f once, with the operations on tangents recorded. Inputs must be of floating dtype (DTypeError otherwise).
EVOLUTE_API Linearized linearize(const Function& f, const TensorList& inputs);

/// The transpose of a linear function, from cotangents of its outputs to those of its inputs. `like`: tensors of the
/// shapes and dtypes of the inputs, whose values do not count. Throws ValueError if f is not linear.
EVOLUTE_API Function linear_transpose(const Function& f, const TensorList& like);

/// A function and the tensors that it uses from outside, the values of variables among them.
struct ClosedFunction {
  /// The function of the inputs and the constants.
  Function function;
  TensorList constants;
};
/// Records f, which must not write variables (TraceError).
EVOLUTE_API ClosedFunction close_over(const Function& f, const TensorList& like);

}  // namespace evolute
