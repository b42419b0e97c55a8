// Eq. 2, the hybrid activation: the sigmoid on confidence channels, the identity on offsets.
#pragma once

#include "arithmetic.h"

namespace dvfast {

// Vote j owns the channels 3j (confidence), 3j + 1 (offset y) and 3j + 2 (offset x).
constexpr int64_t kChannelsPerVote = 3;

template <typename T>
DVFAST_INLINE T sigmoid(T x) {
  return T(1) / (T(1) + exponential(-x));
}

// d sigm(x) / dx, from the activated confidence w = sigm(x).
template <typename T>
DVFAST_INLINE T sigmoid_gradient(T w) {
  return w * (T(1) - w);
}

// d^2 sigm(x) / dx^2 divided by d sigm(x) / dx: what a second differentiation multiplies by.
template <typename T>
DVFAST_INLINE T sigmoid_gradient_slope(T w) {
  return T(1) - T(2) * w;
}

}  // namespace dvfast
