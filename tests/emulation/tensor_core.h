// How a tensor core adds.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <climits>
#include <cmath>
#include <cstdint>

namespace emulation {

// What stands before the point of a number that is not zero: [2^n, 2^(n + 1)).
inline int exponent_of(float value) {
  const int exponent = static_cast<int>(static_cast<uint32_t>(to_bits(value)) >> 23 & 0xff);
  return (exponent == 0 ? 1 : exponent) - 127;
}

struct Factors {
  float left, right;
};

// sum + left * right + ... as tensor cores of compute capability 8.0 do it: exact products, all
// terms cut off, towards zero, below a 25th bit of what may be the largest of them, added, and
// their sum cut off to float32. (Fasi et al., PeerJ Computer Science 7:e330, 2021; later devices
// keep a bit more and sum twice as many terms at once.)
template <int kTerms>
float sum_of_products(float sum, const Factors (&terms)[kTerms]) {
  constexpr int kKept = 24;
  int largest = sum == 0.0f ? INT_MIN : exponent_of(sum);
  double exact = static_cast<double>(sum);
  for (const Factors& term : terms) {
    exact += static_cast<double>(term.left) * static_cast<double>(term.right);
    if (term.left == 0.0f || term.right == 0.0f) continue;
    largest = std::max(largest, exponent_of(term.left) + exponent_of(term.right));
  }
  if (largest == INT_MIN || !std::isfinite(exact)) return static_cast<float>(exact);
  const double unit = std::ldexp(1.0, largest - kKept), per_unit = std::ldexp(1.0, kKept - largest);
  auto units = static_cast<int64_t>(static_cast<double>(sum) * per_unit);
  for (const Factors& term : terms) {
    units += static_cast<int64_t>(static_cast<double>(term.left) * static_cast<double>(term.right) *
                                  per_unit);
  }
  const double cut = static_cast<double>(units) * unit;
  const auto result = static_cast<float>(cut);
  const bool larger = std::abs(static_cast<double>(result)) > std::abs(cut);
  return larger ? std::nextafter(result, 0.0f) : result;
}

}  // namespace emulation
