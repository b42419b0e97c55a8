// Peaks: the checks that every device makes.
#pragma once

#include <algorithm>

#include "tensors.h"

namespace dvfast {

struct PeakRules {
  double threshold;
  bool relative;
  int64_t min_distance;
};

inline void check_peak_rules(const PeakRules& rules) {
  DVFAST_CHECK(rules.min_distance >= 1, "min_distance must be at least 1, got ",
               rules.min_distance);
  DVFAST_CHECK(rules.threshold == rules.threshold, "threshold must be a number, got NaN");
}

inline void check_find_peaks(const Tensor& density, const PeakRules& rules) {
  DVFAST_CHECK(density.dim() == 2, "density must be [H, W], got ", describe(density));
  check_peak_rules(rules);
}

inline void check_capacity(int64_t capacity) {
  DVFAST_CHECK(capacity >= 0, "capacity must not be negative, got ", capacity);
}

// One image, [H, W].
template <typename T>
MapView<const T> image_view(const Tensor& density) {
  return {static_cast<const T*>(density.data_ptr()),
          1,
          density.size(0),
          density.size(1),
          0,
          density.stride(0),
          density.stride(1)};
}

// A window need not reach beyond the map, however large it was asked to be.
template <typename T>
int64_t useful_distance(const MapView<const T>& density, int64_t min_distance) {
  return std::min(min_distance, std::max(density.height, density.width));
}

}  // namespace dvfast
