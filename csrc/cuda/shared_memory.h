// The one buffer of shared memory that kernels cut up among themselves; its size comes at launch.
#pragma once

#include <cuda_runtime.h>

namespace dvfast {

extern __shared__ __align__(16) unsigned char shared[];

template <typename T>
__device__ __forceinline__ T* shared_array(size_t offset_bytes = 0) {
  return reinterpret_cast<T*>(shared + offset_bytes);
}

}  // namespace dvfast
