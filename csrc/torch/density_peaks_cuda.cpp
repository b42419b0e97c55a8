#include <torch/csrc/stable/library.h>

#include "../cuda/density_peaks.h"
#include "density_peaks.h"
#include "find_peaks_cuda.h"
#include "voting_cuda.h"

namespace dvfast {
namespace {

struct Cuda : CudaVoting {
  using CudaVoting::CudaVoting;

  template <typename T>
  std::tuple<Tensor, Tensor, Tensor> filter_and_find(const Tensor& map, double sigma,
                                                     int64_t window, double scale,
                                                     const PeakRules& rules,
                                                     int64_t capacity) const {
    const Tensor weights = taps<T>(map, sigma, window, Tap::kValue);
    const T* values = static_cast<const T*>(weights.data_ptr());
    Tensor density = allocate(map, map.sizes());
    const GaussianFilterParams<T> filter{
        map_view<const T>(map, "map"), static_cast<T*>(density.data_ptr()), values, values, window,
        static_cast<T>(scale)};
    const PeakSearch<T> found(density, map_view<const T>(density, "density"), rules, *this,
                              [&](const FindPeaksDeviceParams<T>& peaks, cudaStream_t stream) {
                                return launch_density_peaks(filter, peaks, stream);
                              });
    const Tensor points = capacity < 0 ? found.all() : found.first(capacity);
    return {density, points, found.count()};
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(dvfast, CUDA, m) {
  m.impl("density_peaks", TORCH_BOX(&ops::density_peaks<Cuda>));
}

}  // namespace dvfast
