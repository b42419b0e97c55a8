// Elementary operations whose result must not depend on the compiler's mood: a fused multiply-add
// is written where it is meant (contraction is switched off for the whole library), and the float
// exponential is our own, so that every instruction set gives the same bits.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "macros.h"

namespace dvfast {

DVFAST_INLINE float fused_multiply_add(float a, float b, float c) {
#if defined(__CUDACC__)
  return fmaf(a, b, c);
#else
  return __builtin_fmaf(a, b, c);
#endif
}

DVFAST_INLINE double fused_multiply_add(double a, double b, double c) {
#if defined(__CUDACC__)
  return fma(a, b, c);
#else
  return __builtin_fma(a, b, c);
#endif
}

template <typename T>
DVFAST_INLINE T squared_length(T y, T x) {
  return fused_multiply_add(y, y, x * x);
}

DVFAST_INLINE float float_from_bits(int32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

DVFAST_INLINE int32_t bits_of_float(float value) {
  int32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

// e^x within 2 units in the last place; 0 and infinity at the far ends, NaN for NaN.
//
// x = n ln 2 + r with |r| <= ln 2 / 2. Adding 1.5 * 2^23 rounds to an integer and leaves it in the
// low bits, which keeps the whole function free of branches and conversions. 2^n is applied as two
// factors because n reaches beyond the range of one exponent.
DVFAST_INLINE float exponential(float x) {
  constexpr float kRounder = 12582912.0f;
  constexpr float kLog2E = 1.44269504088896341f;
  constexpr float kLn2High = 0.693145751953125f;
  constexpr float kLn2Low = 1.4286068203e-06f;
  const float bounded = x > 89.0f ? 89.0f : (x < -104.0f ? -104.0f : x);
  const float shifted = fused_multiply_add(bounded, kLog2E, kRounder);
  const float n = shifted - kRounder;
  float r = fused_multiply_add(-n, kLn2High, bounded);
  r = fused_multiply_add(-n, kLn2Low, r);
  float p = 1.0f / 5040.0f;
  p = fused_multiply_add(p, r, 1.0f / 720.0f);
  p = fused_multiply_add(p, r, 1.0f / 120.0f);
  p = fused_multiply_add(p, r, 1.0f / 24.0f);
  p = fused_multiply_add(p, r, 1.0f / 6.0f);
  p = fused_multiply_add(p, r, 0.5f);
  p = fused_multiply_add(p, r, 1.0f);
  p = fused_multiply_add(p, r, 1.0f);
  const int32_t exponent = bits_of_float(shifted) - bits_of_float(kRounder);
  const int32_t half = exponent >> 1;
  const uint32_t low = static_cast<uint32_t>(half + 127) << 23;
  const uint32_t high = static_cast<uint32_t>(exponent - half + 127) << 23;
  return p * float_from_bits(static_cast<int32_t>(low)) *
         float_from_bits(static_cast<int32_t>(high));
}

DVFAST_INLINE double exponential(double x) { return exp(x); }

}  // namespace dvfast
