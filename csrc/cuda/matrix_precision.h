// What the kernels that use matrix instructions (compute capability 8.0) compute with, and how they
// want their weights.
#pragma once

#include <cstdint>

namespace dvfast {

enum class MatrixPrecision : int64_t {
  kBfloat16 = 0,  // maps and weights; sums are float32
  kTf32 = 1,
  kFloat32 = 2,  // three products of TF32, of what TF32 holds of each factor and of what it leaves
};

// The weights of a convolution lie together as a matrix instruction wants them:
// [panel of 32 outputs, chunk, part, step, pair, lane, 4 words of 32 bits]. A chunk is 64 bytes of
// the depth (all channels of all taps in order, filled up with zeros), a step half of it. Lane l
// has output 16 * pair + 8 * (word / 2) + l / 4 and, of the step, with t = l % 4,
//   bfloat16: 2t and 2t + 1 in the even word, 2t + 8 and 2t + 9 in the odd one, lower half first;
//   TF32: t in the even word, t + 4 in the odd one.
// kFloat32 has two parts, the number rounded to TF32 and what is left of it, rounded likewise.

}  // namespace dvfast
