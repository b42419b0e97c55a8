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
  VoteHeadParams plain{};
  Tensor votes =
      fill_vote_head(&plain, features, num_votes, kWinogradKernel, dilation, /*stride=*/1);
  STD_TORCH_CHECK(plain.features.channels % kChannelBlock == 0, "features must have a multiple of ",
                  kChannelBlock, " channels, got ", describe(features));
  WinogradHeadParams params{};
  params.features = plain.features;
  params.votes = plain.votes;
  params.first =
      packed_layer(weight, bias, kWinogradProducts, plain.features.channels, "weight", features);
  params.last = last_layer(last_weight, last_bias, num_votes, params.first.outputs, features);
  params.dilation = dilation;
  if (votes.numel() > 0) Device{features}(params);
  return votes;
}

}  // namespace dvfast::ops
