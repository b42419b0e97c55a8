// The head of the network on the device, to the bits of core/network.h.
#pragma once

#include <cuda_runtime.h>

#include "../core/network.h"

namespace dvfast {

// How many numbers of scratch memory launch_vote_head wants; bounded, whatever the number of votes.
int64_t vote_head_scratch(const VoteHeadParams& params);

// The weights and the scratch memory must lie at multiples of 16 bytes.
cudaError_t launch_vote_head(const VoteHeadParams& params, float* scratch, cudaStream_t stream);

}  // namespace dvfast
