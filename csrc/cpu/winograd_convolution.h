// A 3x3 convolution of a U-Net by Winograd's algorithm, with ReLU and pooling; over tiles
// [begin, end) of 6 x 6 outputs.
#pragma once

#include "../core/winograd.h"

namespace dvfast {

int64_t winograd_convolution_tiles(const WinogradConvolutionParams& params);
void winograd_convolution(const WinogradConvolutionParams& params, int64_t begin, int64_t end);

}  // namespace dvfast
