#include "trunk_layer.h"

#include <memory>
#include <utility>

#define DVFAST_KERNELS "kernels/trunk_layer.h"
#include "each_instruction_set.h"

namespace dvfast {

void trunk_layer(const TrunkLayerParams& params, int64_t begin, int64_t end) {
  DVFAST_DISPATCH(trunk_layer, params, begin, end);
}

}  // namespace dvfast
