// Eq. 6 and 7 on the device; see cpu/parzen_density.h for the contract.
#pragma once

#include <cuda_runtime.h>

#include "../core/params.h"

namespace dvfast {

// Adds to `sums` and to num_void [batch], the number of void votes of each image.
template <typename T>
cudaError_t launch_parzen_scatter(const ParzenScatterParams<T>& params, int64_t* num_void,
                                  cudaStream_t stream);

template <typename T>
cudaError_t launch_parzen_gather(const ParzenGatherParams<T>& params, cudaStream_t stream);

}  // namespace dvfast
