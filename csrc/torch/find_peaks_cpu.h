// Peaks on the CPU: who searches which rows.
#pragma once

#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

#include "../cpu/find_peaks.h"
#include "find_peaks.h"
#include "parallel.h"

namespace dvfast {

template <typename T>
std::vector<Peak> peaks_of(const MapView<const T>& density, const PeakRules& rules) {
  constexpr int64_t kRowsPerThread = 32;
  const int64_t height = density.height;
  if (density.width == 0) return {};
  FindPeaksParams<T> params{};
  params.density = density;
  params.min_distance = useful_distance(density, rules.min_distance);
  params.lowest = rules.threshold;
  std::mutex mutex;
  if (rules.relative) {
    T highest = 0;
    in_parallel(0, height, kRowsPerThread, [&](int64_t begin, int64_t end) {
      const T mine = highest_value<T>(params.density, begin, end);
      const std::lock_guard<std::mutex> lock(mutex);
      highest = std::max(highest, mine);
    });
    // Nothing of infinity is still nothing.
    params.lowest = rules.threshold == 0 ? 0 : rules.threshold * static_cast<double>(highest);
  }
  // Bands of rows may finish in any order; their peaks are put back into raster order.
  std::vector<std::pair<int64_t, std::vector<Peak>>> bands;
  in_parallel(0, height, kRowsPerThread, [&](int64_t begin, int64_t end) {
    std::vector<Peak> mine = find_peaks<T>(params, begin, end);
    const std::lock_guard<std::mutex> lock(mutex);
    bands.emplace_back(begin, std::move(mine));
  });
  std::sort(bands.begin(), bands.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Peak> peaks;
  for (const auto& band : bands) peaks.insert(peaks.end(), band.second.begin(), band.second.end());
  merge_plateaus<T>(params, &peaks);
  return peaks;
}

// The first `capacity` of them on the device of `like`, (-1, -1) where there is no other.
inline Tensor points_of(const std::vector<Peak>& peaks, int64_t capacity, const Tensor& like) {
  Tensor points = allocate(like, {capacity, 2}, ScalarType::Long);
  int64_t* out = static_cast<int64_t*>(points.data_ptr());
  const auto count = static_cast<int64_t>(peaks.size());
  for (int64_t i = 0; i < capacity; ++i) {
    *out++ = i < count ? peaks[i].y : -1;
    *out++ = i < count ? peaks[i].x : -1;
  }
  return points;
}

inline Tensor count_of(const std::vector<Peak>& peaks, const Tensor& like) {
  Tensor count = allocate(like, {1}, ScalarType::Long);
  *static_cast<int64_t*>(count.data_ptr()) = static_cast<int64_t>(peaks.size());
  return count;
}

}  // namespace dvfast
