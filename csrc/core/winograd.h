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

// Rows of a map, of one image after the other. They may lie anywhere: a U-Net is run from top to
// bottom, and of its maps there are never more than a few rows.
template <typename T>
struct RowsView {
  T* const* rows;  // [batch, height]
  int64_t height, x_stride;
};

// Convolution with zeros around the maps and ReLU. The channels of the maps follow one another, as
// of one map; one of half the height and width is enlarged, a pixel to 2x2. The result is written
// to `output`, or the maxima of every 2x2 pixels to `pooled`, or both; one that is not wanted has
// no rows. Where something is enlarged or pooled height and width are even.
struct WinogradConvolutionParams {
  struct Map {
    RowsView<const float> pixels;  // their channels are filled up to kChannelBlock
    int64_t channels;
    int64_t above;  // rows before those of the output, counted after enlarging
    bool enlarged;
  };
  Map maps[kMaxUnetMaps];
  int64_t num_maps;
  int64_t batch, height, width;
  int64_t above, below;  // rows of the last map before and after those of the output
  RowsView<float> output, pooled;
  PackedLayer layer;  // transformed: [panel, product, input channel, kPanelWidth]
};

constexpr int64_t kMaxUnetLevels = 8;

// Images lie in [0, 1]; the first layer wants them about zero.
constexpr float kImageCentre = 0.5f;

// A U-Net from an image to votes. Level l has `widths[l]` channels and a pixel for every 2^l of the
// image; there are votes for the pixels of the level `finest`.
struct WinogradUnetParams {
  struct Image {
    const float* data;
    int64_t channels, channel_stride, y_stride, x_stride;
    // Which pixel stands at a place; where this is negative there are zeros.
    const int64_t *rows, *columns;
  };
  Image image;
  int64_t height, width;  // multiples of 2^(levels - 1)
  int64_t levels, finest;
  int64_t widths[kMaxUnetLevels];
  // Two of every level on the way down, two of every level on the way up, the one that makes votes.
  // All but the first and the last are transformed.
  PackedLayer layers[4 * kMaxUnetLevels];
  VotesView<float> votes;
};

}  // namespace dvfast
