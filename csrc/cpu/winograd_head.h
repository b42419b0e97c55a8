// The head by Winograd's algorithm: float32 accuracy with a sixth of the products.
//
// Works over tiles [begin, end) of 4 x 4 votes that lie `dilation` apart.
#pragma once

#include "../core/winograd.h"

namespace dvfast {

int64_t winograd_head_tiles(const WinogradHeadParams& params);

void winograd_head(const WinogradHeadParams& params, int64_t begin, int64_t end);

}  // namespace dvfast
