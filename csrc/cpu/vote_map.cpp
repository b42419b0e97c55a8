#include "vote_map.h"

#include "../core/voting.h"
#include "multiversion.h"
#include "sums.h"

namespace dvfast {
namespace {

template <bool kShared, typename T>
DVFAST_INLINE int64_t scatter_rows(const VoteScatterParams<T>& params, int64_t begin, int64_t end) {
  const auto& votes = params.votes;
  int64_t num_void = 0;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t b = row / votes.height;
    const int64_t i = row % votes.height;
    int64_t* sums = params.sums + b * params.height * params.width;
    const int64_t voter_y = params.rules.y_axis.voter(i);
    for (int64_t j = 0; j < votes.num_votes; ++j) {
      const T* channels = votes.at(b, j, i, 0);
      for (int64_t x = 0; x < votes.width; ++x, channels += votes.x_stride) {
        Vote<T> vote;
        const VoteStatus status = read_vote(channels, votes.channel_stride, params.rules, &vote);
        if (status == VoteStatus::kCounts) {
          scatter_vote(params, sums, vote, voter_y, params.rules.x_axis.voter(x), Add<kShared>{});
        }
        num_void += status == VoteStatus::kVoid;
      }
    }
  }
  return num_void;
}

}  // namespace

template <typename T>
DVFAST_MULTIVERSION int64_t scatter_votes(const VoteScatterParams<T>& params, int64_t begin,
                                          int64_t end) {
  return params.shared ? scatter_rows<true>(params, begin, end)
                       : scatter_rows<false>(params, begin, end);
}

template <typename T>
DVFAST_MULTIVERSION void sums_to_map(const int64_t* __restrict sums, T* __restrict map,
                                     int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) map[i] = from_fixed<T>(sums[i]);
}

template <typename T>
DVFAST_MULTIVERSION void gather_votes(const VoteGatherParams<T>& params, int64_t begin,
                                      int64_t end) {
  const auto& votes = params.votes;
  const auto& out = params.grad_votes;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t b = row / votes.height;
    const int64_t i = row % votes.height;
    for (int64_t j = 0; j < votes.num_votes; ++j) {
      const T* channels = votes.at(b, j, i, 0);
      T* result = out.at(b, j, i, 0);
      for (int64_t x = 0; x < votes.width;
           ++x, channels += votes.x_stride, result += out.x_stride) {
        Vote<T> vote;
        VoteGradient<T> gradient{};
        if (read_vote(channels, votes.channel_stride, params.rules, &vote) == VoteStatus::kCounts) {
          const Place place = {b, params.rules.y_axis.voter(i), params.rules.x_axis.voter(x)};
          gradient = gather_vote(params, vote, place);
        }
        result[0] = gradient.confidence;
        result[out.channel_stride] = gradient.offset_y;
        result[2 * out.channel_stride] = gradient.offset_x;
      }
    }
  }
}

#define DVFAST_INSTANTIATE(T)                                                               \
  template int64_t scatter_votes<T>(const VoteScatterParams<T>&, int64_t, int64_t);         \
  template void sums_to_map<T>(const int64_t* __restrict, T* __restrict, int64_t, int64_t); \
  template void gather_votes<T>(const VoteGatherParams<T>&, int64_t, int64_t);
DVFAST_INSTANTIATE(float)
DVFAST_INSTANTIATE(double)
#undef DVFAST_INSTANTIATE

}  // namespace dvfast
