// Device plug-ins: a backend in a shared object of its own.
//
// A plug-in is built from the same headers, and contains the parts of csrc/core that have no state (arrays, shapes,
// dtypes). What has state exists once, in the program: a plug-in gets it as a table of functions.
#pragma once

#include "core/backend.h"

namespace evolute {

struct PluginHost {
  const char* version;  // of the library; a plug-in of another version refuses
  void* (*pool_allocate)(std::size_t bytes);
  void (*pool_free)(void* p, std::size_t bytes) noexcept;
  Ref<Buffer> (*allocate_host)(std::size_t bytes);
  Backend& (*backend)(DeviceType type);
  bool (*matmul_allow_tf32)();
};

// What a plug-in exports: gives its backend, which lives as long as the process. Throws DeviceError.
using PluginEntry = Backend* (*)(const PluginHost& host);
inline constexpr const char* kPluginEntry = "evolute_plugin";

}  // namespace evolute
