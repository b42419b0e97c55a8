// Eq. 3, 4 and 5 on the device; see cpu/voting_loss.h for the contract. The sums have the order of
// core/reduction.h, so that the loss is the CPU's to the bit.
#pragma once

#include <cuda_runtime.h>

#include "../core/params.h"

namespace dvfast {

// Also adds up the blocks: params.block_loss[0] is the sum over all patches. It must hold
// num_blocks(patches) numbers.
template <typename T, typename Target>
cudaError_t launch_voting_loss(const VotingLossParams<T, Target>& params, cudaStream_t stream);

// That sum as a number of the loss's type; zero where there are no blocks.
template <typename T>
cudaError_t launch_total_loss(const double* block_loss, int64_t blocks, T* total,
                              cudaStream_t stream);

template <typename T>
cudaError_t launch_voting_loss_backward(const VotingLossBackwardParams<T>& params,
                                        cudaStream_t stream);

}  // namespace dvfast
