// Winograd's minimal filtering: outputs of a convolution, m x m at a time, from 8 x 8 inputs by 64
// products of each channel. F(4x4, 5x5) has 64 where the convolution has 400, F(6x6, 3x3) 64 for
// 324. The points are the same in both, 0, +-1, +-2, +-1/2 and infinity, and so is what is done to
// the inputs; the transform of the weights is made once, where they are packed.
#pragma once

#include <cstdint>

#include "network.h"

namespace dvfast {

constexpr int kWinogradInputs = 8;
constexpr int kWinogradProducts = kWinogradInputs * kWinogradInputs;

constexpr int winograd_outputs(int kernel_size) { return kWinogradInputs - kernel_size + 1; }

// F(4x4, 5x5), of the head.
constexpr int kWinogradKernel = 5;
constexpr int kWinogradOutputs = winograd_outputs(kWinogradKernel);
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

// F(6x6, 3x3), of a U-Net.
constexpr int kUnetKernel = 3;
constexpr int kUnetOutputs = winograd_outputs(kUnetKernel);

constexpr int64_t kMaxUnetMaps = 2;

// Convolution with zeros around the maps and ReLU. The channels of the maps follow one another, as
// of one map; one of half the height and width is enlarged, a pixel to 2x2. The result, `height`
// rows from the row `first_row` of the maps on, is written to `output`, or the maxima of every 2x2
// pixels to `pooled`, or both; one that is not wanted has no data. Where something is enlarged the
// first row is 0, and where something is pooled height and width are even.
struct WinogradConvolutionParams {
  struct Map {
    FeaturesView<const float> features;
    bool enlarged;
  };
  Map maps[kMaxUnetMaps];
  int64_t num_maps;
  int64_t batch, first_row, height, width;
  FeaturesView<float> output, pooled;
  PackedLayer layer;  // transformed: [panel, product, input channel, kPanelWidth]
};

}  // namespace dvfast
