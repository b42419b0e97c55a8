// The network of the paper, layer by layer, over maps [image, y, x, channel] of float32.
//
// Every output has one order of fused multiply-adds, whatever the device, the instruction set, the
// tile or the thread: a convolution starts at its bias and takes its taps row by row, in each tap
// the channels in order. So a patch gives the same bits wherever it lies in whatever image.
#pragma once

#include "arithmetic.h"
#include "hybrid.h"
#include "rounding.h"
#include "views.h"

namespace dvfast {

// Weights of a convolution are packed in panels of so many output channels, the last one filled up
// with zeros: [panel, tap, input channel, kPanelWidth]. Maps hold whole multiples of kChannelBlock.
constexpr int64_t kPanelWidth = 32;
constexpr int64_t kChannelBlock = 16;

// The last layer has few outputs and many inputs. Its sum runs in this many parts, input i in part
// i modulo kPartialSums, which are then added in halves; the bias comes last.
constexpr int64_t kPartialSums = 16;

constexpr int64_t kMaxHeadLayers = 8;

template <typename T>
struct FeaturesView {
  T* data;
  int64_t batch, height, width, channels;  // the channels of a pixel lie side by side
  int64_t batch_stride, y_stride, x_stride;
};

struct PackedLayer {
  const float* weight;
  const float* bias;  // as long as the outputs filled up to kChannelBlock
  int64_t inputs;     // channels of one tap
  int64_t outputs;    // filled up to kChannelBlock; of the last layer: 3k
};

// Convolution, ReLU and, if pool_stride is not 0, 2x2 max-pooling.
struct TrunkLayerParams {
  FeaturesView<const float> input;
  FeaturesView<float> output;
  PackedLayer layer;
  int64_t kernel_size, dilation;
  int64_t pool_stride, pool_dilation;
};

// The fully connected layers and the hybrid activation, at every stride-th place of the features.
// The first layer is a convolution, the weights of the last are [3k, inputs filled up].
struct VoteHeadParams {
  FeaturesView<const float> features;
  VotesView<float> votes;
  PackedLayer layers[kMaxHeadLayers];
  int64_t num_layers;
  int64_t kernel_size, dilation, stride;
};

DVFAST_INLINE float rectify(float x) { return 0.0f > x ? 0.0f : x; }  // NaN stays NaN

DVFAST_INLINE float pool(float a, float b) { return a > b || a != a ? a : b; }  // likewise

DVFAST_INLINE float add_in_halves(const float (&parts)[kPartialSums]) {
  float sums[kPartialSums / 2];
  for (int64_t i = 0; i < kPartialSums / 2; ++i) sums[i] = parts[i] + parts[i + kPartialSums / 2];
  for (int64_t half = kPartialSums / 4; half > 0; half /= 2)
    for (int64_t i = 0; i < half; ++i) sums[i] += sums[i + half];
  return sums[0];
}

// Output `channel` of the last layer as a vote has it: the confidence goes through the sigmoid.
DVFAST_INLINE float activate_vote(float logit, int64_t channel) {
  return channel % kChannelsPerVote == 0 ? sigmoid(logit) : logit;
}

}  // namespace dvfast
