// The order in which losses are summed, on every device: patches in blocks of 1024, each block as a
// tree in double (the upper half is added to the lower until one number is left), the blocks'
// numbers in blocks of 1024 again, and so on. What is missing to a full block counts as zero.
#pragma once

#include <cstdint>

#include "macros.h"
#include "rounding.h"

namespace dvfast {

constexpr int64_t kPatchesPerBlock = 1024;

DVFAST_INLINE int64_t num_blocks(int64_t patches) { return divide_up(patches, kPatchesPerBlock); }

}  // namespace dvfast
