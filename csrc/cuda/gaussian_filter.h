// The Gaussian of eq. 6 on the device; see cpu/gaussian_filter.h for the contract. Every output is
// the CPU's sequence of fused multiply-adds.
#pragma once

#include <cuda_runtime.h>

#include "../core/params.h"

namespace dvfast {

// The window's weights, into device memory: what GaussianFilterParams wants there.
template <typename T>
cudaError_t launch_gaussian_taps(T* taps, double sigma, int64_t window, Tap tap,
                                 cudaStream_t stream);

template <typename T>
cudaError_t launch_gaussian_filter(const GaussianFilterParams<T>& params, cudaStream_t stream);

}  // namespace dvfast
