// Peaks on the device; see cpu/find_peaks.h for the contract. Plateaus are found by joining pixels
// of equal value into trees whose root is the first pixel in raster order.
#pragma once

#include <cuda_runtime.h>

#include "../core/params.h"

namespace dvfast {

// Pixels whose peaks are counted together, for putting them into raster order.
constexpr int64_t kPixelsPerChunk = 1024;

struct PeakWorkspace {
  unsigned long long* highest;  // [1]: bits of the greatest value as a double
  int64_t* parents;             // [height * width]
  unsigned char* rejected;      // [height * width]
  int64_t* offsets;  // [chunks + 1]: where a chunk's peaks start; the last is their number
};

template <typename T>
struct FindPeaksDeviceParams {
  MapView<const T> density;
  double threshold;
  bool relative;
  int64_t min_distance;
  PeakWorkspace workspace;
};

// Finds and counts the peaks: workspace.offsets[chunks] is their number.
template <typename T>
cudaError_t launch_find_peaks(const FindPeaksDeviceParams<T>& params, cudaStream_t stream);

// Writes the first `capacity` of them, [capacity, 2], in raster order.
template <typename T>
cudaError_t launch_write_peaks(const FindPeaksDeviceParams<T>& params, int64_t* points,
                               int64_t capacity, cudaStream_t stream);

}  // namespace dvfast
