// Eq. 1: the k nuclei nearest to every pixel of a grid, as confidences and offsets.
#pragma once

#include <cstdint>
#include <vector>

#include "../core/landing.h"
#include "../core/targets.h"
#include "../core/views.h"

namespace dvfast {

template <typename T>
struct Nucleus {
  T y, x;
  int64_t index;
};

// Where bins end along an axis: about as many nuclei lie in each, however they crowd.
class BinEdges {
 public:
  BinEdges() = default;
  BinEdges(const std::vector<double>& coordinates, int64_t bins);  // sorted, not none

  int64_t bins() const { return static_cast<int64_t>(edges_.size()) + 1; }
  int64_t bin_of(double position) const;
  double first_of(int64_t bin) const { return edges_[bin - 1]; }  // but for the first bin

 private:
  std::vector<double> edges_;  // between bins
};

constexpr int64_t kNucleiPerBin = 2;

// The nuclei of one image sorted into bins, a few in each, so that a pixel looks only at the bins
// around it. Points that are NaN or infinite are left out.
template <typename T>
class NucleusBins {
 public:
  NucleusBins(const T* points, int64_t count, int64_t point_stride, int64_t axis_stride);

  // Writes the min(k, count) nearest nuclei, the nearest first and equal distances in the order of
  // their index, and their squared distances. Returns how many there are.
  int64_t nearest(T y, T x, int64_t k, Nucleus<T>* nuclei, T* squared_distances) const;

 private:
  BinEdges y_, x_;
  std::vector<int64_t> starts_;  // bins + 1
  std::vector<Nucleus<T>> nuclei_;
};

template <typename T>
struct VoteTargetsParams {
  const NucleusBins<T>* bins;  // one per image
  VotesView<T> target;
  GridAxis<T> y_axis, x_axis;
  VotingRange<T> range;
};

// Rows [begin, end) of the targets, row = b * height + y.
template <typename T>
void vote_targets(const VoteTargetsParams<T>& params, int64_t begin, int64_t end);

}  // namespace dvfast
