#include <torch/csrc/stable/library.h>

#include "../cuda/vote_targets.h"
#include "cuda.h"
#include "vote_targets.h"

namespace dvfast {
namespace {

struct Cuda : CudaScope {
  using CudaScope::CudaScope;

  // To look into `splits` would be to wait for the device; the kernel keeps them in range.
  template <typename T>
  void operator()(const Tensor& points, const Tensor& splits, const TargetGrid<T>& grid) const {
    VoteTargetsDeviceParams<T> params{};
    params.points = static_cast<const T*>(points.data_ptr());
    params.num_points = points.size(0);
    params.point_stride = points.stride(0);
    params.axis_stride = points.stride(1);
    params.splits = static_cast<const int64_t*>(splits.data_ptr());
    params.target = grid.target;
    params.y_axis = grid.y_axis;
    params.x_axis = grid.x_axis;
    params.range = grid.range;
    check(launch_vote_targets(params, stream()), "vote_targets");
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(dvfast, CUDA, m) {
  m.impl("vote_targets", TORCH_BOX(&ops::vote_targets<Cuda>));
}

}  // namespace dvfast
