// A vote as every density operator reads it, and whether it counts.
#pragma once

#include "hybrid.h"
#include "landing.h"

namespace dvfast {

enum class Interpolation : int64_t { kNearest = 0, kBilinear = 1 };

// What all density operators ask of a vote besides its numbers.
template <typename T>
struct VotingRules {
  GridAxis<T> y_axis, x_axis;  // where the voters stand
  T max_offset_squared;        // longer votes do not count; infinity for no limit
  T confidence_limit;          // see core/fixed_point.h
};

enum class VoteStatus {
  kCounts,
  kTooLong,  // longer than max_offset, or outside every image
  kVoid,     // NaN, infinite, or a confidence that no sum could hold
};

template <typename T>
struct Vote {
  T confidence;
  Displacement<T> y, x;
};

template <typename T>
DVFAST_INLINE VoteStatus read_vote(const T* channels, int64_t channel_stride,
                                   const VotingRules<T>& rules, Vote<T>* vote) {
  const T w = channels[0];
  const T dy = channels[channel_stride];
  const T dx = channels[2 * channel_stride];
  if (!(std::abs(w) <= rules.confidence_limit) || !is_finite(dy) || !is_finite(dx)) {
    return VoteStatus::kVoid;
  }
  vote->confidence = w;
  vote->y = displacement(rules.y_axis.fraction, dy);
  vote->x = displacement(rules.x_axis.fraction, dx);
  const T length_squared = squared_length(dy, dx);
  const bool counts =
      length_squared <= rules.max_offset_squared && within_reach(vote->y) && within_reach(vote->x);
  return counts ? VoteStatus::kCounts : VoteStatus::kTooLong;
}

// The pixel nearest to where the vote lands, along one axis.
template <typename T>
DVFAST_INLINE int64_t nearest_pixel(int64_t voter, const Displacement<T>& landing) {
  return voter + static_cast<int64_t>(landing.whole + nearest_step(landing));
}

}  // namespace dvfast
