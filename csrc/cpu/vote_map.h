// Section 2.3, first half: votes are added, as fixed-point integers, to the pixels they land on;
// and the way back, which reads a map where the votes landed. Both work over rows [begin, end) of
// the voters' grid, row = b * height + y.
#pragma once

#include "../core/params.h"

namespace dvfast {

// Returns how many votes were void.
template <typename T>
int64_t scatter_votes(const VoteScatterParams<T>& params, int64_t begin, int64_t end);

// Sums [begin, end) as real numbers.
template <typename T>
void sums_to_map(const int64_t* sums, T* map, int64_t begin, int64_t end);

template <typename T>
void gather_votes(const VoteGatherParams<T>& params, int64_t begin, int64_t end);

}  // namespace dvfast
