// Eq. 3, 4 and 5 in one sweep over blocks of patches [begin, end); see cpu/patches.h.
//
// Sums have one order, see core/reduction.h: the same bits for any number of threads and any memory
// layout.
#pragma once

#include "../core/params.h"

namespace dvfast {

template <typename T, typename Target>
void voting_loss(const VotingLossParams<T, Target>& params, int64_t begin, int64_t end);

// What the blocks' losses add up to; they are overwritten.
double sum_of_blocks(double* block_loss, int64_t blocks);

template <typename T>
void voting_loss_backward(const VotingLossBackwardParams<T>& params, int64_t begin, int64_t end);

}  // namespace dvfast
