#include "convolution.h"
#include "shared_memory.h"
#include "vote_grid.h"
#include "vote_head.h"

namespace dvfast {
namespace {

// More blocks than any device runs at once; each has scratch memory of its own.
constexpr int64_t kMostHeadBlocks = 1024;

// With one layer there is nothing to fuse: few outputs, many voters.
constexpr unsigned int kSingleThreads = 128;
using SingleTile = ConvolutionTile<kSingleThreads, 1>;
constexpr int kLogitsPitch = kPanelWidth + 1;
static_assert(SingleTile::kPlaces * kLogitsPitch * sizeof(float) <= 2 * sizeof(SingleTile::Stage),
              "logits are exchanged where the stages were");

template <bool kWide>
using HiddenTile = ConvolutionTile<kThreadsPerBlock, 4, kWide>;
using AnyTile = HiddenTile<false>;
constexpr int kVoters = AnyTile::kPlaces;

// Hidden units pass from those who summed them to those who add them up in runs of so many.
constexpr int kRun = 64;
constexpr int kRunPitch = kRun + 4;
constexpr int kParts = kPartialSums / 2;  // that a thread adds up, of one voter
static_assert(kThreadsPerBlock == 2 * kVoters, "two threads for each voter");
static_assert(kVoters * kRunPitch * sizeof(float) <= 2 * sizeof(AnyTile::Stage),
              "hidden units are exchanged where the stages were");

// What a block keeps in global memory, which in practice is the L2 cache: the partial sums of its
// voters, too many for registers (3k * 16 for each of them) and touched once for a tile of hidden
// units; and, between hidden layers, the units of two of them.
struct Scratch {
  int64_t sums;   // [3k, kPartialSums, kVoters]
  int64_t units;  // [kVoters, the widest of those layers]
  DVFAST_INLINE int64_t size() const { return sums + 2 * units; }
};

struct HeadJob {
  VoteHeadParams params;
  Convolution convolutions[kMaxHeadLayers];
  Scratch scratch;
  float* memory;
};

template <int kCount, int kThreads>
__device__ __forceinline__ void find_patches(const VoteHeadParams& params, int64_t first,
                                             const float** patches) {
#pragma unroll 1
  for (int v = threadIdx.x; v < kCount; v += kThreads) {
    patches[v] = patch_of(params, params.features, first + v);
  }
}

__global__ void __launch_bounds__(kSingleThreads, 3) cast_votes(HeadJob job, int64_t tiles) {
  const auto& params = job.params;
  auto* tile = shared_array<SingleTile::Shared>();
  const int panels = job.convolutions[0].panels;
  for (int64_t work = blockIdx.x; work < tiles * panels; work += gridDim.x) {
    const int64_t first = work / panels * SingleTile::kPlaces;
    find_patches<SingleTile::kPlaces, kSingleThreads>(params, first, tile->places);
    if (threadIdx.x == 0) {
      tile->conv = job.convolutions[0];
      tile->first_panel = static_cast<int>(work % panels);
    }
    __syncthreads();
    float sums[8][8];
    SingleTile::sum(tile, sums);
    __syncthreads();
    auto* logits = reinterpret_cast<float*>(tile->stages);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        logits[SingleTile::place(i) * kLogitsPitch + SingleTile::output(j / 4) + j % 4] =
            sums[i][j];
      }
    }
    __syncthreads();
    const int64_t channels = kChannelsPerVote * params.votes.num_votes;
    for (int i = threadIdx.x; i < SingleTile::kPlaces * kPanelWidth; i += kSingleThreads) {
      const int place = i % SingleTile::kPlaces;
      const int output = i / SingleTile::kPlaces;
      const int64_t channel = work % panels * kPanelWidth + output;
      if (first + place >= count_voters(params) || channel >= channels) continue;
      write_vote(params, voter_at(params, first + place), channel,
                 logits[place * kLogitsPitch + output]);
    }
    __syncthreads();
  }
}

__device__ __forceinline__ float4 four_rectified(const float* sums) {
  return {rectify(sums[0]), rectify(sums[1]), rectify(sums[2]), rectify(sums[3])};
}

// A tile of hidden units, for the next layer.
__device__ __forceinline__ void keep_units(int64_t first_unit, int64_t width,
                                           const float (&sums)[8][8], float* units) {
#pragma unroll
  for (int run = 0; run < 2; ++run) {
    const int64_t unit = first_unit + AnyTile::output(run);
    if (unit >= width) continue;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      *reinterpret_cast<float4*>(units + AnyTile::place(i) * width + unit) =
          four_rectified(sums[i] + 4 * run);
    }
  }
}

