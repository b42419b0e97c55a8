#include "matrix_tile.h"
#include "shared_memory.h"
#include "vote_grid.h"
#include "vote_head_tensor_cores.h"

namespace dvfast {
namespace {

constexpr int kGroup = 8;  // channels of votes that a matrix instruction takes
constexpr int kMostGroups = 2;

// The two warps that have the same voters add their shares.
template <int kGroups>
__device__ __forceinline__ void write_votes(const VoteHeadParams& params, int64_t first,
                                            Logits<kGroups>& logits, float* exchange) {
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
    cast_votes_by_matrices(MatrixJob<typename Format<kPrecision>::Number> job, int64_t tiles) {
  using F = Format<kPrecision>;
  need_tensor_cores();
  auto* tile = shared_array<typename F::Shared>();
  const auto& params = job.params;
  const int my_panel = threadIdx.x / kWarpSize / kWarpsOfVoters * 2;
  for (int64_t work = blockIdx.x; work < tiles; work += gridDim.x) {
    static_assert(kVoters == kThreadsPerBlock, "a thread finds one patch");
    tile->patches[threadIdx.x] = patch_of(params, job.features, work * kVoters + threadIdx.x);
    Logits<kGroups> logits = {};
    for (int panel = 0; panel < job.panels; panel += kPanels) {
      WarpSums sums;
      start_at_bias(params.layers[0], panel + my_panel, sums);
      __syncthreads();
      Window window{static_cast<int>(threadIdx.x % kPieces) * F::kPerPiece, 0, 0};
      for (int chunk = 0; chunk < kStages - 1; ++chunk) {
        load_chunk<kPrecision>(job, panel, chunk, &window, tile);
      }
#pragma unroll 1
      for (int chunk = 0; chunk < job.chunks; ++chunk) {
        wait_for_copies<kStages - 2>();
        __syncthreads();
        load_chunk<kPrecision>(job, panel, chunk + kStages - 1, &window, tile);
        add_chunk<kPrecision>(tile->stages[chunk % kStages], sums);
      }
      add_units<F::kSplit, kGroups>(sums, params.layers[1].weight, panel + my_panel, job.panels,
                                    logits);
    }
    write_votes<kGroups>(params, work * kVoters, logits, reinterpret_cast<float*>(tile->stages));
  }
}

__global__ void __launch_bounds__(kThreadsPerBlock)
    round_features(FeaturesView<const float> features, bfloat16* rounded) {
  const int64_t count = features.batch * features.height * features.width * features.channels;
  for (int64_t i = first_item(); i < count; i += item_stride()) {
    const int64_t channel = i % features.channels;
    const int64_t x = i / features.channels % features.width;
    const int64_t row = i / features.channels / features.width;
    rounded[i] = FromCompute<bfloat16>::convert(
        features.data[row / features.height * features.batch_stride +
                      row % features.height * features.y_stride + x * features.x_stride + channel]);
  }
}

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t count_features(const FeaturesView<const float>& features) {
  return features.batch * features.height * features.width * features.channels;
}

// The same map, packed.
FeaturesView<const bfloat16> as_bfloat16(const FeaturesView<const float>& features,
                                         const bfloat16* data) {
  return {data,
          features.batch,
          features.height,
          features.width,
          features.channels,
          features.height * features.width * features.channels,
          features.width * features.channels,
          features.channels};
}

template <MatrixPrecision kPrecision, int kGroups>
cudaError_t start(const VoteHeadParams& params,
                  const FeaturesView<const typename Format<kPrecision>::Number>& features,
                  cudaStream_t stream) {
  using F = Format<kPrecision>;
  MatrixJob<typename F::Number> job{};
  job.params = params;
  job.features = features;
  job.inputs = static_cast<int>(params.layers[0].inputs);
  job.kernel_size = static_cast<int>(params.kernel_size);
  job.depth = job.kernel_size * job.kernel_size * job.inputs;
  job.chunks = static_cast<int>(divide_up(job.depth, F::kChunk));
  job.panels = static_cast<int>(divide_up(params.layers[0].outputs, kPanelWidth));
  job.y_step = static_cast<int>(params.dilation * features.y_stride);
  job.x_step = static_cast<int>(params.dilation * features.x_stride);
  const auto kernel = cast_votes_by_matrices<kPrecision, kGroups>;
  const size_t bytes = sizeof(typename F::Shared);
  const cudaError_t error = cudaFuncSetAttribute(
      kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
  if (error != cudaSuccess) return error;
  const int64_t tiles = divide_up(count_voters(params), kVoters);
  return launch(kernel, blocks_for(tiles, 1), kThreadsPerBlock, bytes, stream, job, tiles);
}

template <MatrixPrecision kPrecision>
cudaError_t start(const VoteHeadParams& params,
                  const FeaturesView<const typename Format<kPrecision>::Number>& features,
                  cudaStream_t stream) {
  return kChannelsPerVote * params.votes.num_votes <= kGroup
             ? start<kPrecision, 1>(params, features, stream)
             : start<kPrecision, 2>(params, features, stream);
}

}  // namespace

bool has_matrix_vote_head(const MatrixHeadParams& params) {
  const VoteHeadParams& head = params.head;
  const PackedLayer& first = head.layers[0];
  const bool bfloat16_map = params.precision == MatrixPrecision::kBfloat16;
  // A map of bfloat16 is made as it should be.
  const auto& in = head.features;
  const bool aligned =
      bfloat16_map || (reinterpret_cast<uintptr_t>(in.data) % 16 == 0 && in.batch_stride % 4 == 0 &&
                       in.y_stride % 4 == 0 && in.x_stride % 4 == 0);
  const FeaturesView<const bfloat16> map = as_bfloat16(in, nullptr);
  const int64_t y_step = head.dilation * (bfloat16_map ? map.y_stride : std::abs(in.y_stride));
  const int64_t x_step = head.dilation * (bfloat16_map ? map.x_stride : std::abs(in.x_stride));
  const int64_t depth = head.kernel_size * head.kernel_size * first.inputs;
  const bool small = head.kernel_size * (y_step + x_step) + first.inputs <= INT32_MAX &&
                     depth <= INT32_MAX / 2 && first.outputs <= INT32_MAX / 2;
  int device = 0, major = 0;
  return head.num_layers == 2 && first.inputs % kChannelBlock == 0 && depth > 0 && aligned &&
         small && kChannelsPerVote * head.votes.num_votes <= kMostGroups * kGroup &&
         cudaGetDevice(&device) == cudaSuccess &&
         cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
         major >= 8;
}

int64_t matrix_vote_head_scratch(const MatrixHeadParams& params) {
  return params.precision == MatrixPrecision::kBfloat16
             ? count_features(params.head.features) * static_cast<int64_t>(sizeof(bfloat16))
             : 0;
}

cudaError_t launch_matrix_vote_head(const MatrixHeadParams& params, void* scratch,
                                    cudaStream_t stream) {
  const VoteHeadParams& head = params.head;
  if (count_voters(head) == 0 || head.votes.num_votes == 0) return cudaSuccess;
  if (!has_matrix_vote_head(params)) return cudaErrorNotSupported;
  switch (params.precision) {
    case MatrixPrecision::kTf32: return start<MatrixPrecision::kTf32>(head, head.features, stream);
    case MatrixPrecision::kFloat32:
      return start<MatrixPrecision::kFloat32>(head, head.features, stream);
    default: break;
  }
  auto* rounded = static_cast<bfloat16*>(scratch);
  const int64_t count = count_features(head.features);
  const cudaError_t error = launch(round_features, blocks_for(count, kThreadsPerBlock),
                                   kThreadsPerBlock, 0, stream, head.features, rounded);
  if (error != cudaSuccess) return error;
  return start<MatrixPrecision::kBfloat16>(head, as_bfloat16(head.features, rounded), stream);
}

}  // namespace dvfast
