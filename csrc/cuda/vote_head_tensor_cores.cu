#include "matrix_tile.h"
#include "matrix_votes.h"
#include "shared_memory.h"
#include "vote_grid.h"
#include "vote_head_tensor_cores.h"

namespace dvfast {
namespace {

// A block makes the votes of kVoters voters from tiles of 128 hidden units, one after another. A
// warp sums 64 by 64: for 65536 multiply-adds of bfloat16 it reads 4 KB from shared memory, so that
// its 128 bytes a clock are enough for 2048 of them, all that an H200 can do. The block copies 24
// KB for a million; two thirds of that are features, which its voters share in the L1 cache. Split
// factors and products need registers of their own: there a tile has half the units.
constexpr int kVoters = kMatrixPlaces;
constexpr int kWarpsOfVoters = 4;

template <MatrixPrecision kPrecision>
constexpr int kPanelsAtOnce = Format<kPrecision>::kSplit ? 2 : 4;

template <MatrixPrecision kPrecision>
using HeadTile = MatrixTile<kPrecision, kPanelsAtOnce<kPrecision>, 4, kPanelsAtOnce<kPrecision>>;

template <MatrixPrecision kPrecision>
struct MatrixJob {
  VoteHeadParams params;
  FeaturesView<const typename Format<kPrecision>::Number> features;
  MatrixConvolution conv;
};

// The two warps that have the same voters add their shares.
template <int kGroups>
__device__ __forceinline__ void write_votes(const VoteHeadParams& params, int64_t first,
                                            Logits<4, kGroups>& logits, float* exchange) {
  const int lane = threadIdx.x % kWarpSize;
  const int warp = threadIdx.x / kWarpSize;
  const int of_voters = warp % kWarpsOfVoters;
  const bool writes = warp < kWarpsOfVoters;
  const auto& votes = params.votes;
  __syncthreads();
#pragma unroll
  for (int m = 0; m < 4; ++m) {
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (writes) continue;
        exchange[(((of_voters * 4 + m) * kGroups + group) * 4 + i) * kWarpSize + lane] =
            logits[m][group][i];
      }
    }
  }
  __syncthreads();
  if (!writes) return;
#pragma unroll
  for (int m = 0; m < 4; ++m) {
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      const int64_t n = first + of_voters * 64 + m * 16 + row * 8 + lane / 4;
      if (n >= count_voters(params)) continue;
      const Voter voter = voter_at(params, n);
#pragma unroll
      for (int group = 0; group < kGroups; ++group) {
#pragma unroll
        for (int i = 2 * row; i < 2 * row + 2; ++i) {
          const int channel = group * kGroup + lane % 4 * 2 + i % 2;
          if (channel >= kChannelsPerVote * votes.num_votes) continue;
          const float other =
              exchange[(((of_voters * 4 + m) * kGroups + group) * 4 + i) * kWarpSize + lane];
          write_vote(params, voter, channel,
                     logits[m][group][i] + other + params.layers[1].bias[channel]);
        }
      }
    }
  }
}

template <MatrixPrecision kPrecision, int kGroups>
__global__ void __launch_bounds__(kThreadsPerBlock, 1)
    cast_votes_by_matrices(MatrixJob<kPrecision> job, int64_t tiles) {
  using Tile = HeadTile<kPrecision>;
  need_tensor_cores();
  auto* tile = shared_array<typename Tile::Shared>();
  const auto& params = job.params;
  for (int64_t work = blockIdx.x; work < tiles; work += gridDim.x) {
    static_assert(kVoters == kThreadsPerBlock, "a thread finds one patch");
    tile->patches[threadIdx.x] = patch_of(params, job.features, work * kVoters + threadIdx.x);
    Logits<4, kGroups> logits = {};
    for (int panel = 0; panel < job.conv.panels; panel += kPanelsAtOnce<kPrecision>) {
      typename Tile::Sums sums;
      Tile::sum(job.conv, panel, tile, sums);
      add_units<Tile::F::kSplit>(sums, params.layers[1].weight, panel + Tile::first_panel(),
                                 job.conv.panels, logits);
    }
    write_votes<kGroups>(params, work * kVoters, logits, reinterpret_cast<float*>(tile->stages));
  }
}

template <MatrixPrecision kPrecision>
bool make_job(const VoteHeadParams& params,
              const FeaturesView<const typename Format<kPrecision>::Number>& features,
              MatrixJob<kPrecision>* job) {
  job->params = params;
  job->features = features;
  return params.num_layers == 2 && is_aligned(params.layers[1].weight) &&
         kChannelsPerVote * params.votes.num_votes <= kMostGroups * kGroup &&
         make_matrix_convolution<kPrecision>(features, params.layers[0], params.kernel_size,
                                             params.dilation, &job->conv) &&
         is_compiled_for(80, cast_votes_by_matrices<kPrecision, 1>);
}

template <MatrixPrecision kPrecision>
cudaError_t start(const VoteHeadParams& params,
                  const FeaturesView<const typename Format<kPrecision>::Number>& features,
                  cudaStream_t stream) {
  MatrixJob<kPrecision> job{};
  if (!make_job<kPrecision>(params, features, &job)) return cudaErrorNotSupported;
  const int64_t tiles = divide_up(count_voters(params), kVoters);
  const auto kernel = kChannelsPerVote * params.votes.num_votes <= kGroup
                          ? cast_votes_by_matrices<kPrecision, 1>
                          : cast_votes_by_matrices<kPrecision, 2>;
  return launch_with(sizeof(typename HeadTile<kPrecision>::Shared), kernel, blocks_for(tiles, 1),
                     kThreadsPerBlock, stream, job, tiles);
}

}  // namespace

bool has_matrix_vote_head(const MatrixHeadParams& params) {
  return by_precision(params, [&](auto precision, const auto& features) {
    MatrixJob<precision.value> job{};
    return make_job<precision.value>(params.head, features, &job);
  });
}

cudaError_t launch_matrix_vote_head(const MatrixHeadParams& params, cudaStream_t stream) {
  const VoteHeadParams& head = params.head;
  if (count_voters(head) == 0 || head.votes.num_votes == 0) return cudaSuccess;
  return by_precision(params, [&](auto precision, const auto& features) {
    return start<precision.value>(head, features, stream);
  });
}

}  // namespace dvfast
