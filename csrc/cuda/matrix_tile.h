// Hidden units of the head by matrix instructions, and the last layer over them.
#pragma once

#include <type_traits>

#include "../core/half.h"
#include "async_copy.h"
#include "launch.h"
#include "tensor_cores.h"
#include "vote_head_tensor_cores.h"

namespace dvfast {

// A block makes the votes of kVoters voters from tiles of kUnits hidden units, one after another. A
// warp sums 64 by 64 of them: for 64 KB of products it reads 4 KB from shared memory, 81 of 128
// bytes a clock at the rate that these instructions have on an H200. A tile of kUnits reads as many
// weights from the L2 cache as features from the L1 cache that voters share.
constexpr int kVoters = 256;
constexpr int kUnits = 128;
constexpr int kWarpsOfVoters = 4;
constexpr int kStages = 3;
constexpr int kChunkBytes = 64;
constexpr int kPieces = kChunkBytes / 16;
constexpr int kPanelBytes = kPanelWidth * kChunkBytes;
constexpr int kPanels = kUnits / kPanelWidth;
static_assert(kThreadsPerBlock == kWarpSize * kWarpsOfVoters * (kUnits / 64), "");

template <MatrixPrecision kPrecision>
struct Format {
  static constexpr bool kBfloat16 = kPrecision == MatrixPrecision::kBfloat16;
  static constexpr bool kSplit = kPrecision == MatrixPrecision::kFloat32;
  using Number = std::conditional_t<kBfloat16, bfloat16, float>;
  static constexpr int kChunk = kChunkBytes / sizeof(Number);
  static constexpr int kPerPiece = kChunk / kPieces;
  static constexpr int kWeightBytes = kPanelBytes * (kSplit ? 2 : 1);  // of a panel

  struct Stage {
    alignas(16) unsigned char features[kVoters * kChunkBytes];
    alignas(16) unsigned char weights[kPanels * kWeightBytes];
  };
  struct Shared {
    Stage stages[kStages];
    const Number* patches[kVoters];
  };
};

template <typename Number>
struct MatrixJob {
  VoteHeadParams params;
  FeaturesView<const Number> features;
  int inputs, depth, chunks, panels;
  int y_step, x_step, kernel_size;
};

// Where a thread's piece of the next chunk lies, relative to the patch.
struct Window {
  int channel, column, row;

  template <typename Number>
  __device__ __forceinline__ void settle(const MatrixJob<Number>& job) {
    while (channel >= job.inputs) {
      channel -= job.inputs;
      if (++column == job.kernel_size) {
        column = 0;
        ++row;
      }
    }
  }
};

// Rows of four pieces: where a piece lies depends on its row, so that the same piece of eight rows
// lies in all banks.
__device__ __forceinline__ int place_of(int row, int piece) {
  return row * kChunkBytes + (piece ^ (row >> 1 & 3)) * 16;
}

template <MatrixPrecision kPrecision>
__device__ __forceinline__ void load_chunk(
    const MatrixJob<typename Format<kPrecision>::Number>& job, int first_panel, int chunk,
    Window* window, typename Format<kPrecision>::Shared* tile) {
  using F = Format<kPrecision>;
  if (chunk < job.chunks) {
    auto* stage = &tile->stages[chunk % kStages];
    const int piece = threadIdx.x % kPieces;
    window->settle(job);
    const bool wanted = window->row < job.kernel_size;
    const int offset = window->row * job.y_step + window->column * job.x_step + window->channel;
#pragma unroll
    for (int n = 0; n < kVoters; n += kThreadsPerBlock / kPieces) {
      const int voter = n + threadIdx.x / kPieces;
      copy_async<16>(stage->features + place_of(voter, piece),
                     tile->patches[voter] + (wanted ? offset : 0), wanted);
    }
    window->channel += F::kChunk;
    constexpr int kPiecesOfPanel = F::kWeightBytes / 16;
#pragma unroll
    for (int n = 0; n < kPanels * kPiecesOfPanel; n += kThreadsPerBlock) {
      const int i = n + threadIdx.x;
      // Beyond the last panel, that one again: nobody asks for the result.
      int panel = first_panel + i / kPiecesOfPanel;
      if (panel >= job.panels) panel = job.panels - 1;
      const auto* weights = reinterpret_cast<const unsigned char*>(job.params.layers[0].weight);
      stream_async(stage->weights + 16 * i,
                   weights + (static_cast<int64_t>(panel) * job.chunks + chunk) * F::kWeightBytes +
                       i % kPiecesOfPanel * 16);
    }
  }
  commit_copies();
}

__device__ __forceinline__ float as_float(uint32_t bits) {
  return float_from_bits(static_cast<int32_t>(bits));
}

// What TF32 holds of the numbers, and what it leaves.
template <bool kSplit>
__device__ __forceinline__ void round_to_tf32(uint32_t (&numbers)[4], uint32_t (&rests)[4]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float value = as_float(numbers[i]);
    numbers[i] = to_tf32(value);
    if (kSplit) rests[i] = to_tf32(value - as_float(numbers[i]));
  }
}

