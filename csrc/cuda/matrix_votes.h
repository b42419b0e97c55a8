// From sums of hidden units, as matrix instructions leave them in a warp, to the logits of votes.
#pragma once

#include <type_traits>

#include "../core/network.h"
#include "matrix_tile.h"
#include "vote_head_tensor_cores.h"

namespace dvfast {

constexpr int kGroup = 8;  // channels of votes that a matrix instruction takes
constexpr int kMostGroups = 2;

// A warp's share of the logits: [16 voters each, groups of 8 channels, of a lane].
template <int kRows, int kGroups>
using Logits = float[kRows][kGroups][4];

// The last layer over a warp's hidden units. A lane has, as sums, columns 2t and 2t + 1 where the
// instruction wants t and t + 4: the weights are packed for that.
template <bool kSplit, int kRows, int kBlocks, int kGroups>
__device__ __forceinline__ void add_units(const float (&sums)[kRows][kBlocks][4],
                                          const float* packed, int panel, int panels,
                                          Logits<kRows, kGroups>& logits) {
  const int lane = threadIdx.x % kWarpSize;
#pragma unroll
  for (int half = 0; half < kBlocks / 2; ++half) {
    if (panel + half / 2 >= panels) break;
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      FourWords weights = *reinterpret_cast<const FourWords*>(
          packed +
          ((((panel + half / 2) * int64_t{kGroups} + group) * 2 + half % 2) * kWarpSize + lane) *
              4);
      FourWords rests{};
      round_to_tf32<kSplit>(weights.words, rests.words);
#pragma unroll
      for (int m = 0; m < kRows; ++m) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const float (&sum)[4] = sums[m][2 * half + i];
          uint32_t units[4], unit_rests[4] = {};
          constexpr int kColumn[4] = {0, 2, 1, 3};
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            units[j] = static_cast<uint32_t>(bits_of_float(rectify(sum[kColumn[j]])));
          }
          round_to_tf32<kSplit>(units, unit_rests);
          multiply<kSplit>(units, unit_rests, weights.words + 2 * i, rests.words + 2 * i,
                           logits[m][group]);
        }
      }
    }
  }
}

// use(precision, features), for what is done alike in every precision.
template <typename Use>
auto by_precision(const MatrixHeadParams& params, const Use& use) {
  switch (params.precision) {
    case MatrixPrecision::kBfloat16:
      return use(std::integral_constant<MatrixPrecision, MatrixPrecision::kBfloat16>{},
                 params.rounded);
    case MatrixPrecision::kTf32:
      return use(std::integral_constant<MatrixPrecision, MatrixPrecision::kTf32>{},
                 params.head.features);
    default:
      return use(std::integral_constant<MatrixPrecision, MatrixPrecision::kFloat32>{},
                 params.head.features);
  }
}

}  // namespace dvfast
