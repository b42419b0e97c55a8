// Eq. 1, the confidence that training asks of a vote of length |v|.
#pragma once

#include <cmath>

#include "arithmetic.h"

namespace dvfast {

template <typename T>
struct VotingRange {
  T r1;    // full confidence up to here
  T r2;    // none beyond
  T beta;  // decay in between
};

template <typename T>
DVFAST_INLINE T target_confidence(T length, const VotingRange<T>& range) {
  if (length <= range.r1) return T(1);
  return length <= range.r2 ? T(1) / (T(1) + range.beta * length) : T(0);
}

}  // namespace dvfast
