/// \file
/// What a shared build of the library exports: everything else is compiled with hidden visibility.
#pragma once

#if defined(__GNUC__) || defined(__clang__)
#define EVOLUTE_API __attribute__((visibility("default")))
#else
#define EVOLUTE_API
#endif
