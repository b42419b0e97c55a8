#include "vote_map.h"

#include "../core/fixed_point.h"
#include "multiversion.h"
#include "sums.h"

namespace dvfast {
namespace {

template <bool kShared, typename T>
DVFAST_INLINE void scatter_vote(const VoteScatterParams<T>& params, int64_t* sums,
                                const Vote<T>& vote, int64_t voter_y, int64_t voter_x) {
  if (params.interpolation == Interpolation::kNearest) {
    const int64_t y = nearest_pixel(voter_y, vote.y);
    const int64_t x = nearest_pixel(voter_x, vote.x);
    if (inside(y, x, params.height, params.width)) {
      add<kShared>(sums + y * params.width + x, to_fixed(vote.confidence));
    }
    return;
  }
  const int64_t top = voter_y + static_cast<int64_t>(vote.y.whole);
  const int64_t left = voter_x + static_cast<int64_t>(vote.x.whole);
  const T share_y[2] = {T(1) - vote.y.fraction, vote.y.fraction};
  const T share_x[2] = {T(1) - vote.x.fraction, vote.x.fraction};
  for (int64_t i = 0; i < 2; ++i) {
    for (int64_t j = 0; j < 2; ++j) {
      if (!inside(top + i, left + j, params.height, params.width)) continue;
      add<kShared>(sums + (top + i) * params.width + left + j,
                   to_fixed(vote.confidence * share_y[i] * share_x[j]));
    }
  }
}

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
          scatter_vote<kShared>(params, sums, vote, voter_y, params.rules.x_axis.voter(x));
        }
        num_void += status == VoteStatus::kVoid;
      }
    }
  }
  return num_void;
}

template <typename T>
DVFAST_INLINE T read_or_zero(const MapView<const T>& map, int64_t b, int64_t y, int64_t x) {
  return map.data != nullptr && inside(y, x, map.height, map.width) ? *map.at(b, y, x) : T(0);
}

struct Place {
  int64_t b, voter_y, voter_x;
};

template <typename T>
struct VoteGradient {
  T confidence, offset_y, offset_x;
};

// A landing moves against its offset: d landing / d offset = -1.
template <typename T>
DVFAST_INLINE VoteGradient<T> gather_nearest(const VoteGatherParams<T>& params, const Vote<T>& vote,
                                             const Place& place) {
  const int64_t y = nearest_pixel(place.voter_y, vote.y);
  const int64_t x = nearest_pixel(place.voter_x, vote.x);
  return {read_or_zero(params.value, place.b, y, x),
          -vote.confidence * read_or_zero(params.slope_y, place.b, y, x),
          -vote.confidence * read_or_zero(params.slope_x, place.b, y, x)};
}

template <typename T>
DVFAST_INLINE VoteGradient<T> gather_bilinear(const VoteGatherParams<T>& params,
                                              const Vote<T>& vote, const Place& place) {
  const int64_t top = place.voter_y + static_cast<int64_t>(vote.y.whole);
  const int64_t left = place.voter_x + static_cast<int64_t>(vote.x.whole);
  const T v00 = read_or_zero(params.value, place.b, top, left);
  const T v01 = read_or_zero(params.value, place.b, top, left + 1);
  const T v10 = read_or_zero(params.value, place.b, top + 1, left);
  const T v11 = read_or_zero(params.value, place.b, top + 1, left + 1);
  const T fy = vote.y.fraction;
  const T fx = vote.x.fraction;
  const T upper = v00 + fx * (v01 - v00);
  const T lower = v10 + fx * (v11 - v10);
  const T across = (v01 - v00) + fy * ((v11 - v10) - (v01 - v00));
  return {upper + fy * (lower - upper), -vote.confidence * (lower - upper),
          -vote.confidence * across};
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
          gradient = params.interpolation == Interpolation::kNearest
                         ? gather_nearest(params, vote, place)
                         : gather_bilinear(params, vote, place);
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
