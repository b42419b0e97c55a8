#include "launch.h"
#include "vote_targets.h"

namespace dvfast {
namespace {

// Up to this many votes the nearest nuclei found so far stay in registers.
constexpr int kMostInRegisters = 8;

template <typename T>
struct Candidate {
  T distance;
  int64_t index;

  // Equal distances go by the index.
  __device__ __forceinline__ bool before(const Candidate& other) const {
    return distance < other.distance || (distance == other.distance && index < other.index);
  }
};

template <typename T>
__device__ __forceinline__ Candidate<T> nobody() {
  return {static_cast<T>(INFINITY), INT64_MAX};
}

// Squared distance to a nucleus; a point that is NaN or infinite is nobody.
template <typename T>
__device__ __forceinline__ Candidate<T> candidate(const VoteTargetsDeviceParams<T>& params,
                                                  int64_t index, T y, T x) {
  // All threads read the same point: one load for a warp.
  const T* point = params.points + index * params.point_stride;
  const T point_y = __ldg(point);
  const T point_x = __ldg(point + params.axis_stride);
  if (!is_finite(point_y) || !is_finite(point_x)) return nobody<T>();
  return {squared_length(y - point_y, x - point_x), index};
}

template <typename T>
__device__ __forceinline__ void write_vote(const VoteTargetsDeviceParams<T>& params, T* channels,
                                           const Candidate<T>& nearest, T y, T x) {
  const int64_t stride = params.target.channel_stride;
  const bool exists = nearest.index != INT64_MAX;
  const T* point = params.points + (exists ? nearest.index : 0) * params.point_stride;
  channels[0] =
      exists ? target_confidence(static_cast<T>(sqrt(nearest.distance)), params.range) : T(0);
  channels[stride] = exists ? y - point[0] : T(0);
  channels[2 * stride] = exists ? x - point[params.axis_stride] : T(0);
}

// The nuclei of image b, first and past the last; never beyond the points there are.
template <typename T>
__device__ __forceinline__ int64_t split(const VoteTargetsDeviceParams<T>& params, int64_t b) {
  const int64_t at = params.splits[b];
  return at < 0 ? 0 : (at < params.num_points ? at : params.num_points);
}

struct Pixel {
  int64_t b, i, j;
};

template <typename T>
__device__ __forceinline__ Pixel pixel_of(const VotesView<T>& target, int64_t item) {
  const int64_t row = item / target.width;
  return {row / target.height, row % target.height, item % target.width};
}

template <int kVotes, typename T>
__global__ void __launch_bounds__(kThreadsPerBlock)
    targets_in_registers(VoteTargetsDeviceParams<T> params, int64_t pixels) {
  const auto& target = params.target;
  for (int64_t item = first_item(); item < pixels; item += item_stride()) {
    const Pixel pixel = pixel_of(target, item);
    const int64_t first = split(params, pixel.b);
    const int64_t past_last = split(params, pixel.b + 1);
    const T y = static_cast<T>(params.y_axis.voter(pixel.i)) + params.y_axis.fraction;
    const T x = static_cast<T>(params.x_axis.voter(pixel.j)) + params.x_axis.fraction;
    Candidate<T> nearest[kVotes];
#pragma unroll
    for (int k = 0; k < kVotes; ++k) nearest[k] = nobody<T>();
    for (int64_t n = first; n < past_last; ++n) {
      Candidate<T> next = candidate(params, n, y, x);
#pragma unroll
      for (int k = 0; k < kVotes; ++k) {
        if (next.before(nearest[k])) {
          const Candidate<T> pushed = nearest[k];
          nearest[k] = next;
          next = pushed;
        }
      }
    }
#pragma unroll
    for (int k = 0; k < kVotes; ++k) {
      write_vote(params, target.at(pixel.b, k, pixel.i, pixel.j), nearest[k], y, x);
    }
  }
}

// Any number of votes: one pass over the nuclei for each, from the last one found onwards.
template <typename T>
__global__ void __launch_bounds__(kThreadsPerBlock)
    targets_by_passes(VoteTargetsDeviceParams<T> params, int64_t pixels) {
  const auto& target = params.target;
  for (int64_t item = first_item(); item < pixels; item += item_stride()) {
    const Pixel pixel = pixel_of(target, item);
    const int64_t first = split(params, pixel.b);
    const int64_t past_last = split(params, pixel.b + 1);
    const T y = static_cast<T>(params.y_axis.voter(pixel.i)) + params.y_axis.fraction;
    const T x = static_cast<T>(params.x_axis.voter(pixel.j)) + params.x_axis.fraction;
    Candidate<T> last = {T(-1), -1};
    for (int64_t k = 0; k < target.num_votes; ++k) {
      Candidate<T> nearest = nobody<T>();
      for (int64_t n = first; n < past_last; ++n) {
        const Candidate<T> next = candidate(params, n, y, x);
        if (last.before(next) && next.before(nearest)) nearest = next;
      }
      write_vote(params, target.at(pixel.b, k, pixel.i, pixel.j), nearest, y, x);
      last = nearest;
    }
  }
}

template <int kVotes, typename T>
cudaError_t launch_with(const VoteTargetsDeviceParams<T>& params, int64_t pixels,
                        cudaStream_t stream) {
  if (kVotes < params.target.num_votes) {
    constexpr int kMore = kVotes < kMostInRegisters ? kVotes + 1 : kVotes;
    if (kMore > kVotes) return launch_with<kMore>(params, pixels, stream);
    return launch(targets_by_passes<T>, blocks_for(pixels, kThreadsPerBlock), kThreadsPerBlock, 0,
                  stream, params, pixels);
  }
  return launch(targets_in_registers<kVotes, T>, blocks_for(pixels, kThreadsPerBlock),
                kThreadsPerBlock, 0, stream, params, pixels);
}

}  // namespace

template <typename T>
cudaError_t launch_vote_targets(const VoteTargetsDeviceParams<T>& params, cudaStream_t stream) {
  const auto& target = params.target;
  if (target.num_votes == 0) return cudaSuccess;
  return launch_with<1>(params, target.batch * target.height * target.width, stream);
}

#define DVFAST_INSTANTIATE(T) \
  template cudaError_t launch_vote_targets<T>(const VoteTargetsDeviceParams<T>&, cudaStream_t);
DVFAST_INSTANTIATE(float)
DVFAST_INSTANTIATE(double)
#undef DVFAST_INSTANTIATE

}  // namespace dvfast
