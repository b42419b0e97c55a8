// Launching kernels. cudaLaunchKernelEx is plain C++, where <<<>>> is not: the same file compiles
// with nvcc and, in the tests, with a host compiler.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "../core/rounding.h"

namespace dvfast {

constexpr unsigned int kThreadsPerBlock = 256;
constexpr unsigned int kWarpSize = 32;
constexpr unsigned int kFullWarp = 0xffffffffu;

// Kernels stride over the grid, so more blocks than this gain nothing.
constexpr int64_t kMostBlocks = 1 << 16;

inline unsigned int blocks_for(int64_t items, int64_t items_per_block) {
  const int64_t blocks = divide_up(items, items_per_block);
  return static_cast<unsigned int>(blocks < kMostBlocks ? blocks : kMostBlocks);
}

// For loads of 16 bytes.
inline bool is_aligned(const void* address) {
  return reinterpret_cast<uintptr_t>(address) % 16 == 0;
}

// An empty grid is no launch and no error.
template <typename... Parameters>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
                   cudaStream_t stream, const Parameters&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return cudaSuccess;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  // Not cudaGetLastError(), which may tell of a call before this one.
  return cudaLaunchKernelEx(&config, kernel, arguments...);
}

// Index of this thread in the grid, and how many threads there are: for striding over items.
__device__ __forceinline__ int64_t first_item() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

__device__ __forceinline__ int64_t item_stride() {
  return static_cast<int64_t>(gridDim.x) * blockDim.x;
}

}  // namespace dvfast
