// Eq. 6 and 7: a Gaussian at every landing point, not rounded, and its gradient. Over rows
// [begin, end) of the voters' grid, row = b * height + y.
#pragma once

#include "../core/gaussian.h"
#include "../core/views.h"
#include "../core/vote.h"

namespace dvfast {

enum class VoterArea : int64_t { kBox = 0, kDisc = 1 };

template <typename T>
struct ParzenParams {
  VotesView<const T> votes;
  VotingRules<T> rules;
  Gaussian<T> gaussian;
  int64_t window;
  VoterArea area;  // B(x): the voters that may vote for a pixel
  T radius;        // of B(x); infinity: everyone
  int64_t height, width;
};

template <typename T>
struct ParzenScatterParams : ParzenParams<T> {
  int64_t* sums;  // [batch, height, width], in units of 2^-30
  bool shared;    // other threads add to the same sums: add atomically
};

// Returns how many votes were void.
template <typename T>
int64_t parzen_scatter(const ParzenScatterParams<T>& params, int64_t begin, int64_t end);

template <typename T>
struct ParzenGatherParams : ParzenParams<T> {
  MapView<const T> grad;
  VotesView<T> grad_votes;
};

template <typename T>
void parzen_gather(const ParzenGatherParams<T>& params, int64_t begin, int64_t end);

}  // namespace dvfast
