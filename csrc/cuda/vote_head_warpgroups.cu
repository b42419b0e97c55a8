#include "matrix_tile.h"
#include "matrix_votes.h"
#include "shared_memory.h"
#include "vote_head_warpgroups.h"
#include "voters_in_squares.h"
#include "warpgroup.h"

namespace dvfast {
namespace {

// Of voters that are next to one another, or a dilation apart, the taps of one are the places of
// others. A warpgroup has squares of 8 by 8 of them: the features under a square lie in shared
// memory once, and the matrix of every tap is the same map, begun elsewhere. Two warpgroups sum
// over the same weights, 128 hidden units after another, which a third copies ahead of them.
//
// For 64 x 128 x 16 multiply-adds of bfloat16, 64 clocks, an instruction reads 6 KB from shared
// memory, which gives 8; the weights come in once for four squares, at 16 bytes a clock.

// Which slot of the ring is next, and how often the ring has gone round.
struct Slot {
  int index = 0;
  uint32_t round = 0;
  __device__ __forceinline__ void advance() {
    if (++index < kRing) return;
    index = 0;
    ++round;
  }
};

// The map under a square: [part, piece, pixel, 16 bytes].
template <MatrixPrecision kPrecision>
__device__ __forceinline__ void load_square(const WarpgroupJob<kPrecision>& job, int64_t n,
                                            unsigned char* map) {
  using F = WarpgroupFormat<kPrecision>;
  const auto& features = job.features;
  const Voter first = square_at(job, n);
  const int items = job.y.side * job.x.side * job.pieces;
  // Several at a time, all of them asked for before the first is stored.
  constexpr int kAtOnce = 5;
  for (int begin = threadIdx.x % kWarpgroup; begin < items; begin += kAtOnce * kWarpgroup) {
    FourWords numbers[kAtOnce] = {};
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      const int i = begin + k * kWarpgroup;
      const int piece = i % job.pieces;
      const int pixel = i / job.pieces;
      const int64_t y = first.i + job.y.step * (pixel / job.x.side);
      const int64_t x = first.j + job.x.step * (pixel % job.x.side);
      if (i < items && first.b < features.batch && y < features.height && x < features.width) {
        numbers[k] = *reinterpret_cast<const FourWords*>(
            features.data + first.b * features.batch_stride + y * features.y_stride +
            x * features.x_stride + piece * F::kNumbers);
      }
    }
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) {
      const int i = begin + k * kWarpgroup;
      if (i >= items) break;
      FourWords rests{};
      if (!F::kBfloat16) round_to_tf32<F::kSplit>(numbers[k].words, rests.words);
      auto* place = reinterpret_cast<FourWords*>(map + i % job.pieces * job.plane_bytes +
                                                 i / job.pieces * kPieceBytes);
      *place = numbers[k];
      if (F::kSplit) place[job.part_bytes / kPieceBytes] = rests;
    }
  }
}

// Where the step of the depth that is next begins in the map under a square.
struct Window {
  int piece = 0, column = 0, row = 0;
  template <typename Job>
  __device__ __forceinline__ int next(const Job& job) {
    // What fills up the last chunk has weights of zero, for whatever features.
    if (row == job.conv.kernel_size) return 0;
    const int pixel = row * job.y.tap * job.x.side + column * job.x.tap;
    const int bytes = piece * job.plane_bytes + pixel * kPieceBytes;
    piece += 2;
    if (piece == job.pieces) {
      piece = 0;
      if (++column == job.conv.kernel_size) {
        column = 0;
        ++row;
      }
    }
    return bytes;
  }
};

template <MatrixPrecision kPrecision>
__device__ __forceinline__ void copy_weights(const WarpgroupJob<kPrecision>& job,
                                             unsigned char* ring, Barriers* barriers) {
  constexpr int kBytes = WarpgroupFormat<kPrecision>::kChunkBytes;
  const auto* weights = reinterpret_cast<const unsigned char*>(job.params.layers[0].weight);
  Slot slot;
  for (int64_t work = blockIdx.x; work < job.works; work += gridDim.x) {
    for (int chunk = 0; chunk < job.tiles * job.chunks; ++chunk) {
      wait_for(&barriers->empty[slot.index], ~slot.round & 1);
      arrive_with_copies(&barriers->full[slot.index], kBytes);
      copy_counted(ring + slot.index * kBytes, weights + static_cast<int64_t>(chunk) * kBytes,
                   kBytes, &barriers->full[slot.index]);
      slot.advance();
    }
  }
}

