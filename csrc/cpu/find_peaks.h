// Local maxima of a density map. A peak is positive, reaches the threshold, and has nothing higher
// within min_distance (a square window). Pixels of equal value within min_distance of one another
// form a plateau: it counts once, at its first pixel in raster order, if none of its pixels has
// anything higher around it. NaN is never a peak and hides none.
#pragma once

#include <cstdint>
#include <vector>

#include "../core/params.h"

namespace dvfast {

struct Peak {
  int64_t y, x;
  bool tied;  // shares its value with another pixel of its window
};

// The greatest value of rows [begin, end), at least 0.
template <typename T>
T highest_value(const MapView<const T>& density, int64_t begin, int64_t end);

// The peaks of rows [begin, end) in raster order, plateaus not yet told apart.
template <typename T>
std::vector<Peak> find_peaks(const FindPeaksParams<T>& params, int64_t begin, int64_t end);

// Keeps one peak of every plateau that is one; `peaks` are those of the whole map in raster order.
template <typename T>
void merge_plateaus(const FindPeaksParams<T>& params, std::vector<Peak>* peaks);

}  // namespace dvfast
