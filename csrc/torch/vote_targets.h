// Eq. 1: checks and allocation, for any device. Device{points}(points, splits, grid) runs the
// kernel.
#pragma once

#include <cmath>
#include <limits>

#include "../core/targets.h"
#include "tensors.h"

namespace dvfast {

// Where targets are wanted, and by which rule.
template <typename T>
struct TargetGrid {
  VotesView<T> target;
  GridAxis<T> y_axis, x_axis;
  VotingRange<T> range;
};

}  // namespace dvfast

namespace dvfast::ops {

// How many of the pixels offset + stride * i lie in an image of `size` pixels.
inline int64_t grid_length(int64_t size, int64_t stride, double offset) {
  const int64_t last = size - 1 - static_cast<int64_t>(std::ceil(offset));
  return last < 0 ? 0 : last / stride + 1;
}

// The points of image b are points[splits[b] : splits[b + 1]].
template <typename Device>
Tensor vote_targets(const Tensor& points, const Tensor& splits, int64_t height, int64_t width,
                    int64_t num_votes, double r1, double r2, double beta, int64_t stride,
                    double offset_y, double offset_x) {
  DVFAST_CHECK(points.dim() == 2 && points.size(1) == 2,
               "points must be [n, 2] coordinates (y, x), got ", describe(points));
  check_dtype(splits, "splits", {ScalarType::Long});
  check_same_device(splits, "splits", points, "points");
  DVFAST_CHECK(splits.dim() == 1 && splits.size(0) >= 1 && splits.is_contiguous(),
               "splits must be a contiguous [B + 1], got ", describe(splits));
  DVFAST_CHECK(height >= 0 && width >= 0 && num_votes >= 0,
               "size and num_votes must not be negative, got ", height, " x ", width, " and ",
               num_votes);
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max() / 4;
  DVFAST_CHECK(height <= kMost && width <= kMost, "size must be at most ", kMost, ", got ", height,
               " x ", width);
  return with_real_type(points, "points", [&](auto type) {
    using T = decltype(type);
    DVFAST_CHECK(stride >= 1, "stride must be at least 1, got ", stride);
    for (double offset : {offset_y, offset_x}) grid_axis<T>(stride, offset, 0);  // it is a number
    const int64_t rows = grid_length(height, stride, offset_y);
    const int64_t columns = grid_length(width, stride, offset_x);
    const auto y_axis = grid_axis<T>(stride, offset_y, rows);
    const auto x_axis = grid_axis<T>(stride, offset_x, columns);
    Tensor target =
        allocate(points, {splits.size(0) - 1, kChannelsPerVote * num_votes, rows, columns});
    const TargetGrid<T> grid{votes_view<T>(target, "target"),
                             y_axis,
                             x_axis,
                             {static_cast<T>(r1), static_cast<T>(r2), static_cast<T>(beta)}};
    Device{points}(points, splits, grid);
    return target;
  });
}

}  // namespace dvfast::ops
