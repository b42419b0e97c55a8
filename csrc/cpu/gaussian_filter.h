// The Gaussian of eq. 6, or its derivative along an axis, over rows [begin, end) of a map,
// row = b * height + y. Outside the map is zero. Every output is one fixed sequence of fused
// multiply-adds: columns first, then rows.
#pragma once

#include <cstdint>
#include <vector>

#include "../core/params.h"

namespace dvfast {

template <typename T>
std::vector<T> gaussian_taps(double sigma, int64_t window, Tap tap);

template <typename T>
void gaussian_filter(const GaussianFilterParams<T>& params, int64_t begin, int64_t end);

}  // namespace dvfast
