// The DLPack exchange format (dmlc/dlpack, ABI 1.x), as far as tensors use it.
#pragma once

#include <cstdint>

#include "python/py_tensor.h"

namespace evolute::python {

struct DLDevice {
  std::int32_t type;  // 1: host, 2: CUDA, 3: host memory that CUDA has pinned
  std::int32_t id;
};
struct DLDataType {
  std::uint8_t code;  // 0: int, 1: uint, 2: float, 6: bool
  std::uint8_t bits;
  std::uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  std::int32_t ndim;
  DLDataType dtype;
  std::int64_t* shape;
  std::int64_t* strides;  // in elements; null: row-major
  std::uint64_t byte_offset;
};
struct DLManagedTensor {
  DLTensor tensor;
  void* context;
  void (*deleter)(DLManagedTensor*);
};
struct DLVersion {
  std::uint32_t major, minor;
};
struct DLManagedTensorVersioned {
  DLVersion version;
  void* context;
  void (*deleter)(DLManagedTensorVersioned*);
  std::uint64_t flags;  // bit 0: read-only
  DLTensor tensor;
};

// `copy`: the consumer gets memory of its own, which it may write to. `stream`: on which it will use the tensor, by
// DLPack's numbers; -1 for none of its business.
DLDevice dl_device(const Tensor& t);
py::capsule to_dlpack(const Tensor& t, bool versioned, bool copy, std::intptr_t stream);
Tensor from_dlpack(py::object source);

}  // namespace evolute::python
