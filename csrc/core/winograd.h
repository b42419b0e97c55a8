// Winograd's minimal filtering F(4x4, 5x5): 16 outputs of a 5x5 convolution from 8x8 inputs by 64
// products instead of 400. The points are 0, +-1, +-2, +-1/2 and infinity.
#pragma once

#include <cstdint>

#include "network.h"

namespace dvfast {

constexpr int kWinogradOutputs = 4;
constexpr int kWinogradKernel = 5;
constexpr int kWinogradInputs = kWinogradOutputs + kWinogradKernel - 1;
constexpr int kWinogradProducts = kWinogradInputs * kWinogradInputs;
constexpr int kWinogradPixels = kWinogradOutputs * kWinogradOutputs;

// The head by Winograd's algorithm, for one hidden layer, at every place of the features. A tile is
// 4 x 4 votes `dilation` apart, the first at the first vote: whoever scans an image in parts cuts
// it at whole blocks of 4 * dilation votes, and every vote has the same tile in any of them.
struct WinogradHeadParams {
  FeaturesView<const float> features;
  VotesView<float> votes;
  PackedLayer first;  // transformed: [panel, product, input channel, kPanelWidth]
  PackedLayer last;
  int64_t dilation;
};

}  // namespace dvfast
