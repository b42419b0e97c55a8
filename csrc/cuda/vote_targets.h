// Eq. 1 on the device; see cpu/vote_targets.h for the contract.
#pragma once

#include <cuda_runtime.h>

#include "../core/targets.h"
#include "../core/views.h"
#include "../core/vote.h"

namespace dvfast {

template <typename T>
struct VoteTargetsDeviceParams {
  const T* points;  // [num_points, 2]
  int64_t num_points;
  int64_t point_stride, axis_stride;
  const int64_t* splits;  // [batch + 1]: image b has the points splits[b] to splits[b + 1];
                          // what lies outside [0, num_points] is not read
  VotesView<T> target;
  GridAxis<T> y_axis, x_axis;
  VotingRange<T> range;
};

template <typename T>
cudaError_t launch_vote_targets(const VoteTargetsDeviceParams<T>& params, cudaStream_t stream);

}  // namespace dvfast
