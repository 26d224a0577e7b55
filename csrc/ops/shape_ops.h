// What the rules of primitives that re-arrange, pick or create elements share.
#pragma once

#include "ops/attrs.h"
#include "ops/op.h"

namespace evolute {

// Number of elements; -1 where it does not fit 64 bits or a length is negative.
std::int64_t element_count(const Shape& shape);

// Throws ShapeError when a result would have more axes than a tensor can.
void check_ndim(const char* op, int ndim);

// The device that an op with these operands runs on. Constants that the host knows may stand beside operands of any
// device. Throws DeviceError where others are on different devices.
Device common_device(const Op& op, std::span<const Tensor> in);

// The same values on a device. A value that is not traced counts as newly made: nothing is recorded, and a constant
// stays one.
Tensor placed(const Tensor& t, Device device);

inline Backend& backend_of(const Array& a) { return backend(a.aval().device.type); }

// Sets every element of a row-major array.
void fill(Array& out, double value);

}  // namespace evolute
