// A 3x3 convolution of a U-Net by Winograd's algorithm: checks and allocation, for any device.
// Device{map}(params) runs the kernel.
#pragma once

#include <tuple>
#include <vector>

#include "../core/winograd.h"
#include "network.h"

namespace dvfast::ops {

// The last map has the size of the output; one before it may have half of it.
inline void set_maps(WinogradConvolutionParams& params, const std::vector<Tensor>& maps) {
  params.num_maps = static_cast<int64_t>(maps.size());
  STD_TORCH_CHECK(params.num_maps >= 1 && params.num_maps <= kMaxUnetMaps, "maps must be 1 to ",
                  kMaxUnetMaps, ", got ", params.num_maps);
  const Tensor& last = maps.back();
  const auto size = features_view<const float>(last, "maps");
  for (int64_t m = 0; m < params.num_maps; ++m) {
    const Tensor& tensor = maps[m];
    auto& [features, enlarged] = params.maps[m];
    features = features_view<const float>(tensor, "maps");
    check_same_device(tensor, "maps", last, "the last of them");
    STD_TORCH_CHECK(features.channels % kChannelBlock == 0, "maps must have a multiple of ",
                    kChannelBlock, " channels, got ", describe(tensor));
    params.layer.inputs += features.channels;
    enlarged = features.height != size.height || features.width != size.width;
    const int64_t factor = enlarged ? 2 : 1;
    STD_TORCH_CHECK(features.batch == size.batch && factor * features.height == size.height &&
                        factor * features.width == size.width,
                    "maps must have the size of the last of them or half of it, got ",
                    describe(tensor), " for ", describe(last));
  }
  params.batch = size.batch;
  params.height = size.height;
  params.width = size.width;
}

// The convolution sees `above` rows before the first of its output, and `below` after the last.
inline void set_rows(WinogradConvolutionParams& params, int64_t above, int64_t below) {
  const int64_t most = params.num_maps > 1 ? 0 : params.height;
  STD_TORCH_CHECK(above >= 0 && below >= 0 && above <= most && below <= most - above,
                  "above and below must be at least 0 and together at most ", most, ", got ", above,
                  " and ", below);
  params.first_row = above;
  params.height -= above + below;
}

template <typename Device>
std::tuple<Tensor, Tensor> winograd_convolution(std::vector<Tensor> maps, const Tensor& weight,
                                                const Tensor& bias, int64_t above, int64_t below,
                                                bool full, bool pooled) {
  WinogradConvolutionParams params{};
  set_maps(params, maps);
  set_rows(params, above, below);
  STD_TORCH_CHECK(!pooled || (params.height % 2 == 0 && params.width % 2 == 0),
                  "the output must have even sides where there is pooling, got ", params.height,
                  " x ", params.width);
  params.layer =
      packed_layer(weight, bias, kWinogradProducts, params.layer.inputs, "weight", maps.back());
  const auto empty = [&](bool wanted, int64_t factor) {
    return torch::stable::new_empty(maps.back(), {wanted ? params.batch : 0, params.height / factor,
                                                  params.width / factor, params.layer.outputs});
  };
  Tensor output = empty(full, 1), maxima = empty(pooled, 2);
  if (full) params.output = features_view<float>(output, "output");
  if (pooled) params.pooled = features_view<float>(maxima, "pooled");
  if (params.batch * params.height * params.width > 0 && (full || pooled))
    Device{maps.back()}(params);
  return {output, maxima};
}

}  // namespace dvfast::ops
