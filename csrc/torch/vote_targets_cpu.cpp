#include <torch/csrc/stable/library.h>

#include <vector>

#include "../cpu/vote_targets.h"
#include "tensors.h"

namespace dvfast {
namespace {

constexpr int64_t kRowsPerThread = 4;

// How many of the pixels offset + stride * i lie in an image of `size` pixels.
int64_t grid_length(int64_t size, int64_t stride, double offset) {
  const int64_t last = size - 1 - static_cast<int64_t>(std::ceil(offset));
  return last < 0 ? 0 : last / stride + 1;
}

// The points of image b are points[splits[b] : splits[b + 1]].
Tensor vote_targets_cpu(const Tensor& points, const Tensor& splits, int64_t height, int64_t width,
                        int64_t num_votes, double r1, double r2, double beta, int64_t stride,
                        double offset_y, double offset_x) {
  STD_TORCH_CHECK(points.dim() == 2 && points.size(1) == 2,
                  "points must be [n, 2] coordinates (y, x), got ", describe(points));
  check_dtype(splits, "splits", {ScalarType::Long});
  check_cpu(splits, "splits");
  STD_TORCH_CHECK(splits.dim() == 1 && splits.size(0) >= 1 && splits.is_contiguous(),
                  "splits must be a contiguous [B + 1], got ", describe(splits));
  STD_TORCH_CHECK(height >= 0 && width >= 0 && num_votes >= 0,
                  "size and num_votes must not be negative, got ", height, " x ", width, " and ",
                  num_votes);
  const int64_t batch = splits.size(0) - 1;
  const int64_t* split = static_cast<const int64_t*>(splits.data_ptr());
  STD_TORCH_CHECK(split[0] == 0 && split[batch] == points.size(0),
                  "splits must run from 0 to the number of points, ", points.size(0));
  for (int64_t b = 0; b < batch; ++b) {
    STD_TORCH_CHECK(split[b] <= split[b + 1], "splits must not decrease");
  }
  return with_real_type(points, "points", [&](auto type) {
    using T = decltype(type);
    VoteTargetsParams<T> params{};
    params.y_axis = grid_axis<T>(stride, offset_y);
    params.x_axis = grid_axis<T>(stride, offset_x);
    params.range = {static_cast<T>(r1), static_cast<T>(r2), static_cast<T>(beta)};
    const int64_t rows = grid_length(height, stride, offset_y);
    const int64_t columns = grid_length(width, stride, offset_x);
    Tensor target =
        torch::stable::new_empty(points, {batch, kChannelsPerVote * num_votes, rows, columns});
    params.target = votes_view<T>(target, "target");

    std::vector<NucleusBins<T>> bins;
    bins.reserve(static_cast<size_t>(batch));
    const T* data = static_cast<const T*>(points.data_ptr());
    for (int64_t b = 0; b < batch; ++b) {
      bins.emplace_back(data + split[b] * points.stride(0), split[b + 1] - split[b],
                        points.stride(0), points.stride(1));
    }
    params.bins = bins.data();
    torch::stable::parallel_for(0, batch * rows, kRowsPerThread, [&](int64_t begin, int64_t end) {
      vote_targets<T>(params, begin, end);
    });
    return target;
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(dvfast, CPU, m) { m.impl("vote_targets", TORCH_BOX(&vote_targets_cpu)); }

}  // namespace dvfast
