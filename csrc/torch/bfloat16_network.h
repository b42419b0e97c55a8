// Trunk and head in bfloat16: checks and allocation, for any device. Device{features}(params) runs
// the kernels.
#pragma once

#include "../core/bfloat16_network.h"
#include "trunk_layer.h"
#include "vote_head.h"

namespace dvfast {

inline FeaturesView<const bfloat16> bfloat16_features(const Tensor& features) {
  const auto view = features_view<const bfloat16>(features, "features", ScalarType::BFloat16);
  DVFAST_CHECK(view.channels % kBfloat16Block == 0, "features must have a multiple of ",
               kBfloat16Block, " channels, got ", describe(features));
  return view;
}

// A layer of [panel, tap * input channel, kPanelWidth] numbers, in whatever order within a panel.
inline Bfloat16Layer bfloat16_layer(const Tensor& weight, const Tensor& bias, int64_t taps,
                                    int64_t inputs, const Tensor& features) {
  check_dtype(weight, "weight", {ScalarType::BFloat16});
  check_same_device(weight, "weight", features, "features");
  check_bias(bias, "bias", features);
  const int64_t outputs = bias.size(0), panels = outputs / kPanelWidth;
  DVFAST_CHECK(outputs > 0 && outputs % kBfloat16Block == 0,
               "bias must be filled up to a multiple of ", kBfloat16Block, ", got ",
               describe(bias));
  check_panels(weight, "weight", panels, taps, inputs);
  return {static_cast<const bfloat16*>(weight.data_ptr()),
          static_cast<const float*>(bias.data_ptr()), outputs};
}

inline void check_row(int64_t width, const Tensor& features) {
  DVFAST_CHECK(width == 0 || width >= kBfloat16Pixels, "features must leave at least ",
               kBfloat16Pixels, " windows in a row, got ", describe(features));
}

}  // namespace dvfast

namespace dvfast::ops {

template <typename Device>
Tensor bfloat16_trunk_layer(const Tensor& features, const Tensor& weight, const Tensor& bias,
                            int64_t kernel_size, int64_t dilation, int64_t pool_stride,
                            int64_t pool_dilation) {
  Bfloat16TrunkParams params{};
  params.input = bfloat16_features(features);
  const int64_t window = reach(kernel_size, dilation);
  params.layer =
      bfloat16_layer(weight, bias, kernel_size * kernel_size, params.input.channels, features);
  params.kernel_size = kernel_size;
  params.dilation = dilation;
  params.pool_stride = pool_stride;
  params.pool_dilation = pool_dilation;
  check_row(num_windows(params.input.width, window, 1), features);
  const auto length = [&](int64_t size) {
    return trunk_length(size, kernel_size, dilation, pool_stride, pool_dilation);
  };
  const int64_t height = length(params.input.height), width = length(params.input.width);
  check_kept_rows(params.input.width, params.layer.outputs, pool_stride, pool_dilation, features);
  Tensor output = allocate(features, {params.input.batch, height, width, params.layer.outputs});
  params.output = features_view<bfloat16>(output, "output", ScalarType::BFloat16);
  if (output.numel() > 0) Device{features}(params);
  return output;
}

template <typename Device>
Tensor bfloat16_head(const Tensor& features, const Tensor& weight, const Tensor& bias,
                     const Tensor& last_weight, const Tensor& last_bias, int64_t num_votes,
                     int64_t kernel_size, int64_t dilation, int64_t stride) {
  Bfloat16HeadParams params{};
  params.features = bfloat16_features(features);
  Tensor votes = empty_votes(features, num_votes, kernel_size, dilation, stride);
  params.votes = votes_view<float>(votes, "votes");
  check_row(params.votes.width, features);
  params.first =
      bfloat16_layer(weight, bias, kernel_size * kernel_size, params.features.channels, features);
  params.last = last_layer(last_weight, last_bias, num_votes, params.first.outputs, features);
  params.kernel_size = kernel_size;
  params.dilation = dilation;
  params.stride = stride;
  if (votes.numel() > 0) Device{features}(params);
  return votes;
}

}  // namespace dvfast::ops
