// CUDA on a CPU, for tests: enough of the language and runtime that the .cu files of csrc/cuda
// compile with a host compiler and run, one fibre per CUDA thread.
//
// A thread runs until it meets a barrier or a warp collective and then waits for the others; where
// threads are preempted (emulation::Settings), it may also stop before any access to memory. A few
// blocks are in turns at a time. The order of blocks and threads is shuffled by a seed, and shared
// memory starts as noise, so that what depends on an order that CUDA does not promise gives another
// result. A barrier that some threads never reach, and a data race (races.h), fail the launch.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#define __global__
#define __device__
#define __host__
#define __shared__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))

struct dim3 {
  unsigned int x = 1, y = 1, z = 1;
  constexpr dim3(unsigned int x_ = 1, unsigned int y_ = 1, unsigned int z_ = 1)
      : x(x_), y(y_), z(z_) {}
};
using uint3 = dim3;

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(16) uint4 {
  unsigned int x, y, z, w;
};
struct alignas(16) double2 {
  double x, y;
};

// --- The emulation

namespace emulation {

constexpr unsigned int kWarpSize = 32;
constexpr size_t kSharedBytes = 227 * 1024;        // what there is of shared memory
constexpr size_t kUnaskedSharedBytes = 48 * 1024;  // without asking for more

struct Settings {
  uint64_t seed = 0;     // of the order in which blocks and threads run
  bool preempt = false;  // also stop threads before accesses to memory, at random
  bool find_races = true;
  // Kernels stride over the grid and so give the same from fewer blocks than they ask for.
  unsigned int most_blocks = 2147483647u;
  int major = 8;  // of the compute capability that kernels are said to be compiled for
};
extern Settings settings;

// What made a launch fail; as with CUDA, those after it fail as well until someone has looked.
extern std::string failure;

// What a kernel may have, by its address.
size_t& shared_bytes_of(const void* kernel);

// Runs thread(context) for every thread of every block; false if that failed.
bool run(dim3 grid, dim3 block, size_t shared_bytes, void (*thread)(void*), void* context);

void wait_for_block();
// Waits for the lanes of `mask`, after which every lane sees what each of them brought.
const uint64_t* exchange_in_warp(unsigned int mask, uint64_t value);
unsigned int lane();

// While one is alive, its thread is not preempted and its accesses to memory are atomic.
struct Atomic {
  Atomic();
  ~Atomic();
};

template <typename T>
uint64_t to_bits(T value) {
  static_assert(sizeof(T) <= 8);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  return bits;
}

template <typename T>
T from_bits(uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

}  // namespace emulation

// --- Runtime

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorLaunchFailure = 719,
  cudaErrorNotSupported = 801
};
using cudaStream_t = struct EmulatedStream*;

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
  void* attrs = nullptr;
  unsigned int numAttrs = 0;
};

enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };

template <typename... Parameters>
cudaError_t cudaFuncSetAttribute(void (*kernel)(Parameters...), cudaFuncAttribute, int bytes) {
  const size_t most = emulation::settings.major == 9 ? emulation::kSharedBytes : 99 * 1024;
  if (bytes < 0 || static_cast<size_t>(bytes) > most) {
    return cudaErrorInvalidValue;
  }
  emulation::shared_bytes_of(reinterpret_cast<const void*>(kernel)) = static_cast<size_t>(bytes);
  return cudaSuccess;
}

enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount = 16, cudaDevAttrComputeCapabilityMajor = 75 };

inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}

inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  *value = attribute == cudaDevAttrMultiProcessorCount ? 2 : emulation::settings.major;
  return cudaSuccess;
}

struct cudaFuncAttributes {
  int ptxVersion;
};

template <typename... Parameters>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, void (*)(Parameters...)) {
  attributes->ptxVersion = 10 * emulation::settings.major;
  return cudaSuccess;
}

inline cudaError_t cudaMemsetAsync(void* data, int value, size_t bytes, cudaStream_t) {
  std::memset(data, value, bytes);
  return cudaSuccess;
}

template <typename... Expected, typename... Actual>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Expected...),
                               Actual&&... arguments) {
  dim3 grid = config->gridDim;
  const dim3 block = config->blockDim;
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > 1024 || block.z > 64 || grid.x == 0 || grid.y == 0 || grid.z == 0 ||
      grid.y > 65535 || grid.z > 65535 || grid.x > 2147483647u ||
      config->dynamicSmemBytes >
          emulation::shared_bytes_of(reinterpret_cast<const void*>(kernel))) {
    emulation::failure = "invalid configuration";
    return cudaErrorInvalidConfiguration;
  }
  grid.x = std::min(grid.x, emulation::settings.most_blocks);
  auto call = [&] { kernel(static_cast<Expected>(arguments)...); };
  const bool fine = emulation::run(
      grid, block, config->dynamicSmemBytes,
      [](void* context) { (*static_cast<decltype(call)*>(context))(); }, &call);
  return fine ? cudaSuccess : cudaErrorLaunchFailure;
}

inline cudaError_t cudaGetLastError() { return cudaSuccess; }

// --- Device functions

inline void __syncthreads() { emulation::wait_for_block(); }

template <typename T>
T __shfl_sync(unsigned int mask, T value, int source) {
  return emulation::from_bits<T>(
      emulation::exchange_in_warp(mask, emulation::to_bits(value))[source & 31]);
}

template <typename T>
T __shfl_down_sync(unsigned int mask, T value, unsigned int delta) {
  const uint64_t* values = emulation::exchange_in_warp(mask, emulation::to_bits(value));
  const unsigned int source = emulation::lane() + delta;
  return source < emulation::kWarpSize ? emulation::from_bits<T>(values[source]) : value;
}

template <typename T>
T __shfl_up_sync(unsigned int mask, T value, unsigned int delta) {
  const uint64_t* values = emulation::exchange_in_warp(mask, emulation::to_bits(value));
  return delta <= emulation::lane() ? emulation::from_bits<T>(values[emulation::lane() - delta])
                                    : value;
}

template <typename T>
T __shfl_xor_sync(unsigned int mask, T value, int lane_mask) {
  return emulation::from_bits<T>(emulation::exchange_in_warp(
      mask, emulation::to_bits(value))[(emulation::lane() ^ lane_mask) & 31]);
}

inline unsigned int __ballot_sync(unsigned int mask, int predicate) {
  const uint64_t* values = emulation::exchange_in_warp(mask, predicate != 0);
  unsigned int result = 0;
  for (unsigned int i = 0; i < emulation::kWarpSize; ++i) {
    if (mask >> i & 1u) result |= static_cast<unsigned int>(values[i] != 0) << i;
  }
  return result;
}

inline int __any_sync(unsigned int mask, int predicate) {
  return __ballot_sync(mask, predicate) != 0;
}
inline int __all_sync(unsigned int mask, int predicate) {
  return __ballot_sync(mask, predicate) == mask;
}
inline int __popc(unsigned int bits) { return __builtin_popcount(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }

template <typename T, typename V>
T atomicAdd(T* address, V value) {
  const emulation::Atomic guard;
  const T old = *address;
  *address = static_cast<T>(old + static_cast<T>(value));
  return old;
}

template <typename T, typename V>
T atomicMax(T* address, V value) {
  const emulation::Atomic guard;
  const T old = *address;
  *address = std::max(old, static_cast<T>(value));
  return old;
}

template <typename T>
T atomicCAS(T* address, T compare, T value) {
  const emulation::Atomic guard;
  const T old = *address;
  if (old == compare) *address = value;
  return old;
}

template <typename T>
T __ldg(const T* address) {
  return *address;
}
