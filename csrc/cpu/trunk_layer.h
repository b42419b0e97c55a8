// A layer of the trunk: convolution, ReLU and, if it has one, max-pooling; over rows [begin, end)
// of its output, row = b * height + y.
#pragma once

#include "../core/network.h"

namespace dvfast {

void trunk_layer(const TrunkLayerParams& params, int64_t begin, int64_t end);

}  // namespace dvfast
