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
    const Tensor taps = torch::stable::new_empty(map, {2, window});
    T* taps_y = static_cast<T*>(taps.data_ptr());
    T* taps_x = taps_y + window;
    check(launch_gaussian_taps(taps_y, sigma, window, tap_y, stream()), "gaussian_taps");
    check(launch_gaussian_taps(taps_x, sigma, window, tap_x, stream()), "gaussian_taps");
    Tensor filtered = torch::stable::new_empty(map, map.sizes());
    const GaussianFilterParams<T> params{map_view<const T>(map, "map"),
                                         static_cast<T*>(filtered.data_ptr()), taps_y, taps_x,
                                         window};
    check(launch_gaussian_filter(params, stream()), "gaussian_filter");
    return filtered;
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
