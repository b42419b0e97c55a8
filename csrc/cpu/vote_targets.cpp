#include "vote_targets.h"

#include <algorithm>
#include <limits>

namespace dvfast {

template <typename T>
NucleusBins<T>::NucleusBins(const T* points, int64_t count, int64_t point_stride,
                            int64_t axis_stride) {
  std::vector<Nucleus<T>> finite;
  finite.reserve(static_cast<size_t>(count));
  double last_y = 0, last_x = 0;
  for (int64_t i = 0; i < count; ++i) {
    const T y = points[i * point_stride];
    const T x = points[i * point_stride + axis_stride];
    if (!is_finite(y) || !is_finite(x)) continue;
    const bool first = finite.empty();
    origin_y_ = first ? y : std::min<double>(origin_y_, y);
    origin_x_ = first ? x : std::min<double>(origin_x_, x);
    last_y = first ? y : std::max<double>(last_y, y);
    last_x = first ? x : std::max<double>(last_x, x);
    finite.push_back({y, x, i});
  }
  if (finite.empty()) return;

  // Two nuclei to a bin, unless they lie along a line: there, no more bins than nuclei. If not even
  // a double holds the area, one bin has them all.
  const double height = last_y - origin_y_;
  const double width = last_x - origin_x_;
  const double n = static_cast<double>(finite.size());
  const bool sortable =
      is_finite(2 * height) && is_finite(2 * width) && is_finite(2 * height * width);
  if (sortable) {
    side_ = std::max({std::sqrt(2 * height * width / n), std::max(height, width) / n, 1.0});
  }
  bins_y_ = sortable ? static_cast<int64_t>(height / side_) + 1 : 1;
  bins_x_ = sortable ? static_cast<int64_t>(width / side_) + 1 : 1;

  starts_.assign(static_cast<size_t>(bins_y_ * bins_x_ + 1), 0);
  const auto bin = [&](const Nucleus<T>& nucleus) {
    return bin_of(nucleus.y, origin_y_, bins_y_) * bins_x_ + bin_of(nucleus.x, origin_x_, bins_x_);
  };
  for (const auto& nucleus : finite) ++starts_[bin(nucleus) + 1];
  for (size_t i = 1; i < starts_.size(); ++i) starts_[i] += starts_[i - 1];
  nuclei_.resize(finite.size());
  std::vector<int64_t> next(starts_.begin(), starts_.end() - 1);
  for (const auto& nucleus : finite) nuclei_[next[bin(nucleus)]++] = nucleus;
}

template <typename T>
int64_t NucleusBins<T>::bin_of(double position, double origin, int64_t bins) const {
  const double bin = std::floor((position - origin) / side_);
  return static_cast<int64_t>(std::clamp(bin, 0.0, static_cast<double>(bins - 1)));
}

template <typename T>
int64_t NucleusBins<T>::nearest(T y, T x, int64_t k, Nucleus<T>* nuclei,
                                T* squared_distances) const {
  if (nuclei_.empty() || k == 0) return 0;
  const int64_t centre_y = bin_of(y, origin_y_, bins_y_);
  const int64_t centre_x = bin_of(x, origin_x_, bins_x_);
  int64_t found = 0;

  const auto visit_bin = [&](int64_t bin) {
    for (int64_t i = starts_[bin]; i < starts_[bin + 1]; ++i) {
      const Nucleus<T>& nucleus = nuclei_[i];
      const T distance = squared_length(y - nucleus.y, x - nucleus.x);
      const auto before = [&](int64_t slot) {
        return distance < squared_distances[slot] ||
               (distance == squared_distances[slot] && nucleus.index < nuclei[slot].index);
      };
      if (found == k && !before(k - 1)) continue;
      int64_t slot = found < k ? found++ : k - 1;
      for (; slot > 0 && before(slot - 1); --slot) {
        nuclei[slot] = nuclei[slot - 1];
        squared_distances[slot] = squared_distances[slot - 1];
      }
      nuclei[slot] = nucleus;
      squared_distances[slot] = distance;
    }
  };

  // Bins are visited in growing squares. What lies outside the square visited so far is at least as
  // far as the nearest of those of its edges that have bins behind them.
  for (int64_t ring = 0;; ++ring) {
    const int64_t top = centre_y - ring, bottom = centre_y + ring;
    const int64_t left = centre_x - ring, right = centre_x + ring;
    for (int64_t v = std::max<int64_t>(top, 0); v <= std::min(bottom, bins_y_ - 1); ++v) {
      const bool whole_row = v == top || v == bottom;
      const int64_t step = whole_row || ring == 0 ? 1 : right - left;
      for (int64_t u = left; u <= right; u += step) {
        if (u >= 0 && u < bins_x_) visit_bin(v * bins_x_ + u);
      }
    }
    double bound = std::numeric_limits<double>::infinity();
    if (top > 0) bound = std::min(bound, y - (origin_y_ + top * side_));
    if (bottom < bins_y_ - 1) bound = std::min(bound, origin_y_ + (bottom + 1) * side_ - y);
    if (left > 0) bound = std::min(bound, x - (origin_x_ + left * side_));
    if (right < bins_x_ - 1) bound = std::min(bound, origin_x_ + (right + 1) * side_ - x);
    if (std::isinf(bound)) return found;
    // The margin covers the rounding of distances in T.
    if (found == k && bound > 0 && squared_distances[k - 1] * 1.0001 < bound * bound) return found;
  }
}

template <typename T>
void vote_targets(const VoteTargetsParams<T>& params, int64_t begin, int64_t end) {
  const auto& target = params.target;
  std::vector<Nucleus<T>> nuclei(static_cast<size_t>(target.num_votes));
  std::vector<T> distances(static_cast<size_t>(target.num_votes));
  for (int64_t row = begin; row < end; ++row) {
    const int64_t b = row / target.height;
    const int64_t i = row % target.height;
    const T y = static_cast<T>(params.y_axis.voter(i)) + params.y_axis.fraction;
    for (int64_t j = 0; j < target.width; ++j) {
      const T x = static_cast<T>(params.x_axis.voter(j)) + params.x_axis.fraction;
      const int64_t found =
          params.bins[b].nearest(y, x, target.num_votes, nuclei.data(), distances.data());
      for (int64_t vote = 0; vote < target.num_votes; ++vote) {
        T* channels = target.at(b, vote, i, j);
        const bool exists = vote < found;
        channels[0] = exists ? target_confidence(std::sqrt(distances[vote]), params.range) : T(0);
        channels[target.channel_stride] = exists ? y - nuclei[vote].y : T(0);
        channels[2 * target.channel_stride] = exists ? x - nuclei[vote].x : T(0);
      }
    }
  }
}

#define DVFAST_INSTANTIATE(T)    \
  template class NucleusBins<T>; \
  template void vote_targets<T>(const VoteTargetsParams<T>&, int64_t, int64_t);
DVFAST_INSTANTIATE(float)
DVFAST_INSTANTIATE(double)
#undef DVFAST_INSTANTIATE

}  // namespace dvfast
