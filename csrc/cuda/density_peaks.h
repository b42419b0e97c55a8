// Vote map to density and peaks in one pass: a block filters a tile with a margin of min_distance
// in shared memory, writes the density, and marks the tile's pixels from what it has at hand.
// Density and peaks are those of gaussian_filter.h and find_peaks.h, to the bit.
#pragma once

#include <cuda_runtime.h>

#include "find_peaks.h"

namespace dvfast {

// One image; peaks.density is filter.output. Where a tile with its margin does not fit into shared
// memory, filters and marks one after the other. launch_write_peaks may follow.
template <typename T>
cudaError_t launch_density_peaks(const GaussianFilterParams<T>& filter,
                                 const FindPeaksDeviceParams<T>& peaks, cudaStream_t stream);

// Whether that is one pass.
template <typename T>
bool is_one_pass(const GaussianFilterParams<T>& filter, const FindPeaksDeviceParams<T>& peaks);

}  // namespace dvfast
