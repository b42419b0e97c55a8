// Refusing arguments. Torch shows what is thrown here as a RuntimeError, in these words alone: its
// own macro puts a function, a file and a line before them, which a caller can do nothing with.
#pragma once

#include <sstream>
#include <stdexcept>

namespace dvfast {

template <typename... Words>
[[noreturn]] void refuse(const Words&... words) {
  std::ostringstream message;
  (message << ... << words);
  throw std::runtime_error(message.str());
}

}  // namespace dvfast

// The words are put together only if they are needed.
#define DVFAST_CHECK(condition, ...) \
  do {                               \
    if (!(condition)) {              \
      ::dvfast::refuse(__VA_ARGS__); \
    }                                \
  } while (false)
