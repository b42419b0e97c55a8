// The head of the network by matrix instructions (compute capability 8.0): as cuda/vote_head.h, but
// for the rounding and the order of its sums.
#pragma once

#include <cuda_runtime.h>

#include "../core/network.h"

namespace dvfast {

enum class MatrixPrecision : int64_t {
  kBfloat16 = 0,  // features and the first layer's weights; sums are float32
  kTf32 = 1,
  kFloat32 = 2,  // three products of TF32, of what TF32 holds of each factor and of what it leaves
};

// The numbers of a hidden layer that a matrix instruction wants together lie together.
//
// layers[0].weight: [panel of 32 outputs, chunk, part, step, pair, lane, 4 words of 32 bits]. A
// chunk is 64 bytes of the depth (all channels of all taps in order, filled up with zeros), a step
// half of it. Lane l has output 16 * pair + 8 * (word / 2) + l / 4 and, of the step, with t = l %
// 4,
//   bfloat16: 2t and 2t + 1 in the even word, 2t + 8 and 2t + 9 in the odd one, lower half first;
//   TF32: t in the even word, t + 4 in the odd one.
// kFloat32 has two parts, the number rounded to TF32 and what is left of it, rounded likewise.
//
// layers[1].weight: float32 [panel of 32 inputs, group of 8 outputs, half, lane, 4]. Of a half of
// the panel, lane l has output l / 4 and inputs 2t, 2t + 1, 8 + 2t and 8 + 2t + 1.
struct MatrixHeadParams {
  VoteHeadParams head;  // of two layers; weights as above, at multiples of 16 bytes
  MatrixPrecision precision;
};

// What the kernels cannot do, or not on the current device, vote_head must.
bool has_matrix_vote_head(const MatrixHeadParams& params);

// How many bytes of scratch memory launch_matrix_vote_head wants, at a multiple of 16.
int64_t matrix_vote_head_scratch(const MatrixHeadParams& params);

cudaError_t launch_matrix_vote_head(const MatrixHeadParams& params, void* scratch,
                                    cudaStream_t stream);

}  // namespace dvfast