template <bool kSplit>
__device__ __forceinline__ void multiply(const uint32_t (&a)[4], const uint32_t (&a_rest)[4],
                                         const uint32_t* b, const uint32_t* b_rest,
                                         float (&sums)[4]) {
  if (kSplit) {
    multiply_tf32(a_rest, b[0], b[1], sums);
    multiply_tf32(a, b_rest[0], b_rest[1], sums);
  }
  multiply_tf32(a, b[0], b[1], sums);
}

struct alignas(16) FourWords {
  uint32_t words[4];
};

// A warp's 64 voters and two panels: [four times 16 voters, eight times 8 units, of a lane].
using WarpSums = float[4][8][4];

template <MatrixPrecision kPrecision>
__device__ __forceinline__ void add_chunk(const typename Format<kPrecision>::Stage& stage,
                                          WarpSums& sums) {
  using F = Format<kPrecision>;
  const int lane = threadIdx.x % kWarpSize;
  const int warp = threadIdx.x / kWarpSize;
  const int first_voter = warp % kWarpsOfVoters * 64;
  const auto* weights = reinterpret_cast<const FourWords*>(stage.weights + warp / kWarpsOfVoters *
                                                                               2 * F::kWeightBytes);
  // Split features take twice the registers: half of them at a time.
  constexpr int kAtOnce = F::kSplit ? 2 : 4;
#pragma unroll
  for (int part = 0; part < 8; part += kAtOnce) {
    const int step = part / 4;
    uint32_t features[kAtOnce][4], rests[kAtOnce][4] = {};
#pragma unroll
    for (int m = 0; m < kAtOnce; ++m) {
      const int row = first_voter + 16 * (part % 4 + m) + lane % 16;
      load_matrices(stage.features + place_of(row, 2 * step + lane / 16), features[m]);
      if (!F::kBfloat16) round_to_tf32<F::kSplit>(features[m], rests[m]);
    }
#pragma unroll
    for (int pair = 0; pair < 4; ++pair) {
      constexpr int kRests = kPanelBytes / 16;  // behind the weights' larger parts
      const int at = pair / 2 * (F::kWeightBytes / 16) + (2 * step + pair % 2) * kWarpSize + lane;
      const FourWords two = weights[at];
      const FourWords two_rests = F::kSplit ? weights[at + kRests] : FourWords{};
#pragma unroll
      for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int m = 0; m < kAtOnce; ++m) {
          float (&sum)[4] = sums[part % 4 + m][2 * pair + half];
          if (F::kBfloat16) {
            multiply_bfloat16(features[m], two.words[2 * half], two.words[2 * half + 1], sum);
          } else {
            multiply<F::kSplit>(features[m], rests[m], two.words + 2 * half,
                                two_rests.words + 2 * half, sum);
          }
        }
      }
    }
  }
}

// A warp's share of the logits: [four times 16 voters, groups of 8 channels, of a lane].
template <int kGroups>
using Logits = float[4][kGroups][4];

// The last layer over a warp's hidden units. A lane has, as sums, columns 2t and 2t + 1 where the
// instruction wants t and t + 4: the weights are packed for that.
template <bool kSplit, int kGroups>
__device__ __forceinline__ void add_units(const WarpSums& sums, const float* packed, int panel,
                                          int panels, Logits<kGroups>& logits) {
  const int lane = threadIdx.x % kWarpSize;
#pragma unroll
  for (int half = 0; half < 4; ++half) {
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
      for (int m = 0; m < 4; ++m) {
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

__device__ __forceinline__ void start_at_bias(const PackedLayer& layer, int panel, WarpSums& sums) {
#pragma unroll
  for (int n = 0; n < 8; ++n) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int64_t unit = panel * kPanelWidth + 8 * n + threadIdx.x % 4 * 2 + i;
      const float bias = unit < layer.outputs ? layer.bias[unit] : 0.0f;
#pragma unroll
      for (int m = 0; m < 4; ++m) sums[m][n][i] = sums[m][n][i + 2] = bias;
    }
  }
}

}  // namespace dvfast
