#include "winograd_head.h"

#include <memory>
#include <utility>

#define DVFAST_KERNELS "kernels/winograd_head.h"
#include "each_instruction_set.h"

namespace dvfast {

int64_t winograd_head_tiles(const WinogradHeadParams& params) {
  return DVFAST_DISPATCH(winograd_head_tiles, params);
}

void winograd_head(const WinogradHeadParams& params, int64_t begin, int64_t end) {
  DVFAST_DISPATCH(winograd_head, params, begin, end);
}

}  // namespace dvfast
