// Adding to a map of fixed-point sums, alone or among other threads.
#pragma once

#include <cstdint>

#include "../core/macros.h"

namespace dvfast {

template <bool kShared>
struct Add {
  DVFAST_INLINE void operator()(int64_t* sum, int64_t value) const {
    if constexpr (kShared) {
      __atomic_fetch_add(sum, value, __ATOMIC_RELAXED);
    } else {
      *sum += value;
    }
  }
};

}  // namespace dvfast
