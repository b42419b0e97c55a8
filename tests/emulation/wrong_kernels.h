// Kernels with one flaw each, and without it where `right`: the emulation has to tell them apart.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace dvfast {

cudaError_t launch_wrong_kernel(const char* flaw, bool right, const float* in, float* out,
                                int64_t count, cudaStream_t stream);

}  // namespace dvfast
