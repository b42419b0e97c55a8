// A layer of the trunk on the device, to the bits of core/network.h.
#pragma once

#include <cuda_runtime.h>

#include "../core/network.h"

namespace dvfast {

// The weights must lie at a multiple of 16 bytes.
cudaError_t launch_trunk_layer(const TrunkLayerParams& params, cudaStream_t stream);

}  // namespace dvfast
