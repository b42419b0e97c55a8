// Eq. 6 and 7 around one vote: how far a pixel is from where the vote landed, and from the voter.
#pragma once

#include "fixed_point.h"
#include "params.h"

namespace dvfast {

// Distances along one axis. As in landing.h, whole pixels stay integers.
template <typename T>
struct ParzenAxis {
  int64_t nearest;     // pixel to the centre of the Gaussian
  T from_centre;       // of that pixel
  T voter_to_nearest;  // voter minus that pixel

  DVFAST_INLINE T to_centre(int64_t pixel) const {
    return static_cast<T>(pixel - nearest) + from_centre;
  }
  DVFAST_INLINE T to_voter(int64_t pixel) const {
    return std::abs(voter_to_nearest - static_cast<T>(pixel - nearest));
  }
};

template <typename T>
DVFAST_INLINE ParzenAxis<T> parzen_axis(const GridAxis<T>& axis, int64_t voter,
                                        const Displacement<T>& landing) {
  const T step = nearest_step(landing);
  return {nearest_pixel(voter, landing), step - landing.fraction,
          axis.fraction - (landing.whole + step)};
}

// Whether a voter this far away along y and x lies within B(x).
template <typename T>
DVFAST_INLINE bool may_vote(const ParzenParams<T>& params, T dy, T dx) {
  if (params.area == VoterArea::kBox) return dy <= params.radius && dx <= params.radius;
  return squared_length(dy, dx) <= params.radius * params.radius;
}

}  // namespace dvfast
