// Trunk and head in bfloat16: maps and weights have 16 bits, sums have 32. The order of a sum is
// the processor's own; still every output depends on nothing but its inputs.
#pragma once

#include "half.h"
#include "network.h"

namespace dvfast {

// Maps hold whole multiples of this many channels, the inputs of one step of the matrix unit.
constexpr int64_t kBfloat16Block = 32;

// Weights are packed as the matrix unit takes them, in panels of 32 outputs:
// [panel, tap, block of input channels, half of the panel, pair of channels, output, of the pair].
struct Bfloat16Layer {
  const bfloat16* weight;
  const float* bias;
  int64_t outputs;  // a multiple of kBfloat16Block
};

struct Bfloat16TrunkParams {
  FeaturesView<const bfloat16> input;
  FeaturesView<bfloat16> output;
  Bfloat16Layer layer;
  int64_t kernel_size, dilation;
  int64_t pool_stride, pool_dilation;
};

// One hidden layer in bfloat16. The last layer takes its float32 sums, rectified; it may multiply
// these and its weights as sums of two numbers of 16 bits, which hold them to 2^-16 of their size.
struct Bfloat16HeadParams {
  FeaturesView<const bfloat16> features;
  VotesView<float> votes;
  Bfloat16Layer first;
  PackedLayer last;
  int64_t kernel_size, dilation, stride;
};

// Convolved rows are at least so long, and so are rows of votes: pad an image that is narrower.
constexpr int64_t kBfloat16Pixels = 16;

}  // namespace dvfast