// A tile of hidden units of the warpgroup's voters.
template <MatrixPrecision kPrecision>
__device__ __forceinline__ void sum_tile(
    const WarpgroupJob<kPrecision>& job, int tile, uint64_t map, const unsigned char* ring,
    Barriers* barriers, Slot* slot, WarpgroupSums (&sums)[WarpgroupFormat<kPrecision>::kSquares]) {
  using F = WarpgroupFormat<kPrecision>;
  const int lane = threadIdx.x % kWarpSize;
#pragma unroll
  for (int n = 0; n < kColumnsOfWarpgroup / 8; ++n) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int output = tile * kWarpgroupUnits + 8 * n + lane % 4 * 2 + i;
      const float bias = output < job.conv.layer.outputs ? job.conv.layer.bias[output] : 0.0f;
#pragma unroll
      for (int m = 0; m < F::kSquares; ++m) sums[m][n][i] = sums[m][n][i + 2] = bias;
    }
  }
  const auto release = [&](int index) {
    if (lane == 0) arrive(&barriers->empty[index]);
  };
  Window window;
  int before = 0;
#pragma unroll 1
  for (int chunk = 0; chunk < job.chunks; ++chunk) {
    const uint64_t weights = describe_matrix(ring + slot->index * F::kChunkBytes, 8 * kPieceBytes,
                                             kWarpgroupUnits * kPieceBytes);
    // Beforehand: between products there must be nothing that branches.
    uint64_t matrices[F::kSteps];
#pragma unroll
    for (uint64_t& matrix : matrices) matrix = moved_by(map, window.next(job));
    wait_for(&barriers->full[slot->index], slot->round & 1);
    begin_products();
    if constexpr (F::kSplit) {
      WarpgroupSums products;
#pragma unroll
      for (int step = 0; step < F::kSteps; ++step) {
        const uint64_t b = moved_by(weights, step * kStepBytes * kWarpgroupUnits);
        const uint64_t a = matrices[step];
        multiply_matrices<kPrecision>(products, moved_by(a, job.part_bytes), b, step > 0);
        multiply_matrices<kPrecision>(products, a, moved_by(b, F::kPartBytes), true);
        multiply_matrices<kPrecision>(products, a, b, true);
      }
      commit_products();
      wait_for_products<0>();
      settle(products);
      release(slot->index);
#pragma unroll
      for (int n = 0; n < kColumnsOfWarpgroup / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) sums[0][n][i] += products[n][i];
      }
    } else {
#pragma unroll
      for (int step = 0; step < F::kSteps; ++step) {
        const uint64_t b = moved_by(weights, step * kStepBytes * kWarpgroupUnits);
#pragma unroll
        for (int m = 0; m < F::kSquares; ++m) {
          multiply_matrices<kPrecision>(sums[m], moved_by(matrices[step], m * job.part_bytes), b,
                                        true);
        }
      }
      commit_products();
      wait_for_products<1>();
      if (chunk > 0) release(before);
      before = slot->index;
    }
    slot->advance();
  }
  if constexpr (!F::kSplit) {
    wait_for_products<0>();
#pragma unroll
    for (int m = 0; m < F::kSquares; ++m) settle(sums[m]);
    release(before);
  }
}

template <MatrixPrecision kPrecision, int kGroups>
__device__ __forceinline__ void write_square(const WarpgroupJob<kPrecision>& job, int64_t n,
                                             const float (&logits)[kGroups][4]) {
  const auto& params = job.params;
  const int lane = threadIdx.x % kWarpSize;
  const int warp = threadIdx.x / kWarpSize % 4;
  const Voter first = square_at(job, n);
#pragma unroll
  for (int row = 0; row < 2; ++row) {
    const Voter voter{first.b, first.i + job.y.step * (2 * warp + row),
                      first.j + job.x.step * (lane / 4)};
    if (voter.b >= params.votes.batch || voter.i >= params.votes.height ||
        voter.j >= params.votes.width) {
      continue;
    }
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int channel = group * kGroup + lane % 4 * 2 + i;
        if (channel >= kChannelsPerVote * params.votes.num_votes) continue;
        write_vote(params, voter, channel,
                   logits[group][2 * row + i] + params.layers[1].bias[channel]);
      }
    }
  }
}

