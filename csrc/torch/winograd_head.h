// The head by Winograd's algorithm: checks and allocation, for any device. Device{features}(params)
// runs the kernel.
#pragma once

#include "../core/winograd.h"
#include "vote_head.h"

namespace dvfast::ops {

template <typename Device>
Tensor winograd_head(const Tensor& features, const Tensor& weight, const Tensor& bias,
                     const Tensor& last_weight, const Tensor& last_bias, int64_t num_votes,
                     int64_t dilation) {
  WinogradHeadParams params{};
  params.features = features_view<const float>(features, "features");
  DVFAST_CHECK(params.features.channels % kChannelBlock == 0, "features must have a multiple of ",
               kChannelBlock, " channels, got ", describe(features));
  Tensor votes = empty_votes(features, num_votes, kWinogradKernel, dilation, /*stride=*/1);
  params.votes = votes_view<float>(votes, "votes");
  params.first =
      packed_layer(weight, bias, kWinogradProducts, params.features.channels, "weight", features);
  params.last = last_layer(last_weight, last_bias, num_votes, params.first.outputs, features);
  params.dilation = dilation;
  if (votes.numel() > 0) Device{features}(params);
  return votes;
}

}  // namespace dvfast::ops
