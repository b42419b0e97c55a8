#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <mutex>
#include <tuple>
#include <vector>

#include "../cpu/find_peaks.h"
#include "find_peaks.h"

namespace dvfast {
namespace {

constexpr int64_t kRowsPerThread = 32;

std::vector<Peak> peaks_of(const Tensor& density, double threshold, bool relative,
                           int64_t min_distance) {
  check_find_peaks(density, threshold, min_distance);
  const int64_t height = density.size(0);
  std::vector<Peak> peaks;
  with_real_type(density, "density", [&](auto type) {
    using T = decltype(type);
    FindPeaksParams<T> params{};
    params.density = image_view<T>(density);
    params.min_distance = useful_distance(density, min_distance);
    params.lowest = threshold;
    std::mutex mutex;
    if (relative) {
      T highest = 0;
      torch::stable::parallel_for(0, height, kRowsPerThread, [&](int64_t begin, int64_t end) {
        const T mine = highest_value<T>(params.density, begin, end);
        const std::lock_guard<std::mutex> lock(mutex);
        highest = std::max(highest, mine);
      });
      // Nothing of infinity is still nothing.
      params.lowest = threshold == 0 ? 0 : threshold * static_cast<double>(highest);
    }
    // Bands of rows may finish in any order; their peaks are put back into raster order.
    std::vector<std::pair<int64_t, std::vector<Peak>>> bands;
    torch::stable::parallel_for(0, height, kRowsPerThread, [&](int64_t begin, int64_t end) {
      std::vector<Peak> mine = find_peaks<T>(params, begin, end);
      const std::lock_guard<std::mutex> lock(mutex);
      bands.emplace_back(begin, std::move(mine));
    });
    std::sort(bands.begin(), bands.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
    for (const auto& band : bands)
      peaks.insert(peaks.end(), band.second.begin(), band.second.end());
    merge_plateaus<T>(params, &peaks);
  });
  return peaks;
}

void write_peaks(const std::vector<Peak>& peaks, int64_t capacity, const Tensor& points) {
  int64_t* out = static_cast<int64_t*>(points.data_ptr());
  const auto count = static_cast<int64_t>(peaks.size());
  for (int64_t i = 0; i < capacity; ++i) {
    *out++ = i < count ? peaks[i].y : -1;
    *out++ = i < count ? peaks[i].x : -1;
  }
}

Tensor find_peaks_cpu(const Tensor& density, double threshold, bool relative,
                      int64_t min_distance) {
  const std::vector<Peak> peaks = peaks_of(density, threshold, relative, min_distance);
  const auto count = static_cast<int64_t>(peaks.size());
  Tensor points = torch::stable::new_empty(density, {count, 2}, ScalarType::Long);
  write_peaks(peaks, count, points);
  return points;
}

std::tuple<Tensor, Tensor> find_first_peaks_cpu(const Tensor& density, double threshold,
                                                bool relative, int64_t min_distance,
                                                int64_t capacity) {
  check_capacity(capacity);
  const std::vector<Peak> peaks = peaks_of(density, threshold, relative, min_distance);
  Tensor points = torch::stable::new_empty(density, {capacity, 2}, ScalarType::Long);
  Tensor count = torch::stable::new_empty(density, {1}, ScalarType::Long);
  write_peaks(peaks, capacity, points);
  *static_cast<int64_t*>(count.data_ptr()) = static_cast<int64_t>(peaks.size());
  return {points, count};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(dvfast, CPU, m) {
  m.impl("find_peaks", TORCH_BOX(&find_peaks_cpu));
  m.impl("find_first_peaks", TORCH_BOX(&find_first_peaks_cpu));
}

}  // namespace dvfast
