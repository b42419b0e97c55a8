// Votes are summed as 64-bit integers in units of 2^-30. Integer addition is associative, so a map
// is the same to the bit for any order of the votes, any number of threads and any device.
#pragma once

#include <cmath>
#include <cstdint>

#include "macros.h"

namespace dvfast {

constexpr double kFixedOne = 1073741824.0;  // 2^30

template <typename T>
DVFAST_INLINE int64_t to_fixed(T value) {
  return std::llrint(value * T(kFixedOne));
}

template <typename T>
DVFAST_INLINE T from_fixed(int64_t value) {
  return static_cast<T>(value) * T(1.0 / kFixedOne);
}

// The largest |confidence| that cannot overflow a sum of `num_votes` votes, each scaled by at most
// `peak`: num_votes * peak * limit <= 2^33 - 2^13 < 2^63 / 2^30. The missing millionth is room for
// limit, peak and products to be rounded in float. Sigmoid confidences never come near.
DVFAST_INLINE double confidence_limit(int64_t num_votes, double peak) {
  const double count = num_votes > 0 ? static_cast<double>(num_votes) : 1.0;
  return 8589926400.0 / (count * (peak > 1.0 ? peak : 1.0));
}

}  // namespace dvfast
