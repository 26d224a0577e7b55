/// \file
/// Exceptions of the engine. Each reaches Python as the class of the same name.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

#include "evolute/export.h"

namespace evolute {

/// Base of all errors raised by the engine; a failed call leaves every tensor and cache as it was.
class EVOLUTE_API Error : public std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// Shapes that do not fit (Python: `ShapeError(ValueError)`).
class EVOLUTE_API ShapeError : public Error {
  using Error::Error;
};
/// Element types that do not fit (Python: `DTypeError(TypeError)`).
class EVOLUTE_API DTypeError : public Error {
  using Error::Error;
};
/// A device that is missing or unfit (Python: `DeviceError(RuntimeError)`).
class EVOLUTE_API DeviceError : public Error {
  using Error::Error;
};
/// A value was needed while a function was being recorded, or a transform's value outlived it
/// (Python: `TraceError(RuntimeError)`).
class EVOLUTE_API TraceError : public Error {
  using Error::Error;
};
/// The special case of a value that is not known while a function is recorded: compiled functions answer it by running
/// eagerly.
class EVOLUTE_API UnknownValueError : public TraceError {
  using TraceError::TraceError;
};
/// An argument outside its allowed set (Python: `ValueError`).
class EVOLUTE_API ValueError : public Error {
  using Error::Error;
};
/// An index out of range (Python: `IndexError`).
class EVOLUTE_API IndexError : public Error {
  using Error::Error;
};

/// Concatenates its arguments as a stream would print them.
template <class... A>
std::string cat(const A&... parts) {
  std::ostringstream s;
  (s << ... << parts);
  return s.str();
}

}  // namespace evolute
