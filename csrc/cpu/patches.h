// Pointwise kernels walk over patches: the positions (b, y, x) of a votes tensor in raster order.
// Work is cut into blocks of a fixed number of patches, never by thread, so that what is summed per
// block does not depend on how many threads there are.
#pragma once

#include <algorithm>
#include <cstdint>

#include "../core/reduction.h"
#include "../core/views.h"

namespace dvfast {

template <typename T>
int64_t num_patches(const VotesView<T>& votes) {
  return votes.batch * votes.height * votes.width;
}

// The longest run of patches from `patch` on that lies in one row and ends before `end`.
struct Run {
  int64_t b, y, x, length;
};

template <typename T>
DVFAST_INLINE Run run_at(const VotesView<T>& votes, int64_t patch, int64_t end) {
  const int64_t x = patch % votes.width;
  const int64_t row = patch / votes.width;
  return {row / votes.height, row % votes.height, x, std::min(votes.width - x, end - patch)};
}

// A stride of one that the compiler knows of is what lets it load and store whole vectors.
template <bool kUnitStride>
DVFAST_INLINE int64_t at(int64_t i, int64_t stride) {
  return kUnitStride ? i : i * stride;
}

}  // namespace dvfast
