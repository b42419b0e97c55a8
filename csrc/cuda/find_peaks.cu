#include "find_peaks.h"
#include "launch.h"
#include "shared_memory.h"

namespace dvfast {
namespace {

constexpr int64_t kNoPeak = -1;
constexpr unsigned int kWarpsPerBlock = kThreadsPerBlock / kWarpSize;

__device__ __forceinline__ unsigned long long bits_of(double value) {
  unsigned long long bits;
  memcpy(&bits, &value, sizeof(bits));
  return bits;
}

__device__ __forceinline__ double double_from(unsigned long long bits) {
  double value;
  memcpy(&value, &bits, sizeof(value));
  return value;
}

// Numbers from 0 on are ordered like their bits.
template <typename T>
__global__ void __launch_bounds__(kThreadsPerBlock)
    find_highest(MapView<const T> density, unsigned long long* highest) {
  T mine = 0;
  const int64_t count = density.height * density.width;
  for (int64_t i = first_item(); i < count; i += item_stride()) {
    const T value = *density.at(0, i / density.width, i % density.width);
    mine = value > mine ? value : mine;
  }
  for (unsigned int delta = kWarpSize / 2; delta > 0; delta /= 2) {
    const T other = __shfl_down_sync(kFullWarp, mine, delta);
    mine = other > mine ? other : mine;
  }
  if (threadIdx.x % kWarpSize == 0) atomicMax(highest, bits_of(static_cast<double>(mine)));
}

template <typename T>
__device__ __forceinline__ double lowest_peak(const FindPeaksDeviceParams<T>& params) {
  // Nothing of infinity is still nothing.
  return params.relative && params.threshold != 0
             ? params.threshold * double_from(*params.workspace.highest)
             : params.threshold;
}

template <typename T>
__global__ void __launch_bounds__(kThreadsPerBlock) mark_high(FindPeaksDeviceParams<T> params) {
  const auto& density = params.density;
  const double lowest = lowest_peak(params);
  const int64_t count = density.height * density.width;
  for (int64_t i = first_item(); i < count; i += item_stride()) {
    const T value = *density.at(0, i / density.width, i % density.width);
    const bool high = value > T(0) && static_cast<double>(value) >= lowest;
    params.workspace.parents[i] = high ? i : kNoPeak;
    params.workspace.rejected[i] = 0;
  }
}

// Others may be changing what is read, so that it must be read as it stands: volatile.
template <typename T>
__device__ __forceinline__ T now(const T* values, int64_t i) {
  return static_cast<const volatile T*>(values)[i];
}

// Trees only ever get shorter and roots smaller, so a stale parent still leads to the root.
__device__ __forceinline__ int64_t root_of(const int64_t* parents, int64_t i) {
  for (int64_t parent = now(parents, i); parent != i; parent = now(parents, i)) i = parent;
  return i;
}

__device__ __forceinline__ void join(int64_t* parents, int64_t a, int64_t b) {
  for (;;) {
    a = root_of(parents, a);
    b = root_of(parents, b);
    if (a == b) return;
    const int64_t child = a > b ? a : b;
    const int64_t root = a > b ? b : a;
    const auto expected = static_cast<unsigned long long>(child);
    const auto old = atomicCAS(reinterpret_cast<unsigned long long*>(parents + child), expected,
                               static_cast<unsigned long long>(root));
    if (old == expected) return;
    a = static_cast<int64_t>(old);
    b = root;
  }
}

// Joins pixels of equal value, and rejects those that have something higher around them.
template <typename T>
__global__ void __launch_bounds__(kThreadsPerBlock) link_equal(FindPeaksDeviceParams<T> params) {
  const auto& density = params.density;
  const int64_t reach = params.min_distance;
  const int64_t count = density.height * density.width;
  for (int64_t i = first_item(); i < count; i += item_stride()) {
    if (now(params.workspace.parents, i) == kNoPeak) continue;
    const int64_t y = i / density.width;
    const int64_t x = i % density.width;
    const T value = *density.at(0, y, x);
    const int64_t top = y > reach ? y - reach : 0;
    const int64_t left = x > reach ? x - reach : 0;
    const int64_t bottom = y + reach < density.height ? y + reach : density.height - 1;
    const int64_t right = x + reach < density.width ? x + reach : density.width - 1;
    bool higher = false;
    for (int64_t v = top; v <= bottom; ++v) {
      for (int64_t u = left; u <= right; ++u) {
        const T other = *density.at(0, v, u);
        higher |= other > value;
        const int64_t neighbour = v * density.width + u;
        if (other == value && neighbour < i) join(params.workspace.parents, i, neighbour);
      }
    }
    if (higher) params.workspace.rejected[i] = 1;
  }
}

// A plateau is rejected if one of its pixels is: its root hears of it.
__global__ void __launch_bounds__(kThreadsPerBlock)
    reject_plateaus(PeakWorkspace workspace, int64_t count) {
  for (int64_t i = first_item(); i < count; i += item_stride()) {
    if (workspace.parents[i] == kNoPeak || !now(workspace.rejected, i)) continue;
    volatile unsigned char* rejected = workspace.rejected;
    rejected[root_of(workspace.parents, i)] = 1;
  }
}

__device__ __forceinline__ bool is_peak(const PeakWorkspace& workspace, int64_t i, int64_t count) {
  return i < count && workspace.parents[i] == i && !workspace.rejected[i];
}

__global__ void __launch_bounds__(kThreadsPerBlock)
    count_peaks(PeakWorkspace workspace, int64_t count, int64_t chunks) {
  unsigned int* of_warps = shared_array<unsigned int>();
  for (int64_t chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
    unsigned int mine = 0;
    for (int64_t k = threadIdx.x; k < kPixelsPerChunk; k += kThreadsPerBlock) {
      const bool peak = is_peak(workspace, chunk * kPixelsPerChunk + k, count);
      mine += __popc(__ballot_sync(kFullWarp, peak));
    }
    __syncthreads();
    if (threadIdx.x % kWarpSize == 0) of_warps[threadIdx.x / kWarpSize] = mine;
    __syncthreads();
    if (threadIdx.x == 0) {
      int64_t total = 0;
      for (unsigned int warp = 0; warp < kWarpsPerBlock; ++warp) total += of_warps[warp];
      workspace.offsets[chunk] = total;
    }
  }
}

// One block: counts become offsets, and the last offset the total.
__global__ void __launch_bounds__(kThreadsPerBlock) sum_counts(int64_t* offsets, int64_t chunks) {
  int64_t* sums = shared_array<int64_t>();
  int64_t before = 0;
  for (int64_t first = 0; first < chunks; first += kThreadsPerBlock) {
    const int64_t i = first + threadIdx.x;
    const int64_t mine = i < chunks ? offsets[i] : 0;
    sums[threadIdx.x] = mine;
    for (unsigned int step = 1; step < kThreadsPerBlock; step *= 2) {
      __syncthreads();
      const int64_t left = threadIdx.x >= step ? sums[threadIdx.x - step] : 0;
      __syncthreads();
      sums[threadIdx.x] += left;
    }
    __syncthreads();
    if (i < chunks) offsets[i] = before + sums[threadIdx.x] - mine;
    before += sums[kThreadsPerBlock - 1];
    __syncthreads();
  }
  if (threadIdx.x == 0) offsets[chunks] = before;
}

__global__ void __launch_bounds__(kThreadsPerBlock)
    write_peaks(PeakWorkspace workspace, int64_t count, int64_t chunks, int64_t width,
                int64_t* points, int64_t capacity) {
  unsigned int* of_warps = shared_array<unsigned int>();
  const unsigned int warp = threadIdx.x / kWarpSize;
  const unsigned int lane = threadIdx.x % kWarpSize;
  for (int64_t chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
    int64_t place = workspace.offsets[chunk];
    for (int64_t first = 0; first < kPixelsPerChunk; first += kThreadsPerBlock) {
      const int64_t i = chunk * kPixelsPerChunk + first + threadIdx.x;
      const bool peak = is_peak(workspace, i, count);
      const unsigned int ballot = __ballot_sync(kFullWarp, peak);
      __syncthreads();
      if (lane == 0) of_warps[warp] = __popc(ballot);
      __syncthreads();
      int64_t mine = place + __popc(ballot & ((1u << lane) - 1u));
      for (unsigned int other = 0; other < kWarpsPerBlock; ++other) {
        if (other < warp) mine += of_warps[other];
        place += of_warps[other];
      }
      if (peak && mine < capacity) {
        points[2 * mine] = i / width;
        points[2 * mine + 1] = i % width;
      }
    }
  }
}

}  // namespace

template <typename T>
cudaError_t launch_find_peaks(const FindPeaksDeviceParams<T>& params, cudaStream_t stream) {
  const auto& workspace = params.workspace;
  const int64_t count = params.density.height * params.density.width;
  const int64_t chunks = (count + kPixelsPerChunk - 1) / kPixelsPerChunk;
  const unsigned int blocks = blocks_for(count, kThreadsPerBlock);
  cudaError_t error = cudaMemsetAsync(workspace.highest, 0, sizeof(*workspace.highest), stream);
  const auto then = [&error](cudaError_t next) {
    if (error == cudaSuccess) error = next;
  };
  if (params.relative) {
    then(launch(find_highest<T>, blocks, kThreadsPerBlock, 0, stream, params.density,
                workspace.highest));
  }
  then(launch(mark_high<T>, blocks, kThreadsPerBlock, 0, stream, params));
  then(launch(link_equal<T>, blocks, kThreadsPerBlock, 0, stream, params));
  then(launch(reject_plateaus, blocks, kThreadsPerBlock, 0, stream, workspace, count));
  then(launch(count_peaks, blocks_for(chunks, 1), kThreadsPerBlock,
              kWarpsPerBlock * sizeof(unsigned int), stream, workspace, count, chunks));
  then(launch(sum_counts, 1, kThreadsPerBlock, kThreadsPerBlock * sizeof(int64_t), stream,
              workspace.offsets, chunks));
  return error;
}

template <typename T>
cudaError_t launch_write_peaks(const FindPeaksDeviceParams<T>& params, int64_t* points,
                               int64_t capacity, cudaStream_t stream) {
  const int64_t count = params.density.height * params.density.width;
  const int64_t chunks = (count + kPixelsPerChunk - 1) / kPixelsPerChunk;
  return launch(write_peaks, blocks_for(chunks, 1), kThreadsPerBlock,
                kWarpsPerBlock * sizeof(unsigned int), stream, params.workspace, count, chunks,
                params.density.width, points, capacity);
}

#define DVFAST_INSTANTIATE(T)                                                                    \
  template cudaError_t launch_find_peaks<T>(const FindPeaksDeviceParams<T>&, cudaStream_t);      \
  template cudaError_t launch_write_peaks<T>(const FindPeaksDeviceParams<T>&, int64_t*, int64_t, \
                                             cudaStream_t);
DVFAST_INSTANTIATE(float)
DVFAST_INSTANTIATE(double)
#undef DVFAST_INSTANTIATE

}  // namespace dvfast
