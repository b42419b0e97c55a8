// Section 2.3, first half: votes are added, as fixed-point integers, to the pixels they land on;
// and the way back, which reads a map where the votes landed. Both work over rows [begin, end) of
// the voters' grid, row = b * height + y.
#pragma once

#include "../core/views.h"
#include "../core/vote.h"

namespace dvfast {

template <typename T>
struct VoteScatterParams {
  VotesView<const T> votes;
  VotingRules<T> rules;
  Interpolation interpolation;
  int64_t height, width;
  int64_t* sums;  // [batch, height, width], in units of 2^-30
  bool shared;    // other threads add to the same sums: add atomically
};

// Returns how many votes were void.
template <typename T>
int64_t scatter_votes(const VoteScatterParams<T>& params, int64_t begin, int64_t end);

// Sums [begin, end) as real numbers.
template <typename T>
void sums_to_map(const int64_t* sums, T* map, int64_t begin, int64_t end);

template <typename T>
struct VoteGatherParams {
  VotesView<const T> votes;
  VotesView<T> grad_votes;
  VotingRules<T> rules;
  Interpolation interpolation;
  MapView<const T> value;             // d loss / d confidence where a vote lands
  MapView<const T> slope_y, slope_x;  // its derivative along y and x; data == nullptr: zero.
                                      // Bilinear votes take it from `value` itself.
};

template <typename T>
void gather_votes(const VoteGatherParams<T>& params, int64_t begin, int64_t end);

}  // namespace dvfast
