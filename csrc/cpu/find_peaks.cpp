#include "find_peaks.h"

#include <algorithm>

#include "multiversion.h"

namespace dvfast {
namespace {

struct Window {
  int64_t top, bottom, left, right;  // inclusive
};

template <typename T>
DVFAST_INLINE Window window_around(const MapView<const T>& map, int64_t y, int64_t x,
                                   int64_t reach) {
  return {std::max<int64_t>(y - reach, 0), std::min(y + reach, map.height - 1),
          std::max<int64_t>(x - reach, 0), std::min(x + reach, map.width - 1)};
}

struct Surroundings {
  bool higher, equal;
};

template <typename T>
DVFAST_INLINE Surroundings look_around(const MapView<const T>& map, int64_t y, int64_t x,
                                       int64_t reach) {
  const T value = *map.at(0, y, x);
  const Window window = window_around(map, y, x, reach);
  int64_t equal = 0;
  for (int64_t v = window.top; v <= window.bottom; ++v) {
    for (int64_t u = window.left; u <= window.right; ++u) {
      const T other = *map.at(0, v, u);
      if (other > value) return {true, false};
      equal += other == value;
    }
  }
  return {false, equal > 1};
}

}  // namespace

template <typename T>
DVFAST_MULTIVERSION T highest_value(const MapView<const T>& density, int64_t begin, int64_t end) {
  T highest = 0;
  for (int64_t y = begin; y < end; ++y) {
    const T* row = density.at(0, y, 0);
    for (int64_t x = 0; x < density.width; ++x) {
      const T value = row[x * density.x_stride];
      highest = value > highest ? value : highest;
    }
  }
  return highest;
}

template <typename T>
std::vector<Peak> find_peaks(const FindPeaksParams<T>& params, int64_t begin, int64_t end) {
  const auto& density = params.density;
  std::vector<Peak> peaks;
  for (int64_t y = begin; y < end; ++y) {
    for (int64_t x = 0; x < density.width; ++x) {
      const T value = *density.at(0, y, x);
      if (!(value > T(0)) || !(static_cast<double>(value) >= params.lowest)) continue;
      // Most pixels have something higher right beside them.
      if (look_around(density, y, x, 1).higher) continue;
      const Surroundings around = look_around(density, y, x, params.min_distance);
      if (!around.higher) peaks.push_back({y, x, around.equal});
    }
  }
  return peaks;
}

template <typename T>
void merge_plateaus(const FindPeaksParams<T>& params, std::vector<Peak>* peaks) {
  const auto& density = params.density;
  if (std::none_of(peaks->begin(), peaks->end(), [](const Peak& peak) { return peak.tied; })) {
    return;
  }
  std::vector<bool> seen(static_cast<size_t>(density.height * density.width));
  std::vector<std::pair<int64_t, int64_t>> queue;
  const auto rejected = [&](const Peak& peak) {
    if (!peak.tied) return false;
    if (seen[peak.y * density.width + peak.x]) return true;
    const T value = *density.at(0, peak.y, peak.x);
    bool higher = false;
    queue.assign(1, {peak.y, peak.x});
    seen[peak.y * density.width + peak.x] = true;
    while (!queue.empty()) {
      const auto [y, x] = queue.back();
      queue.pop_back();
      const Window window = window_around(density, y, x, params.min_distance);
      for (int64_t v = window.top; v <= window.bottom; ++v) {
        for (int64_t u = window.left; u <= window.right; ++u) {
          const T other = *density.at(0, v, u);
          higher |= other > value;
          if (other == value && !seen[v * density.width + u]) {
            seen[v * density.width + u] = true;
            queue.push_back({v, u});
          }
        }
      }
    }
    return higher;
  };
  // In raster order, so that a plateau is met at its first pixel.
  std::vector<Peak> kept;
  for (const Peak& peak : *peaks) {
    if (!rejected(peak)) kept.push_back(peak);
  }
  peaks->swap(kept);
}

#define DVFAST_INSTANTIATE(T)                                                            \
  template T highest_value<T>(const MapView<const T>&, int64_t, int64_t);                \
  template std::vector<Peak> find_peaks<T>(const FindPeaksParams<T>&, int64_t, int64_t); \
  template void merge_plateaus<T>(const FindPeaksParams<T>&, std::vector<Peak>*);
DVFAST_INSTANTIATE(float)
DVFAST_INSTANTIATE(double)
#undef DVFAST_INSTANTIATE

}  // namespace dvfast
