// The head of the network by matrix instructions (compute capability 8.0): as cuda/vote_head.h, but
// for the rounding and the order of its sums.
#pragma once

#include <cuda_runtime.h>

#include "../core/half.h"
#include "../core/network.h"
#include "matrix_precision.h"

namespace dvfast {

// layers[0] is packed as matrix_precision.h has it, layers[1] as
// float32 [panel of 32 inputs, group of 8 outputs, half, lane, 4]. Of a half of
// the panel, lane l has output l / 4 and inputs 2t, 2t + 1, 8 + 2t and 8 + 2t + 1.
struct MatrixHeadParams {
  VoteHeadParams head;  // of two layers; weights as above, at multiples of 16 bytes
  MatrixPrecision precision;
  FeaturesView<const bfloat16> rounded;  // the features for kBfloat16, instead of head.features
};

// What the kernels cannot do, or not on the current device, vote_head must: features have whole
// multiples of kChannelBlock channels, pixels lie at multiples of 16 bytes, and there are at most
// five votes.
bool has_matrix_vote_head(const MatrixHeadParams& params);

// cudaErrorNotSupported where there is none.
cudaError_t launch_matrix_vote_head(const MatrixHeadParams& params, cudaStream_t stream);

}  // namespace dvfast
