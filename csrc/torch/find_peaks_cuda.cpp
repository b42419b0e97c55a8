#include <torch/csrc/stable/library.h>

#include <tuple>

#include "../cuda/find_peaks.h"
#include "cuda.h"
#include "find_peaks.h"

namespace dvfast {
namespace {

constexpr const char* kName = "find_peaks";

// Memory that finding peaks needs, and that writing them reads.
class Workspace {
 public:
  explicit Workspace(const Tensor& density)
      : chunks_((density.numel() + kPixelsPerChunk - 1) / kPixelsPerChunk),
        highest_(torch::stable::new_empty(density, {1}, ScalarType::Long)),
        parents_(torch::stable::new_empty(density, {density.numel()}, ScalarType::Long)),
        rejected_(torch::stable::new_empty(density, {density.numel()}, ScalarType::Byte)),
        offsets_(torch::stable::new_empty(density, {chunks_ + 1}, ScalarType::Long)) {}

  PeakWorkspace view() const {
    return {static_cast<unsigned long long*>(highest_.data_ptr()),
            static_cast<int64_t*>(parents_.data_ptr()),
            static_cast<unsigned char*>(rejected_.data_ptr()),
            static_cast<int64_t*>(offsets_.data_ptr())};
  }
  const int64_t* count() const { return view().offsets + chunks_; }

 private:
  int64_t chunks_;
  Tensor highest_, parents_, rejected_, offsets_;
};

template <typename T>
FindPeaksDeviceParams<T> find(const Tensor& density, double threshold, bool relative,
                              int64_t min_distance, const Workspace& workspace,
                              const CudaScope& scope) {
  FindPeaksDeviceParams<T> params{};
  params.density = image_view<T>(density);
  params.threshold = threshold;
  params.relative = relative;
  params.min_distance = useful_distance(density, min_distance);
  params.workspace = workspace.view();
  CudaScope::check(launch_find_peaks(params, scope.stream()), kName);
  return params;
}

// The one operator that waits for the device: how many peaks there are decides the result's shape.
Tensor find_peaks_cuda(const Tensor& density, double threshold, bool relative,
                       int64_t min_distance) {
  check_find_peaks(density, threshold, min_distance);
  const CudaScope scope(density);
  const Workspace workspace(density);
  return with_real_type(density, "density", [&](auto type) {
    using T = decltype(type);
    const auto params = find<T>(density, threshold, relative, min_distance, workspace, scope);
    int64_t count = 0;
    CudaScope::check(cudaMemcpyAsync(&count, workspace.count(), sizeof(count),
                                     cudaMemcpyDeviceToHost, scope.stream()),
                     kName);
    CudaScope::check(cudaStreamSynchronize(scope.stream()), kName);
    Tensor points = torch::stable::new_empty(density, {count, 2}, ScalarType::Long);
    CudaScope::check(
        launch_write_peaks(params, static_cast<int64_t*>(points.data_ptr()), count, scope.stream()),
        kName);
    return points;
  });
}

// Waits for nothing, and so can be captured in a CUDA graph.
std::tuple<Tensor, Tensor> find_first_peaks_cuda(const Tensor& density, double threshold,
                                                 bool relative, int64_t min_distance,
                                                 int64_t capacity) {
  check_find_peaks(density, threshold, min_distance);
  check_capacity(capacity);
  const CudaScope scope(density);
  const Workspace workspace(density);
  return with_real_type(density, "density", [&](auto type) -> std::tuple<Tensor, Tensor> {
    using T = decltype(type);
    const auto params = find<T>(density, threshold, relative, min_distance, workspace, scope);
    Tensor points = torch::stable::new_empty(density, {capacity, 2}, ScalarType::Long);
    Tensor count = torch::stable::new_empty(density, {1}, ScalarType::Long);
    auto* out = static_cast<int64_t*>(points.data_ptr());
    const auto size = static_cast<size_t>(capacity) * 2 * sizeof(int64_t);
    if (size > 0)  // every byte set: -1
      CudaScope::check(cudaMemsetAsync(out, 0xff, size, scope.stream()), kName);
    CudaScope::check(launch_write_peaks(params, out, capacity, scope.stream()), kName);
    CudaScope::check(cudaMemcpyAsync(count.data_ptr(), workspace.count(), sizeof(int64_t),
                                     cudaMemcpyDeviceToDevice, scope.stream()),
                     kName);
    return {points, count};
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(dvfast, CUDA, m) {
  m.impl("find_peaks", TORCH_BOX(&find_peaks_cuda));
  m.impl("find_first_peaks", TORCH_BOX(&find_first_peaks_cuda));
}

}  // namespace dvfast
