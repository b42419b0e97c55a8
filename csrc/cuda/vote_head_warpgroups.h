// The head of the network by the matrix instructions of four warps (compute capability 9.0), for
// voters at every place of the features. Otherwise as vote_head_tensor_cores.h.
#pragma once

#include "vote_head_tensor_cores.h"

namespace dvfast {

// Weights of layers[0] as an instruction wants them, 16 bytes of the depth by 128 outputs:
// [tile of 128 outputs, chunk, part, step, piece of 16 bytes, output, 16 bytes]. The depth is all
// channels of all taps in order; a step is 32 bytes of it, a chunk four steps, of two parts two,
// the last one filled up with zeros. Parts and layers[1] are those of the other head.
constexpr int kWarpgroupUnits = 128;

constexpr int steps_of_chunk(MatrixPrecision precision) {
  return precision == MatrixPrecision::kFloat32 ? 2 : 4;
}

bool has_warpgroup_vote_head(const MatrixHeadParams& params);

// cudaErrorNotSupported where there is none.
cudaError_t launch_warpgroup_vote_head(const MatrixHeadParams& params, cudaStream_t stream);

}  // namespace dvfast
