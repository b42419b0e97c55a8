// Peaks on the device; see cpu/find_peaks.h for the contract. Every pixel is marked by what is
// around it; those that are tied are joined into trees whose root is the plateau's first pixel in
// raster order; the threshold comes last, when the highest value is known.
#pragma once

#include <cuda_runtime.h>

#include "../core/params.h"

namespace dvfast {

// Pixels whose peaks are counted together, for putting them into raster order.
constexpr int64_t kPixelsPerChunk = 1024;

enum class Mark : unsigned char {
  kLower,     // than something around it, or not positive
  kPeak,      // higher than all around it
  kTied,      // as high as something around it, and nothing is higher
  kRejected,  // tied, but of a plateau that has something higher around it
};

struct PeakWorkspace {
  unsigned long long* highest;  // [1]: bits of the greatest value as a double
  int64_t* parents;             // [height * width]; of tied pixels alone
  Mark* marks;                  // [height * width]; once counted, kPeak or not
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

// What is left to do where all pixels are marked already.
template <typename T>
cudaError_t launch_count_peaks(const FindPeaksDeviceParams<T>& params, cudaStream_t stream);

// Writes the first `capacity` of them, [capacity, 2], in raster order.
template <typename T>
cudaError_t launch_write_peaks(const FindPeaksDeviceParams<T>& params, int64_t* points,
                               int64_t capacity, cudaStream_t stream);

}  // namespace dvfast
