#include "vote_targets.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "../core/rounding.h"

namespace dvfast {

namespace {

// Enough for edges; all of many nuclei need not be sorted.
constexpr int64_t kMostSorted = 1024;
// Of the sorted coordinates, to see how close most of them lie.
constexpr int64_t kShares = 32;

template <typename T>
std::vector<double> sorted(const std::vector<Nucleus<T>>& nuclei, T Nucleus<T>::* coordinate) {
  const size_t step = divide_up(static_cast<int64_t>(nuclei.size()), kMostSorted);
  std::vector<double> values;
  for (size_t i = 0; i < nuclei.size(); i += step) values.push_back(nuclei[i].*coordinate);
  std::sort(values.begin(), values.end());
  return values;
}

// What the coordinates would span if all of them lay as close as most do: a gap between crowds of
// nuclei, or one nucleus far away, does not count.
double usual_extent(const std::vector<double>& values) {
  const int64_t last = static_cast<int64_t>(values.size()) - 1;
  const int64_t shares = std::min(last, kShares);
  std::vector<double> lengths;
  for (int64_t i = 0; i < shares; ++i) {
    lengths.push_back(values[(i + 1) * last / shares] - values[i * last / shares]);
  }
  if (lengths.empty()) return 0;
  std::nth_element(lengths.begin(), lengths.begin() + shares / 2, lengths.end());
  return lengths[shares / 2] * static_cast<double>(shares);
}

}  // namespace

BinEdges::BinEdges(const std::vector<double>& coordinates, int64_t bins) {
  const int64_t count = static_cast<int64_t>(coordinates.size());
  for (int64_t i = 1; i < bins; ++i) {
    const double edge = coordinates[i * count / bins];
    if (edges_.empty() || edge > edges_.back()) edges_.push_back(edge);
  }
}

int64_t BinEdges::bin_of(double position) const {
  return std::upper_bound(edges_.begin(), edges_.end(), position) - edges_.begin();
}

template <typename T>
NucleusBins<T>::NucleusBins(const T* points, int64_t count, int64_t point_stride,
                            int64_t axis_stride) {
  std::vector<Nucleus<T>> finite;
  finite.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const T y = points[i * point_stride];
    const T x = points[i * point_stride + axis_stride];
    if (is_finite(y) && is_finite(x)) finite.push_back({y, x, i});
  }
  if (finite.empty()) return;

  const auto ys = sorted(finite, &Nucleus<T>::y), xs = sorted(finite, &Nucleus<T>::x);
  const double wanted = std::max(static_cast<double>(finite.size()) / kNucleiPerBin, 1.0);
  const double height = usual_extent(ys), width = usual_extent(xs);
  double bins_y = std::sqrt(wanted);
  // Where not even a double holds the extents, no matter; along a line all bins are in a row.
  if (is_finite(height + width) && height + width > 0) {
    bins_y = height >= wanted * width ? wanted : std::sqrt(wanted * height / width);
  }
  bins_y = std::round(std::clamp(bins_y, 1.0, wanted));
  y_ = BinEdges(ys, static_cast<int64_t>(bins_y));
  x_ = BinEdges(xs, static_cast<int64_t>(std::ceil(wanted / bins_y)));

  starts_.assign(static_cast<size_t>(y_.bins() * x_.bins() + 1), 0);
  std::vector<int64_t> bin(finite.size());
  for (size_t i = 0; i < finite.size(); ++i) {
    bin[i] = y_.bin_of(finite[i].y) * x_.bins() + x_.bin_of(finite[i].x);
    ++starts_[bin[i] + 1];
  }
  for (size_t i = 1; i < starts_.size(); ++i) starts_[i] += starts_[i - 1];
  nuclei_.resize(finite.size());
  std::vector<int64_t> next(starts_.begin(), starts_.end() - 1);
  for (size_t i = 0; i < finite.size(); ++i) nuclei_[next[bin[i]]++] = finite[i];
}

template <typename T>
int64_t NucleusBins<T>::nearest(T y, T x, int64_t k, Nucleus<T>* nuclei,
                                T* squared_distances) const {
  if (nuclei_.empty() || k == 0) return 0;
  const int64_t centre_y = y_.bin_of(y), centre_x = x_.bin_of(x);
  const int64_t bins_y = y_.bins(), bins_x = x_.bins();
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
    for (int64_t v = std::max<int64_t>(top, 0); v <= std::min(bottom, bins_y - 1); ++v) {
      const bool whole_row = v == top || v == bottom;
      const int64_t step = whole_row || ring == 0 ? 1 : right - left;
      for (int64_t u = left; u <= right; u += step) {
        if (u >= 0 && u < bins_x) visit_bin(v * bins_x + u);
      }
    }
    double bound = std::numeric_limits<double>::infinity();
    if (top > 0) bound = std::min(bound, y - y_.first_of(top));
    if (bottom < bins_y - 1) bound = std::min(bound, y_.first_of(bottom + 1) - y);
    if (left > 0) bound = std::min(bound, x - x_.first_of(left));
    if (right < bins_x - 1) bound = std::min(bound, x_.first_of(right + 1) - x);
    if (top <= 0 && left <= 0 && bottom >= bins_y - 1 && right >= bins_x - 1) return found;
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
