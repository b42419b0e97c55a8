// The head: checks and allocation, for any device. Device{features}(params) runs the kernel.
#pragma once

#include <vector>

#include "network.h"

namespace dvfast::ops {

// The votes that a head casts, one per window of the features.
inline Tensor empty_votes(const Tensor& features, int64_t num_votes, int64_t kernel_size,
                          int64_t dilation, int64_t stride) {
  DVFAST_CHECK(num_votes >= 1 && kernel_size >= 1 && dilation >= 1 && stride >= 1,
               "num_votes, kernel_size, dilation and stride must be at least 1, got ", num_votes,
               ", ", kernel_size, ", ", dilation, " and ", stride);
  const int64_t window = reach(kernel_size, dilation);
  return allocate(features,
                  {features.size(0), kChannelsPerVote * num_votes,
                   num_windows(features.size(1), window, stride),
                   num_windows(features.size(2), window, stride)},
                  ScalarType::Float);
}

// The last of several layers: [3k, inputs filled up].
inline PackedLayer last_layer(const Tensor& weight, const Tensor& bias, int64_t num_votes,
                              int64_t inputs, const Tensor& features) {
  check_dtype(weight, "the last weight", {ScalarType::Float});
  check_same_device(weight, "the last weight", features, "features");
  check_bias(bias, "the last bias", features);
  const int64_t outputs = kChannelsPerVote * num_votes;
  DVFAST_CHECK(weight.dim() == 2 && weight.is_contiguous() && weight.size(0) == outputs &&
                   weight.size(1) == inputs && bias.size(0) == outputs,
               "the last weight must be a contiguous [", outputs, ", ", inputs,
               "] and its bias as long as that is high, got ", describe(weight), " and ",
               describe(bias));
  return {static_cast<const float*>(weight.data_ptr()), static_cast<const float*>(bias.data_ptr()),
          inputs, outputs};
}

template <typename Device>
Tensor vote_head(const Tensor& features, std::vector<Tensor> weights, std::vector<Tensor> biases,
                 int64_t num_votes, int64_t kernel_size, int64_t dilation, int64_t stride) {
  VoteHeadParams params{};
  params.features = features_view<const float>(features, "features");
  Tensor votes = empty_votes(features, num_votes, kernel_size, dilation, stride);
  params.votes = votes_view<float>(votes, "votes");
  params.kernel_size = kernel_size;
  params.dilation = dilation;
  params.stride = stride;
  params.num_layers = static_cast<int64_t>(weights.size());
  DVFAST_CHECK(params.num_layers >= 1 && params.num_layers <= kMaxHeadLayers &&
                   weights.size() == biases.size(),
               "weights and biases must be of 1 to ", kMaxHeadLayers, " layers, got ",
               weights.size(), " and ", biases.size());
  int64_t inputs = params.features.channels;
  for (int64_t l = 0; l < params.num_layers; ++l) {
    if (l > 0 && l + 1 == params.num_layers) {
      params.layers[l] = last_layer(weights[l], biases[l], num_votes, inputs, features);
    } else {
      params.layers[l] = packed_layer(weights[l], biases[l], l ? 1 : kernel_size * kernel_size,
                                      inputs, "weight", features);
    }
    inputs = params.layers[l].outputs;
  }
  DVFAST_CHECK(inputs >= kChannelsPerVote * num_votes, "the last layer has ", inputs, " outputs, ",
               num_votes, " votes need ", kChannelsPerVote * num_votes);
  if (votes.numel() > 0) Device{features}(params);
  return votes;
}

}  // namespace dvfast::ops
