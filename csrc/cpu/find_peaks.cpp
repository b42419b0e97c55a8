#include "find_peaks.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "multiversion.h"
#include "patches.h"

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

// What is left to see of a pixel's window once others have seen theirs. Windows of neighbours
// differ by a row or a column, so that no plateau, however large, costs a whole window for each
// pixel.
template <typename T>
DVFAST_INLINE Window window_beyond(const MapView<const T>& map, int64_t y, int64_t x, int64_t reach,
                                   bool left_has_seen, bool above_has_seen) {
  Window window = window_around(map, y, x, reach);
  if (left_has_seen) window.left = x + reach;
  if (above_has_seen) window.top = y + reach;
  return window;
}

struct Surroundings {
  bool higher;
  int64_t equal;  // pixels, itself included where the window holds it
};

template <typename T>
DVFAST_INLINE Surroundings look_around(const MapView<const T>& map, T value, const Window& window) {
  int64_t equal = 0;
  for (int64_t v = window.top; v <= window.bottom; ++v) {
    for (int64_t u = window.left; u <= window.right; ++u) {
      const T other = *map.at(0, v, u);
      if (other > value) return {true, 0};
      equal += other == value;
    }
  }
  return {false, equal};
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

namespace {

// Marks the pixels of a row that reach `lowest` and have nothing higher right beside them: a cheap
// test without branches that most pixels fail. Rows beyond the border repeat the row itself.
template <bool kUnit, typename T>
DVFAST_INLINE void mark_row(const T* __restrict above, const T* __restrict row,
                            const T* __restrict below, int64_t width, int64_t stride, T lowest,
                            unsigned char* __restrict marks) {
  for (int64_t x = 0; x < width; ++x) {
    const T value = row[at<kUnit>(x, stride)];
    marks[x] = value > T(0) && value >= lowest && !(above[at<kUnit>(x, stride)] > value) &&
               !(below[at<kUnit>(x, stride)] > value);
  }
  for (int64_t x = 1; x < width; ++x) {
    const T value = row[at<kUnit>(x, stride)];
    marks[x] &= !(above[at<kUnit>(x - 1, stride)] > value) &
                !(row[at<kUnit>(x - 1, stride)] > value) &
                !(below[at<kUnit>(x - 1, stride)] > value);
  }
  for (int64_t x = 0; x + 1 < width; ++x) {
    const T value = row[at<kUnit>(x, stride)];
    marks[x] &= !(above[at<kUnit>(x + 1, stride)] > value) &
                !(row[at<kUnit>(x + 1, stride)] > value) &
                !(below[at<kUnit>(x + 1, stride)] > value);
  }
}

// The least number of type T that is no less than a double.
template <typename T>
T round_up(double value) {
  const T rounded = static_cast<T>(value);
  return static_cast<double>(rounded) < value
             ? std::nextafter(rounded, std::numeric_limits<T>::infinity())
             : rounded;
}

}  // namespace

template <typename T>
DVFAST_MULTIVERSION void mark_rows(const FindPeaksParams<T>& params, int64_t y, T lowest,
                                   unsigned char* marks) {
  const auto& density = params.density;
  const T* above = density.at(0, std::max<int64_t>(y - 1, 0), 0);
  const T* row = density.at(0, y, 0);
  const T* below = density.at(0, std::min(y + 1, density.height - 1), 0);
  if (density.x_stride == 1) {
    mark_row<true>(above, row, below, density.width, 1, lowest, marks);
  } else {
    mark_row<false>(above, row, below, density.width, density.x_stride, lowest, marks);
  }
}

template <typename T>
std::vector<Peak> find_peaks(const FindPeaksParams<T>& params, int64_t begin, int64_t end) {
  const auto& density = params.density;
  const T lowest = round_up<T>(params.lowest);
  std::vector<unsigned char> marks(static_cast<size_t>(density.width));
  std::vector<unsigned char> above(static_cast<size_t>(density.width));
  std::vector<Peak> peaks;
  for (int64_t y = begin; y < end; ++y) {
    marks.swap(above);
    mark_rows<T>(params, y, lowest, marks.data());
    for (int64_t x = 0; x < density.width; ++x) {
      if (!marks[x]) continue;
      const T value = *density.at(0, y, x);
      const bool left_ties = x > 0 && marks[x - 1] && *density.at(0, y, x - 1) == value;
      const bool above_ties = y > begin && above[x] && *density.at(0, y - 1, x) == value;
      const Surroundings around = look_around(
          density, value, window_beyond(density, y, x, params.min_distance, left_ties, above_ties));
      marks[x] = !around.higher;
      if (!around.higher) peaks.push_back({y, x, left_ties || above_ties || around.equal > 1});
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
      const auto meets = [&](int64_t v, int64_t u) {
        const T other = *density.at(0, v, u);
        higher |= other > value;
        if (other != value) return false;
        if (!seen[v * density.width + u]) {
          seen[v * density.width + u] = true;
          queue.push_back({v, u});
        }
        return true;
      };
      const bool left_ties = x > 0 && meets(y, x - 1);
      const bool above_ties = y > 0 && meets(y - 1, x);
      const Window window =
          window_beyond(density, y, x, params.min_distance, left_ties, above_ties);
      for (int64_t v = window.top; v <= window.bottom; ++v) {
        for (int64_t u = window.left; u <= window.right; ++u) meets(v, u);
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
