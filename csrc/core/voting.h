// What a vote adds to a map, and what it gets back from one: the two halves of vote_map,
// vote_density and their gradients, for one vote.
#pragma once

#include "fixed_point.h"
#include "params.h"

namespace dvfast {

DVFAST_INLINE bool inside(int64_t y, int64_t x, int64_t height, int64_t width) {
  return static_cast<uint64_t>(y) < static_cast<uint64_t>(height) &&
         static_cast<uint64_t>(x) < static_cast<uint64_t>(width);
}

// Section 2.3: add(address, value) is how this device adds to a sum that others may add to.
template <typename T, typename Add>
DVFAST_INLINE void scatter_vote(const VoteScatterParams<T>& params, int64_t* sums,
                                const Vote<T>& vote, int64_t voter_y, int64_t voter_x,
                                const Add& add) {
  if (params.interpolation == Interpolation::kNearest) {
    const int64_t y = nearest_pixel(voter_y, vote.y);
    const int64_t x = nearest_pixel(voter_x, vote.x);
    if (inside(y, x, params.height, params.width)) {
      add(sums + y * params.width + x, to_fixed(vote.confidence));
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
      add(sums + (top + i) * params.width + left + j,
          to_fixed(vote.confidence * share_y[i] * share_x[j]));
    }
  }
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

template <typename T>
DVFAST_INLINE VoteGradient<T> gather_vote(const VoteGatherParams<T>& params, const Vote<T>& vote,
                                          const Place& place) {
  return params.interpolation == Interpolation::kNearest ? gather_nearest(params, vote, place)
                                                         : gather_bilinear(params, vote, place);
}

}  // namespace dvfast
