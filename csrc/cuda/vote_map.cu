#include "../core/voting.h"
#include "vote_map.h"
#include "voters.h"

namespace dvfast {
namespace {

template <typename T>
__global__ void __launch_bounds__(kThreadsPerBlock)
    scatter(VoteScatterParams<T> params, int64_t count, int64_t* num_void) {
  const auto& votes = params.votes;
  const auto& rules = params.rules;
  for (int64_t i = first_item(); i < count; i += item_stride()) {
    const VoteIndex at = vote_index(votes, i);
    Vote<T> vote;
    const VoteStatus status =
        read_vote(votes.at(at.b, at.j, at.y, at.x), votes.channel_stride, rules, &vote);
    if (status == VoteStatus::kCounts) {
      scatter_vote(params, params.sums + at.b * params.height * params.width, vote,
                   rules.y_axis.voter(at.y), rules.x_axis.voter(at.x), AtomicAdd{});
    } else if (status == VoteStatus::kVoid) {
      AtomicAdd{}(num_void + at.b, 1);
    }
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreadsPerBlock)
    to_map(const int64_t* sums, T* map, int64_t count) {
  for (int64_t i = first_item(); i < count; i += item_stride()) map[i] = from_fixed<T>(sums[i]);
}

template <typename T>
__global__ void __launch_bounds__(kThreadsPerBlock)
    gather(VoteGatherParams<T> params, int64_t count) {
  const auto& votes = params.votes;
  const auto& rules = params.rules;
  for (int64_t i = first_item(); i < count; i += item_stride()) {
    const VoteIndex at = vote_index(votes, i);
    Vote<T> vote;
    VoteGradient<T> gradient{};
    if (read_vote(votes.at(at.b, at.j, at.y, at.x), votes.channel_stride, rules, &vote) ==
        VoteStatus::kCounts) {
      gradient =
          gather_vote(params, vote, {at.b, rules.y_axis.voter(at.y), rules.x_axis.voter(at.x)});
    }
    T* result = params.grad_votes.at(at.b, at.j, at.y, at.x);
    result[0] = gradient.confidence;
    result[params.grad_votes.channel_stride] = gradient.offset_y;
    result[2 * params.grad_votes.channel_stride] = gradient.offset_x;
  }
}

}  // namespace

template <typename T>
cudaError_t launch_scatter_votes(const VoteScatterParams<T>& params, int64_t* num_void,
                                 cudaStream_t stream) {
  const int64_t count = count_votes(params.votes);
  return launch(scatter<T>, blocks_for(count, kThreadsPerBlock), kThreadsPerBlock, 0, stream,
                params, count, num_void);
}

template <typename T>
cudaError_t launch_sums_to_map(const int64_t* sums, T* map, int64_t count, cudaStream_t stream) {
  return launch(to_map<T>, blocks_for(count, kThreadsPerBlock), kThreadsPerBlock, 0, stream, sums,
                map, count);
}

template <typename T>
cudaError_t launch_gather_votes(const VoteGatherParams<T>& params, cudaStream_t stream) {
  const int64_t count = count_votes(params.votes);
  return launch(gather<T>, blocks_for(count, kThreadsPerBlock), kThreadsPerBlock, 0, stream, params,
                count);
}

#define DVFAST_INSTANTIATE(T)                                                            \
  template cudaError_t launch_scatter_votes<T>(const VoteScatterParams<T>&, int64_t*,    \
                                               cudaStream_t);                            \
  template cudaError_t launch_sums_to_map<T>(const int64_t*, T*, int64_t, cudaStream_t); \
  template cudaError_t launch_gather_votes<T>(const VoteGatherParams<T>&, cudaStream_t);
DVFAST_INSTANTIATE(float)
DVFAST_INSTANTIATE(double)
#undef DVFAST_INSTANTIATE

}  // namespace dvfast
