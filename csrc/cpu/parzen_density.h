// Eq. 6 and 7: a Gaussian at every landing point, not rounded, and its gradient. Over rows
// [begin, end) of the voters' grid, row = b * height + y.
#pragma once

#include "../core/params.h"

namespace dvfast {

// Returns how many votes were void.
template <typename T>
int64_t parzen_scatter(const ParzenScatterParams<T>& params, int64_t begin, int64_t end);

template <typename T>
void parzen_gather(const ParzenGatherParams<T>& params, int64_t begin, int64_t end);

}  // namespace dvfast