template <MatrixPrecision kPrecision, int kGroups>
__global__ void __launch_bounds__(kThreads, 1)
    cast_votes_by_warpgroups(WarpgroupJob<kPrecision> job) {
  using F = WarpgroupFormat<kPrecision>;
  need_warpgroups();
  auto* ring = shared_array<unsigned char>();
  auto* barriers = shared_array<Barriers>(kRing * F::kChunkBytes);
  const int warpgroup = threadIdx.x / kWarpgroup;
  if (threadIdx.x == 0) {
    for (int i = 0; i < kRing; ++i) {
      init_barrier(&barriers->full[i], 1);
      init_barrier(&barriers->empty[i], kWarpgroups * kWarpgroup / kWarpSize);
    }
    show_barriers();
  }
  __syncthreads();
  if (warpgroup == kWarpgroups) {
    take_registers<24, false>();
    if (threadIdx.x % kWarpgroup == 0) copy_weights(job, ring, barriers);
    return;
  }
  take_registers<240, true>();
  const int square_bytes = F::kParts * job.part_bytes;
  auto* map = shared_array<unsigned char>(kRing * F::kChunkBytes + sizeof(Barriers)) +
              warpgroup * F::kSquares * square_bytes;
  const uint64_t matrix = describe_matrix(map, job.x.side * kPieceBytes, job.plane_bytes);
  Slot slot;
  for (int64_t work = blockIdx.x; work < job.works; work += gridDim.x) {
    const int64_t first = (work * kWarpgroups + warpgroup) * F::kSquares;
    sync_warpgroup();
#pragma unroll
    for (int m = 0; m < F::kSquares; ++m) load_square(job, first + m, map + m * square_bytes);
    show_to_instructions();
    sync_warpgroup();
    Logits<F::kSquares, kGroups> logits = {};
#pragma unroll 1
    for (int tile = 0; tile < job.tiles; ++tile) {
      WarpgroupSums sums[F::kSquares];
      sum_tile(job, tile, matrix, ring, barriers, &slot, sums);
      add_units<F::kSplit>(sums, job.params.layers[1].weight,
                           tile * (kWarpgroupUnits / static_cast<int>(kPanelWidth)),
                           job.conv.panels, logits);
    }
#pragma unroll
    for (int m = 0; m < F::kSquares; ++m) write_square(job, first + m, logits[m]);
  }
}

template <MatrixPrecision kPrecision>
bool make_job(const VoteHeadParams& params,
              const FeaturesView<const typename Format<kPrecision>::Number>& features,
              WarpgroupJob<kPrecision>* job) {
  using F = WarpgroupFormat<kPrecision>;
  constexpr int64_t kMostPieces = 1 << 12, kMostTaps = 1 << 8, kMostDilation = 1 << 8;
  if (params.num_layers != 2 || params.stride != 1 || !is_aligned(params.layers[1].weight) ||
      kChannelsPerVote * params.votes.num_votes > kMostGroups * kGroup ||
      params.kernel_size > kMostTaps || params.dilation > kMostDilation ||
      params.layers[0].inputs > kMostPieces * F::kNumbers ||
      !make_matrix_convolution<kPrecision>(features, params.layers[0], params.kernel_size,
                                           params.dilation, &job->conv)) {
    return false;
  }
  job->params = params;
  job->features = features;
  job->pieces = job->conv.inputs / F::kNumbers;
  const int64_t steps = params.kernel_size * params.kernel_size * job->pieces / 2;
  job->chunks = static_cast<int>(divide_up(steps, F::kSteps));
  job->tiles = static_cast<int>(divide_up(params.layers[0].outputs, kWarpgroupUnits));
  return choose_squares(job) && attribute(cudaDevAttrComputeCapabilityMajor) == 9 &&
         is_compiled_for(90, cast_votes_by_warpgroups<kPrecision, 1>);
}

template <MatrixPrecision kPrecision>
cudaError_t start(const VoteHeadParams& params,
                  const FeaturesView<const typename Format<kPrecision>::Number>& features,
                  cudaStream_t stream) {
  WarpgroupJob<kPrecision> job{};
  if (!make_job<kPrecision>(params, features, &job)) return cudaErrorNotSupported;
  const auto kernel = kChannelsPerVote * params.votes.num_votes <= kGroup
                          ? cast_votes_by_warpgroups<kPrecision, 1>
                          : cast_votes_by_warpgroups<kPrecision, 2>;
  // A block to a multiprocessor, for as long as there is work.
  const int64_t blocks = attribute(cudaDevAttrMultiProcessorCount);
  if (blocks < 1) return cudaErrorNotSupported;
  return launch_with(shared_bytes(job), kernel,
                     static_cast<unsigned int>(job.works < blocks ? job.works : blocks), kThreads,
                     stream, job);
}

}  // namespace

bool has_warpgroup_vote_head(const MatrixHeadParams& params) {
  return by_precision(params, [&](auto precision, const auto& features) {
    WarpgroupJob<precision.value> job{};
    return make_job<precision.value>(params.head, features, &job);
  });
}

cudaError_t launch_warpgroup_vote_head(const MatrixHeadParams& params, cudaStream_t stream) {
  const VoteHeadParams& head = params.head;
  if (count_voters(head) == 0 || head.votes.num_votes == 0) return cudaSuccess;
  return by_precision(params, [&](auto precision, const auto& features) {
    return start<precision.value>(head, features, stream);
  });
}

}  // namespace dvfast