// Adds kRun hidden units of a voter to half of its partial sums. `units` are those of its row that
// the half has, `last` is the last layer.
__device__ __forceinline__ void add_run(const float* units, int64_t first_unit,
                                        const PackedLayer& last, int64_t channels, int half,
                                        float* sums) {
#pragma unroll 1
  for (int64_t channel = 0; channel < channels; ++channel) {
    const float* weights = last.weight + channel * last.inputs + first_unit + half * kParts;
    float* mine = sums + (channel * kPartialSums + half * kParts) * kVoters;
    float parts[kParts];
#pragma unroll
    for (int r = 0; r < kParts; ++r) parts[r] = first_unit == 0 ? 0.0f : mine[r * kVoters];
#pragma unroll 1
    for (int m = 0; m < kRun && first_unit + m < last.inputs; m += kPartialSums) {
#pragma unroll
      for (int r = 0; r < kParts; r += 4) {
        const float4 hidden = *reinterpret_cast<const float4*>(units + m + r);
        const float4 weight = *reinterpret_cast<const float4*>(weights + m + r);
        parts[r] = fused_multiply_add(hidden.x, weight.x, parts[r]);
        parts[r + 1] = fused_multiply_add(hidden.y, weight.y, parts[r + 1]);
        parts[r + 2] = fused_multiply_add(hidden.z, weight.z, parts[r + 2]);
        parts[r + 3] = fused_multiply_add(hidden.w, weight.w, parts[r + 3]);
      }
    }
#pragma unroll
    for (int r = 0; r < kParts; ++r) mine[r * kVoters] = parts[r];
  }
}

// A tile of the last hidden layer, onto the partial sums.
__device__ __forceinline__ void add_units(int64_t first_unit, const PackedLayer& last,
                                          int64_t channels, const float (&hidden)[8][8],
                                          float* exchange, float* sums) {
  const int voter = threadIdx.x % kVoters;
  const int half = threadIdx.x / kVoters;
#pragma unroll
  for (int run = 0; run < 2; ++run) {
    __syncthreads();
    const int unit = AnyTile::output(run) - run * kRun;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      *reinterpret_cast<float4*>(exchange + AnyTile::place(i) * kRunPitch + unit) =
          four_rectified(hidden[i] + 4 * run);
    }
    __syncthreads();
    if (first_unit + run * kRun >= last.inputs) continue;
    add_run(exchange + voter * kRunPitch + half * kParts, first_unit + run * kRun, last, channels,
            half, sums + voter);
  }
  __syncthreads();
}

__device__ __forceinline__ void cast_votes_of(const HeadJob& job, int64_t first,
                                              const float* sums) {
  const auto& params = job.params;
  const PackedLayer& last = params.layers[params.num_layers - 1];
  const int64_t n = first + threadIdx.x % kVoters;
  if (n >= count_voters(params)) return;
  const Voter voter = voter_at(params, n);
  for (int64_t channel = threadIdx.x / kVoters; channel < kChannelsPerVote * params.votes.num_votes;
       channel += 2) {
    float parts[kPartialSums];
#pragma unroll
    for (int part = 0; part < kPartialSums; ++part) {
      parts[part] = sums[(channel * kPartialSums + part) * kVoters + threadIdx.x % kVoters];
    }
    write_vote(params, voter, channel, add_in_halves(parts) + last.bias[channel]);
  }
}

__device__ __forceinline__ float* my_memory(const HeadJob& job) {
  return job.memory + blockIdx.x * job.scratch.size();
}
__device__ __forceinline__ float* my_units(const HeadJob& job, int layer) {
  return my_memory(job) + job.scratch.sums + layer % 2 * job.scratch.units;
}

// From the features to the votes, kVoters at a time: what is between them is never whole.
template <bool kWide>
struct HeadShared : HiddenTile<kWide>::Shared {
  int work;  // here for the same reason as first_panel
};

