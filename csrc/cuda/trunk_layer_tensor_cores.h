// A layer of the trunk by matrix instructions (compute capability 8.0): as cuda/trunk_layer.h, but
// for the rounding and the order of its sums.
#pragma once

#include <cuda_runtime.h>

#include "../core/half.h"
#include "../core/network.h"
#include "matrix_precision.h"

namespace dvfast {

struct MatrixTrunkParams {
  TrunkLayerParams trunk;  // the weights packed as matrix_precision.h has them
  MatrixPrecision precision;
  // The maps for kBfloat16, instead of trunk.input and trunk.output.
  FeaturesView<const bfloat16> rounded_input;
  FeaturesView<bfloat16> rounded_output;
};

// What the kernels cannot do, or not on the current device, trunk_layer must: the input has whole
// multiples of kChannelBlock channels, and its pixels lie at multiples of 16 bytes.
bool has_matrix_trunk_layer(const MatrixTrunkParams& params);

// cudaErrorNotSupported where there is none.
cudaError_t launch_matrix_trunk_layer(const MatrixTrunkParams& params, cudaStream_t stream);

}  // namespace dvfast
