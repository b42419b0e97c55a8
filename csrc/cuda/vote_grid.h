// The votes of a head, and where each voter's patch of the features starts.
#pragma once

#include "../core/network.h"

namespace dvfast {

struct Voter {
  int64_t b, i, j;
};

DVFAST_INLINE int64_t count_voters(const VoteHeadParams& params) {
  return params.votes.batch * params.votes.height * params.votes.width;
}

// The n-th voter in raster order.
__device__ __forceinline__ Voter voter_at(const VoteHeadParams& params, int64_t n) {
  const int64_t j = n % params.votes.width;
  n /= params.votes.width;
  return {n / params.votes.height, n % params.votes.height, j};
}

// Of the n-th voter; beyond the last, of the last.
template <typename T>
__device__ __forceinline__ const T* patch_of(const VoteHeadParams& params,
                                             const FeaturesView<const T>& features, int64_t n) {
  const int64_t last = count_voters(params) - 1;
  const Voter voter = voter_at(params, n < last ? n : last);
  return features.data + voter.b * features.batch_stride +
         voter.i * params.stride * features.y_stride + voter.j * params.stride * features.x_stride;
}

__device__ __forceinline__ void write_vote(const VoteHeadParams& params, const Voter& voter,
                                           int64_t channel, float logit) {
  const auto& votes = params.votes;
  votes.at(voter.b, 0, voter.i, voter.j)[channel * votes.channel_stride] =
      activate_vote(logit, channel);
}

}  // namespace dvfast
