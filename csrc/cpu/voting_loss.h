// Eq. 3, 4 and 5 in one sweep over blocks of patches [begin, end); see cpu/patches.h.
//
// The loss of a patch is summed over its votes in their order, the patches of a block over eight
// lanes in double, and the blocks by the caller in theirs: the same bits for any number of threads
// and any memory layout.
#pragma once

#include "../core/half.h"
#include "../core/views.h"

namespace dvfast {

template <typename T, typename Target>
struct VotingLossParams {
  VotesView<const T> logits;
  VotesView<const Target> target;
  VotesView<T> gradient;     // of each patch's loss; data == nullptr: not wanted
  compute_t<T>* patch_loss;  // [patches]; nullptr: not wanted
  double* block_loss;        // [blocks]
  double lambda;
};

template <typename T, typename Target>
void voting_loss(const VotingLossParams<T, Target>& params, int64_t begin, int64_t end);

// grad_input = gradient * grad_output. The upstream gradient is one number, with strides of
// zero, or one per patch.
template <typename T>
struct VotingLossBackwardParams {
  VotesView<const T> gradient;
  VotesView<T> grad_input;
  MapView<const compute_t<T>> grad_output;
};

template <typename T>
void voting_loss_backward(const VotingLossBackwardParams<T>& params, int64_t begin, int64_t end);

}  // namespace dvfast
