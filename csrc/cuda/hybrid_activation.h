// Eq. 2 and its derivatives on the device; see cpu/hybrid_activation.h for the contract.
#pragma once

#include <cuda_runtime.h>

#include "../core/params.h"

namespace dvfast {

template <typename T>
cudaError_t launch_hybrid_activation(const HybridActivationParams<T>& params, cudaStream_t stream);

template <typename T>
cudaError_t launch_hybrid_activation_backward(const HybridBackwardParams<T>& params,
                                              cudaStream_t stream);

template <typename T>
cudaError_t launch_hybrid_activation_double_backward(const HybridDoubleBackwardParams<T>& params,
                                                     cudaStream_t stream);

}  // namespace dvfast
