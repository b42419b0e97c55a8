// Whole blocks of what does not divide evenly. Nothing here is negative.
#pragma once

#include "macros.h"

namespace dvfast {

// How many blocks it takes.
template <typename Count, typename Block>
constexpr DVFAST_INLINE auto divide_up(Count count, Block block) {
  return (count + block - 1) / block;
}

// How many they hold.
template <typename Count, typename Block>
constexpr DVFAST_INLINE auto filled_up(Count count, Block block) {
  return divide_up(count, block) * block;
}

}  // namespace dvfast
