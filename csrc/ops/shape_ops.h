// What the rules of primitives that re-arrange, pick or create elements share.
#pragma once

#include "ops/attrs.h"
#include "ops/op.h"

namespace evolute {

// Number of elements; -1 where it does not fit 64 bits or a length is negative.
std::int64_t element_count(const Shape& shape);

// Throws ShapeError when a result would have more axes than a tensor can.
void check_ndim(const char* op, int ndim);

// Throws DeviceError unless all operands are on one device.
void check_devices(const Op& op, std::span<const Tensor> in);

inline Backend& backend_of(const Array& a) { return backend(a.aval().device.type); }

// Sets every element of a row-major array.
void fill(Array& out, double value);

}  // namespace evolute
