#include "../core/parzen.h"
#include "parzen_density.h"
#include "voters.h"

namespace dvfast {
namespace {

struct Range {
  int64_t first, last;  // inclusive
};

template <typename T>
__device__ __forceinline__ Range window_around(const ParzenAxis<T>& axis, int64_t window,
                                               int64_t size) {
  const int64_t first = axis.nearest - window / 2;
  const int64_t last = axis.nearest + window / 2;
  return {first > 0 ? first : 0, last < size - 1 ? last : size - 1};
}

// One thread per vote and row of its window.
template <typename T>
__global__ void __launch_bounds__(kThreadsPerBlock)
    scatter(ParzenScatterParams<T> params, int64_t count, int64_t* num_void) {
  const auto& votes = params.votes;
  const auto& rules = params.rules;
  for (int64_t i = first_item(); i < count; i += item_stride()) {
    const int64_t row = i % params.window;
    const VoteIndex at = vote_index(votes, i / params.window);
    Vote<T> vote;
    const VoteStatus status =
        read_vote(votes.at(at.b, at.j, at.y, at.x), votes.channel_stride, rules, &vote);
    if (status == VoteStatus::kVoid && row == 0) AtomicAdd{}(num_void + at.b, 1);
    if (status != VoteStatus::kCounts) continue;
    const auto axis_y = parzen_axis(rules.y_axis, rules.y_axis.voter(at.y), vote.y);
    const auto axis_x = parzen_axis(rules.x_axis, rules.x_axis.voter(at.x), vote.x);
    const int64_t y = axis_y.nearest - params.window / 2 + row;
    if (y < 0 || y >= params.height) continue;
    const T height = vote.confidence * params.gaussian(axis_y.to_centre(y));
    const Range range = window_around(axis_x, params.window, params.width);
    int64_t* sums = params.sums + (at.b * params.height + y) * params.width;
    for (int64_t x = range.first; x <= range.last; ++x) {
      if (!may_vote(params, axis_y.to_voter(y), axis_x.to_voter(x))) continue;
      AtomicAdd{}(sums + x, to_fixed(height * params.gaussian(axis_x.to_centre(x))));
    }
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreadsPerBlock)
    gather(ParzenGatherParams<T> params, int64_t count) {
  const auto& votes = params.votes;
  const auto& rules = params.rules;
  for (int64_t i = first_item(); i < count; i += item_stride()) {
    const VoteIndex at = vote_index(votes, i);
    T confidence = 0, offset_y = 0, offset_x = 0;
    Vote<T> vote;
    if (read_vote(votes.at(at.b, at.j, at.y, at.x), votes.channel_stride, rules, &vote) ==
        VoteStatus::kCounts) {
      const auto axis_y = parzen_axis(rules.y_axis, rules.y_axis.voter(at.y), vote.y);
      const auto axis_x = parzen_axis(rules.x_axis, rules.x_axis.voter(at.x), vote.x);
      const Range rows = window_around(axis_y, params.window, params.height);
      const Range columns = window_around(axis_x, params.window, params.width);
      for (int64_t y = rows.first; y <= rows.last; ++y) {
        const T value_y = params.gaussian(axis_y.to_centre(y));
        const T slope_y = params.gaussian.derivative(axis_y.to_centre(y));
        for (int64_t x = columns.first; x <= columns.last; ++x) {
          if (!may_vote(params, axis_y.to_voter(y), axis_x.to_voter(x))) continue;
          const T value_x = params.gaussian(axis_x.to_centre(x));
          const T slope_x = params.gaussian.derivative(axis_x.to_centre(x));
          const T grad = *params.grad.at(at.b, y, x);
          confidence = fused_multiply_add(grad, value_y * value_x, confidence);
          offset_y = fused_multiply_add(grad, slope_y * value_x, offset_y);
          offset_x = fused_multiply_add(grad, value_y * slope_x, offset_x);
        }
      }
      // A landing moves against its offset.
      offset_y *= -vote.confidence;
      offset_x *= -vote.confidence;
    }
    T* result = params.grad_votes.at(at.b, at.j, at.y, at.x);
    result[0] = confidence;
    result[params.grad_votes.channel_stride] = offset_y;
    result[2 * params.grad_votes.channel_stride] = offset_x;
  }
}

}  // namespace

template <typename T>
cudaError_t launch_parzen_scatter(const ParzenScatterParams<T>& params, int64_t* num_void,
                                  cudaStream_t stream) {
  const int64_t count = count_votes(params.votes) * params.window;
  return launch(scatter<T>, blocks_for(count, kThreadsPerBlock), kThreadsPerBlock, 0, stream,
                params, count, num_void);
}

template <typename T>
cudaError_t launch_parzen_gather(const ParzenGatherParams<T>& params, cudaStream_t stream) {
  const int64_t count = count_votes(params.votes);
  return launch(gather<T>, blocks_for(count, kThreadsPerBlock), kThreadsPerBlock, 0, stream, params,
                count);
}

#define DVFAST_INSTANTIATE(T)                                                            \
  template cudaError_t launch_parzen_scatter<T>(const ParzenScatterParams<T>&, int64_t*, \
                                                cudaStream_t);                           \
  template cudaError_t launch_parzen_gather<T>(const ParzenGatherParams<T>&, cudaStream_t);
DVFAST_INSTANTIATE(float)
DVFAST_INSTANTIATE(double)
#undef DVFAST_INSTANTIATE

}  // namespace dvfast
