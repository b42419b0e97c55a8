// Section 2.3 on the device; see cpu/vote_map.h for the contract. The sums are the CPU's integers.
#pragma once

#include <cuda_runtime.h>

#include "../core/params.h"

namespace dvfast {

// Adds to `sums` and to num_void [batch], the number of void votes of each image.
template <typename T>
cudaError_t launch_scatter_votes(const VoteScatterParams<T>& params, int64_t* num_void,
                                 cudaStream_t stream);

template <typename T>
cudaError_t launch_sums_to_map(const int64_t* sums, T* map, int64_t count, cudaStream_t stream);

template <typename T>
cudaError_t launch_gather_votes(const VoteGatherParams<T>& params, cudaStream_t stream);

}  // namespace dvfast
