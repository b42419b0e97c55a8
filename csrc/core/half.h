// float16 and bfloat16 as storage: kernels convert to float, compute, and round once on the way
// out.
#pragma once

#include <cstdint>

#include "arithmetic.h"

namespace dvfast {

struct bfloat16 {
  uint16_t bits;
};

struct float16 {
  uint16_t bits;
};

template <typename T>
DVFAST_INLINE T to_compute(T value) {
  return value;
}

DVFAST_INLINE float to_compute(bfloat16 value) {
  return float_from_bits(static_cast<int32_t>(static_cast<uint32_t>(value.bits) << 16));
}

DVFAST_INLINE float to_compute(float16 value) {
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000u) << 16;
  const uint32_t magnitude = value.bits & 0x7fffu;
  // Moved into the exponent's place, a half is a float scaled by 2^-112; one product mends normal
  // and subnormal numbers alike, and infinity and NaN get the exponent they had.
  const float scaled =
      float_from_bits(static_cast<int32_t>(magnitude << 13)) * 5.192296858534828e33f;
  const uint32_t finite = static_cast<uint32_t>(bits_of_float(scaled));
  const uint32_t special = magnitude >= 0x7c00u ? 0x7f800000u | (magnitude << 13) : finite;
  return float_from_bits(static_cast<int32_t>(sign | special));
}

template <typename T>
struct FromCompute {
  static DVFAST_INLINE T convert(T value) { return value; }
};

template <>
struct FromCompute<bfloat16> {
  static DVFAST_INLINE bfloat16 convert(float value) {
    const uint32_t bits = static_cast<uint32_t>(bits_of_float(value));
    const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    return {static_cast<uint16_t>(nan ? ((bits >> 16) | 0x40u) : rounded)};
  }
};

template <>
struct FromCompute<float16> {
  static DVFAST_INLINE float16 convert(float value) {
    const uint32_t bits = static_cast<uint32_t>(bits_of_float(value));
    const uint32_t sign = (bits >> 16) & 0x8000u;
    const uint32_t magnitude = bits & 0x7fffffffu;
    uint32_t result;
    if (magnitude > 0x7f800000u) {
      result = 0x7e00u;
    } else if (magnitude >= 0x477ff000u) {  // rounds to 65536 or more
      result = 0x7c00u;
    } else if (magnitude < 0x38800000u) {
      // Below 2^-14 the half is subnormal: adding 1/2 lets the float adder round at 2^-24.
      const float shifted = float_from_bits(static_cast<int32_t>(magnitude)) + 0.5f;
      result = static_cast<uint32_t>(bits_of_float(shifted)) - 0x3f000000u;
    } else {
      const uint32_t odd = (magnitude >> 13) & 1u;
      result = (magnitude - 0x38000000u + 0xfffu + odd) >> 13;
    }
    return {static_cast<uint16_t>(sign | result)};
  }
};

template <typename T>
using compute_t = decltype(to_compute(T{}));

}  // namespace dvfast
