// Peaks on a CUDA device: found and counted first, then taken, all of them or the first ones.
#pragma once

#include "../core/rounding.h"
#include "../cuda/find_peaks.h"
#include "cuda.h"
#include "find_peaks.h"

namespace dvfast {

// Memory that finding peaks needs, and that writing them reads.
class PeakBuffers {
 public:
  explicit PeakBuffers(const Tensor& density)
      : chunks_(divide_up(density.numel(), kPixelsPerChunk)),
        highest_(allocate(density, {1}, ScalarType::Long)),
        parents_(allocate(density, {density.numel()}, ScalarType::Long)),
        marks_(allocate(density, {density.numel()}, ScalarType::Byte)),
        offsets_(allocate(density, {chunks_ + 1}, ScalarType::Long)) {}

  PeakWorkspace workspace() const {
    return {static_cast<unsigned long long*>(highest_.data_ptr()),
            static_cast<int64_t*>(parents_.data_ptr()), static_cast<Mark*>(marks_.data_ptr()),
            static_cast<int64_t*>(offsets_.data_ptr())};
  }
  const int64_t* count() const { return workspace().offsets + chunks_; }

 private:
  int64_t chunks_;
  Tensor highest_, parents_, marks_, offsets_;
};

template <typename T>
class PeakSearch {
 public:
  // `launch` runs the kernels that find and count.
  template <typename Launch>
  PeakSearch(const Tensor& density, const MapView<const T>& view, const PeakRules& rules,
             const CudaScope& scope, const Launch& launch)
      : density_(density), buffers_(density), scope_(scope) {
    params_.density = view;
    params_.threshold = rules.threshold;
    params_.relative = rules.relative;
    params_.min_distance = useful_distance(view, rules.min_distance);
    params_.workspace = buffers_.workspace();
    check(launch(params_, scope.stream()));
  }

  // Waits for the device: how many peaks there are decides the result's shape.
  Tensor all() const {
    int64_t count = 0;
    check(cudaMemcpyAsync(&count, buffers_.count(), sizeof(count), cudaMemcpyDeviceToHost,
                          scope_.stream()));
    check(cudaStreamSynchronize(scope_.stream()));
    const Tensor points = room_for(count);
    write(points, count);
    return points;
  }

  // Waits for nothing, and so can be captured in a CUDA graph.
  Tensor first(int64_t capacity) const {
    const Tensor points = room_for(capacity);
    const auto size = static_cast<size_t>(capacity) * 2 * sizeof(int64_t);
    if (size > 0)  // every byte set: -1
      check(cudaMemsetAsync(points.data_ptr(), 0xff, size, scope_.stream()));
    write(points, capacity);
    return points;
  }

  Tensor count() const {
    Tensor count = allocate(density_, {1}, ScalarType::Long);
    check(cudaMemcpyAsync(count.data_ptr(), buffers_.count(), sizeof(int64_t),
                          cudaMemcpyDeviceToDevice, scope_.stream()));
    return count;
  }

 private:
  static void check(cudaError_t error) { CudaScope::check(error, "find_peaks"); }

  Tensor room_for(int64_t capacity) const {
    return allocate(density_, {capacity, 2}, ScalarType::Long);
  }

  void write(const Tensor& points, int64_t capacity) const {
    check(launch_write_peaks(params_, static_cast<int64_t*>(points.data_ptr()), capacity,
                             scope_.stream()));
  }

  const Tensor& density_;
  PeakBuffers buffers_;
  const CudaScope& scope_;
  FindPeaksDeviceParams<T> params_{};
};

}  // namespace dvfast
