// The density operators' kernels on a CUDA device.
#pragma once

#include "../cuda/gaussian_filter.h"
#include "../cuda/parzen_density.h"
#include "../cuda/vote_map.h"
#include "cuda.h"
#include "voting.h"

namespace dvfast {

class CudaVoting : public CudaScope {
 public:
  using CudaScope::CudaScope;

  template <typename T>
  void scatter(const VoteScatterParams<T>& params, int64_t* num_void) const {
    check(launch_scatter_votes(params, num_void, stream()), "scatter_votes");
  }
  template <typename T>
  void scatter(const ParzenScatterParams<T>& params, int64_t* num_void) const {
    check(launch_parzen_scatter(params, num_void, stream()), "parzen_scatter");
  }

  template <typename T>
  void to_map(const int64_t* sums, T* map, int64_t count) const {
    check(launch_sums_to_map(sums, map, count, stream()), "sums_to_map");
  }

  template <typename T>
  Tensor filter(const Tensor& map, double sigma, int64_t window, Tap tap_y, Tap tap_x) const {
    const Tensor taps_y = taps<T>(map, sigma, window, tap_y);
    const Tensor taps_x = tap_x == tap_y ? taps_y : taps<T>(map, sigma, window, tap_x);
    Tensor filtered = allocate(map, map.sizes());
    const GaussianFilterParams<T> params{
        map_view<const T>(map, "map"), static_cast<T*>(filtered.data_ptr()),
        static_cast<const T*>(taps_y.data_ptr()), static_cast<const T*>(taps_x.data_ptr()), window};
    check(launch_gaussian_filter(params, stream()), "gaussian_filter");
    return filtered;
  }

  template <typename T>
  Tensor taps(const Tensor& map, double sigma, int64_t window, Tap tap) const {
    Tensor weights = allocate(map, {window});
    check(launch_gaussian_taps(static_cast<T*>(weights.data_ptr()), sigma, window, tap, stream()),
          "gaussian_taps");
    return weights;
  }

  template <typename T>
  void gather(const VoteGatherParams<T>& params) const {
    check(launch_gather_votes(params, stream()), "gather_votes");
  }
  template <typename T>
  void gather(const ParzenGatherParams<T>& params) const {
    check(launch_parzen_gather(params, stream()), "parzen_gather");
  }
};

}  // namespace dvfast
