#include <torch/csrc/stable/library.h>

#include <vector>

#include "../cpu/vote_targets.h"
#include "parallel.h"
#include "vote_targets.h"

namespace dvfast {
namespace {

constexpr int64_t kRowsPerThread = 4;

struct Cpu {
  explicit Cpu(const Tensor&) {}

  template <typename T>
  void operator()(const Tensor& points, const Tensor& splits, const TargetGrid<T>& grid) const {
    const int64_t batch = splits.size(0) - 1;
    const int64_t* split = static_cast<const int64_t*>(splits.data_ptr());
    DVFAST_CHECK(split[0] == 0 && split[batch] == points.size(0),
                 "splits must run from 0 to the number of points, ", points.size(0));
    for (int64_t b = 0; b < batch; ++b) {
      DVFAST_CHECK(split[b] <= split[b + 1], "splits must not decrease");
    }
    if (grid.target.num_votes == 0 || grid.target.width == 0) return;
    std::vector<NucleusBins<T>> bins;
    bins.reserve(static_cast<size_t>(batch));
    const T* data = static_cast<const T*>(points.data_ptr());
    for (int64_t b = 0; b < batch; ++b) {
      bins.emplace_back(data + split[b] * points.stride(0), split[b + 1] - split[b],
                        points.stride(0), points.stride(1));
    }
    const VoteTargetsParams<T> params{bins.data(), grid.target, grid.y_axis, grid.x_axis,
                                      grid.range};
    in_parallel(0, batch * grid.target.height, kRowsPerThread,
                [&](int64_t begin, int64_t end) { vote_targets<T>(params, begin, end); });
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(dvfast, CPU, m) {
  m.impl("vote_targets", TORCH_BOX(&ops::vote_targets<Cpu>));
}

}  // namespace dvfast
