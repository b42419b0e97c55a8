#include <torch/csrc/stable/library.h>

#include "../cuda/find_peaks.h"
#include "cuda.h"
#include "find_peaks.h"

namespace dvfast {
namespace {

// The one operator that waits for the device: how many peaks there are decides the result's shape.
Tensor find_peaks_cuda(const Tensor& density, double threshold, bool relative,
                       int64_t min_distance) {
  check_find_peaks(density, threshold, min_distance);
  const CudaScope scope(density);
  const int64_t pixels = density.numel();
  const int64_t chunks = (pixels + kPixelsPerChunk - 1) / kPixelsPerChunk;
  const Tensor highest = torch::stable::new_empty(density, {1}, ScalarType::Long);
  const Tensor parents = torch::stable::new_empty(density, {pixels}, ScalarType::Long);
  const Tensor rejected = torch::stable::new_empty(density, {pixels}, ScalarType::Byte);
  const Tensor offsets = torch::stable::new_empty(density, {chunks + 1}, ScalarType::Long);
  return with_real_type(density, "density", [&](auto type) {
    using T = decltype(type);
    FindPeaksDeviceParams<T> params{};
    params.density = image_view<T>(density);
    params.threshold = threshold;
    params.relative = relative;
    params.min_distance = useful_distance(density, min_distance);
    params.workspace = {static_cast<unsigned long long*>(highest.data_ptr()),
                        static_cast<int64_t*>(parents.data_ptr()),
                        static_cast<unsigned char*>(rejected.data_ptr()),
                        static_cast<int64_t*>(offsets.data_ptr())};
    CudaScope::check(launch_find_peaks(params, scope.stream()), "find_peaks");
    int64_t count = 0;
    CudaScope::check(cudaMemcpyAsync(&count, params.workspace.offsets + chunks, sizeof(count),
                                     cudaMemcpyDeviceToHost, scope.stream()),
                     "find_peaks");
    CudaScope::check(cudaStreamSynchronize(scope.stream()), "find_peaks");
    Tensor points = torch::stable::new_empty(density, {count, 2}, ScalarType::Long);
    CudaScope::check(
        launch_write_peaks(params, static_cast<int64_t*>(points.data_ptr()), count, scope.stream()),
        "find_peaks");
    return points;
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(dvfast, CUDA, m) { m.impl("find_peaks", TORCH_BOX(&find_peaks_cuda)); }

}  // namespace dvfast