// Of any layers, or of one wide hidden layer: two blocks of that fit a multiprocessor.
template <bool kAny>
__global__ void __launch_bounds__(kThreadsPerBlock, kAny ? 1 : 2)
    cast_votes_through_hidden_layers(HeadJob job, int tiles) {
  using Tile = HiddenTile<!kAny>;
  constexpr int kPanelsOfTile = Tile::kOutputs / kPanelWidth;
  const auto& params = job.params;
  const int layers = kAny ? static_cast<int>(params.num_layers) : 2;
  const PackedLayer& last = params.layers[layers - 1];
  auto* tile = shared_array<HeadShared<!kAny>>();
  if (threadIdx.x == 0) tile->work = blockIdx.x;
  __syncthreads();
  while (tile->work < tiles) {
    find_patches<kVoters, kThreadsPerBlock>(params, tile->work * int64_t{kVoters}, tile->places);
    for (int layer = 0; layer + 1 < layers; ++layer) {
      if (threadIdx.x == 0) {
        tile->conv = job.convolutions[layer];
        tile->first_panel = 0;
      }
      __syncthreads();
      const int64_t width = job.convolutions[layer].layer.outputs;
      for (bool more = true; more;) {
        float hidden[8][8];
        Tile::sum(tile, hidden);
        const int64_t first_unit = tile->first_panel * int64_t{kPanelWidth};
        if (layer + 2 == layers) {
          add_units(first_unit, last, kChannelsPerVote * params.votes.num_votes, hidden,
                    reinterpret_cast<float*>(tile->stages), my_memory(job));
        } else {
          keep_units(first_unit, width, hidden, my_units(job, layer));
        }
        more = first_unit + Tile::kOutputs < width;
        __syncthreads();
        if (threadIdx.x == 0) tile->first_panel += kPanelsOfTile;
        __syncthreads();
      }
      if (layer + 2 == layers) break;
      for (int v = threadIdx.x; v < kVoters; v += kThreadsPerBlock) {
        tile->places[v] = my_units(job, layer) + v * width;
      }
    }
    cast_votes_of(job, tile->work * int64_t{kVoters}, my_memory(job));
    __syncthreads();
    if (threadIdx.x == 0) tile->work += gridDim.x;
    __syncthreads();
  }
}

Scratch scratch_of(const VoteHeadParams& params) {
  Scratch scratch{};
  if (params.num_layers < 2) return scratch;
  scratch.sums = kChannelsPerVote * params.votes.num_votes * kPartialSums * kVoters;
  for (int64_t layer = 0; layer + 2 < params.num_layers; ++layer) {
    const int64_t units = kVoters * params.layers[layer].outputs;
    scratch.units = units > scratch.units ? units : scratch.units;
  }
  return scratch;
}

int64_t count_tiles(const VoteHeadParams& params) {
  const int64_t places = params.num_layers == 1 ? SingleTile::kPlaces : kVoters;
  return divide_up(count_voters(params), places);
}

int64_t count_blocks(const VoteHeadParams& params) {
  const int64_t tiles = count_tiles(params);
  return tiles < kMostHeadBlocks ? tiles : kMostHeadBlocks;
}

}  // namespace

int64_t vote_head_scratch(const VoteHeadParams& params) {
  return count_blocks(params) * scratch_of(params).size();
}

cudaError_t launch_vote_head(const VoteHeadParams& params, float* scratch, cudaStream_t stream) {
  const int64_t tiles = count_tiles(params);
  if (tiles == 0 || params.votes.num_votes == 0) return cudaSuccess;
  if (params.num_layers < 1 || params.num_layers > kMaxHeadLayers) return cudaErrorInvalidValue;
  if (params.num_layers > 1 &&
      !(is_aligned(scratch) && is_aligned(params.layers[params.num_layers - 1].weight))) {
    return cudaErrorInvalidValue;
  }
  HeadJob job{};
  job.params = params;
  job.scratch = scratch_of(params);
  job.memory = scratch;
  if (!make_convolution(params.features, params.layers[0], params.kernel_size, params.dilation,
                        is_wide(params.features), &job.convolutions[0])) {
    return cudaErrorInvalidValue;
  }
  for (int64_t layer = 1; layer + 1 < params.num_layers; ++layer) {
    if (!make_convolution(FeaturesView<const float>{}, params.layers[layer], 1, 1, true,
                          &job.convolutions[layer])) {
      return cudaErrorInvalidValue;
    }
  }
  if (params.num_layers == 1) {
    return launch(cast_votes, blocks_for(tiles * job.convolutions[0].panels, 1), kSingleThreads,
                  sizeof(SingleTile::Shared), stream, job, tiles);
  }
  const bool any = params.num_layers != 2 || !job.convolutions[0].wide;
  const auto kernel =
      any ? cast_votes_through_hidden_layers<true> : cast_votes_through_hidden_layers<false>;
  return launch(kernel, static_cast<unsigned int>(count_blocks(params)), kThreadsPerBlock,
                sizeof(HeadShared<false>), stream, job, static_cast<int>(tiles));
}

}  // namespace dvfast
