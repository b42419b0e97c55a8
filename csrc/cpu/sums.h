// Adding to a map of fixed-point sums, alone or among other threads.
#pragma once

#include <cstdint>

#include "../core/macros.h"

namespace dvfast {

template <bool kShared>
DVFAST_INLINE void add(int64_t* sum, int64_t value) {
  if constexpr (kShared) {
    __atomic_fetch_add(sum, value, __ATOMIC_RELAXED);
  } else {
    *sum += value;
  }
}

DVFAST_INLINE bool inside(int64_t y, int64_t x, int64_t height, int64_t width) {
  return static_cast<uint64_t>(y) < static_cast<uint64_t>(height) &&
         static_cast<uint64_t>(x) < static_cast<uint64_t>(width);
}

}  // namespace dvfast
