// Where a vote lands: voter - offset.
//
// A voter stands at stride * i + offset of the grid. Its whole pixels are kept as an integer and
// never enter floating point: a landing is an integer displacement from the voter plus a fraction,
// both made of the vote's offset alone. The same vote therefore lands on the same pixel whatever
// the crop, tile or coordinate origin, and no image is too large for a float32 coordinate.
#pragma once

#include <cmath>
#include <cstdint>

#include "arithmetic.h"

namespace dvfast {

// One axis of the voters' grid: voter i stands at pixel `stride * i + base + fraction`.
template <typename T>
struct GridAxis {
  int64_t stride;
  int64_t base;
  T fraction;  // in [0, 1)

  DVFAST_INLINE int64_t voter(int64_t i) const { return stride * i + base; }
};

// A landing beyond this is outside every image; it also keeps the conversion to integer defined.
constexpr double kFarthestLanding = 1099511627776.0;  // 2^40 pixels

template <typename T>
struct Displacement {
  T whole;     // floor(fraction of the voter - offset)
  T fraction;  // what is left, in [0, 1]
};

template <typename T>
DVFAST_INLINE Displacement<T> displacement(T voter_fraction, T offset) {
  const T moved = voter_fraction - offset;
  const T whole = std::floor(moved);
  return {whole, moved - whole};
}

// The nearest pixel; a tie goes to the greater coordinate.
template <typename T>
DVFAST_INLINE T nearest_step(const Displacement<T>& landing) {
  return landing.fraction >= T(0.5) ? T(1) : T(0);
}

template <typename T>
DVFAST_INLINE bool is_finite(T value) {
  return value - value == T(0);
}

template <typename T>
DVFAST_INLINE bool within_reach(const Displacement<T>& landing) {
  return std::abs(landing.whole) <= T(kFarthestLanding);
}

}  // namespace dvfast
