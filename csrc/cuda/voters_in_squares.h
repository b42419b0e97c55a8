// The squares of voters that vote_head_warpgroups.cu works on, and how many a device makes of an
// image.
#pragma once

#include "matrix_tile.h"
#include "vote_grid.h"
#include "vote_head_warpgroups.h"
#include "warpgroup.h"

namespace dvfast {

constexpr int kSquare = 8;
constexpr int kWarpgroups = 2;
constexpr int kThreads = (kWarpgroups + 1) * kWarpgroup;
constexpr int kRing = 4;
constexpr int kMostSharedBytes = 227 * 1024;
static_assert(kSquare * kSquare == kRowsOfWarpgroup, "");
static_assert(kWarpgroupUnits == kColumnsOfWarpgroup, "");

template <MatrixPrecision kPrecision>
struct WarpgroupFormat : Format<kPrecision> {
  using typename Format<kPrecision>::Number;
  using Format<kPrecision>::kSplit;
  static constexpr int kParts = kSplit ? 2 : 1;
  static constexpr int kSquares = kSplit ? 1 : 2;  // of a warpgroup: what registers hold
  static constexpr int kNumbers = kPieceBytes / sizeof(Number);
  static constexpr int kSteps = steps_of_chunk(kPrecision);
  static constexpr int kPartBytes = kSteps * kStepBytes * kWarpgroupUnits;
  static constexpr int kChunkBytes = kParts * kPartBytes;
};

// One axis of the squares.
struct Squares {
  int64_t step;    // from voter to voter
  int64_t phases;  // squares that lie in one another
  int64_t count;   // of squares along the axis, in each phase
  int side;        // of the map under a square
  int tap;         // from tap to tap of that map
};

template <MatrixPrecision kPrecision>
struct WarpgroupJob {
  VoteHeadParams params;
  FeaturesView<const typename Format<kPrecision>::Number> features;
  MatrixConvolution conv;
  Squares y, x;
  int pieces;         // of a pixel
  int plane_bytes;    // one piece of all pixels, and what keeps planes in different banks
  int part_bytes;     // all planes
  int chunks, tiles;  // of the depth, of the hidden units
  int64_t works;
};

struct Barriers {
  SharedBarrier full[kRing], empty[kRing];
};

// Its first voter, beyond all images for what is no square any more.
template <MatrixPrecision kPrecision>
__device__ __forceinline__ Voter square_at(const WarpgroupJob<kPrecision>& job, int64_t n) {
  const auto voter_of = [&n](const Squares& squares) {
    const int64_t square = n % squares.count;
    n /= squares.count;
    const int64_t phase = n % squares.phases;
    n /= squares.phases;
    return phase + square * kSquare * squares.step;
  };
  const int64_t x = voter_of(job.x);
  const int64_t y = voter_of(job.y);
  return {n, y, x};
}

template <MatrixPrecision kPrecision>
size_t shared_bytes(const WarpgroupJob<kPrecision>& job) {
  using F = WarpgroupFormat<kPrecision>;
  return size_t{kRing} * F::kChunkBytes + sizeof(Barriers) +
         size_t{kWarpgroups} * F::kSquares * F::kParts * static_cast<size_t>(job.part_bytes);
}

// Of the current device.
inline int64_t attribute(cudaDeviceAttr which) {
  int device = 0, value = 0;
  const bool known = cudaGetDevice(&device) == cudaSuccess &&
                     cudaDeviceGetAttribute(&value, which, device) == cudaSuccess;
  return known ? value : 0;
}

inline Squares squares_of(int64_t voters, int64_t step, int64_t dilation, int64_t kernel_size) {
  const int64_t tap = dilation / step;
  return {step, step, divide_up(divide_up(voters, step), kSquare),
          static_cast<int>(kSquare + tap * (kernel_size - 1)), static_cast<int>(tap)};
}

// Squares of voters that are next to one another, or a dilation apart: whichever a device is done
// with sooner, since borders of an image leave squares half empty; then what takes less memory.
// False if neither has room.
template <MatrixPrecision kPrecision>
bool choose_squares(WarpgroupJob<kPrecision>* job) {
  const VoteHeadParams& params = job->params;
  const int64_t blocks = attribute(cudaDevAttrMultiProcessorCount);
  const int64_t steps[2] = {params.dilation, 1};
  int64_t least = -1;
  for (const int64_t y_step : steps) {
    for (const int64_t x_step : steps) {
      WarpgroupJob<kPrecision> other = *job;
      other.y = squares_of(params.votes.height, y_step, params.dilation, params.kernel_size);
      other.x = squares_of(params.votes.width, x_step, params.dilation, params.kernel_size);
      const int64_t plane = int64_t{other.y.side} * other.x.side * kPieceBytes + kStepBytes;
      if (plane * other.pieces > kMostSharedBytes) continue;
      other.plane_bytes = static_cast<int>(plane);
      other.part_bytes = other.pieces * other.plane_bytes;
      if (shared_bytes(other) > kMostSharedBytes) continue;
      const int64_t squares =
          params.votes.batch * other.y.phases * other.y.count * other.x.phases * other.x.count;
      other.works = divide_up(squares, kWarpgroups * WarpgroupFormat<kPrecision>::kSquares);
      const int64_t rounds = divide_up(other.works, blocks > 0 ? blocks : 1);
      if (least >= 0 && rounds >= least) continue;
      least = rounds;
      *job = other;
    }
  }
  return least >= 0;
}

}  // namespace dvfast
