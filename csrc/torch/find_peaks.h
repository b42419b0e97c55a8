// Peaks: the checks that every device makes.
#pragma once

#include <algorithm>

#include "tensors.h"

namespace dvfast {

inline void check_find_peaks(const Tensor& density, double threshold, int64_t min_distance) {
  STD_TORCH_CHECK(density.dim() == 2, "density must be [H, W], got ", describe(density));
  STD_TORCH_CHECK(min_distance >= 1, "min_distance must be at least 1, got ", min_distance);
  STD_TORCH_CHECK(threshold == threshold, "threshold must be a number, got NaN");
}

inline void check_capacity(int64_t capacity) {
  STD_TORCH_CHECK(capacity >= 0, "capacity must not be negative, got ", capacity);
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
inline int64_t useful_distance(const Tensor& density, int64_t min_distance) {
  return std::min(min_distance, std::max(density.size(0), density.size(1)));
}

}  // namespace dvfast
