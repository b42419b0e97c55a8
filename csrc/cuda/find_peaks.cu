#include "find_peaks.h"
#include "launch.h"
#include "peak_marks.h"
#include "shared_memory.h"

namespace dvfast {
namespace {

constexpr unsigned int kWarpsPerBlock = kThreadsPerBlock / kWarpSize;

template <typename T>
__global__ void __launch_bounds__(kThreadsPerBlock, kBlocksAtOnce)
    mark_pixels(FindPeaksDeviceParams<T> params) {
  const auto& density = params.density;
  const int64_t count = density.height * density.width;
  T mine = 0;
  for (int64_t i = first_item(); i < count; i += item_stride()) {
    const int64_t y = i / density.width;
    const int64_t x = i % density.width;
    const T* pixel = density.at(0, y, x);
    const Surroundings<int64_t> all{y, density.height - 1 - y, x, density.width - 1 - x};
    mark_pixel(params.workspace, i, pixel, density.y_stride, density.x_stride,
               all.within(params.min_distance));
    mine = higher(mine, *pixel);
  }
  if (params.relative) keep_highest(mine, params.workspace.highest);
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

__device__ __forceinline__ void reject(Mark* marks, int64_t i) {
  static_cast<volatile Mark*>(marks)[i] = Mark::kRejected;
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

// Joins tied pixels with those of equal value. A plateau is rejected if something higher is around
// one of its pixels. Such a pixel is marked as lower and joins none; of the tied ones that it cuts
// a plateau into, every part has a pixel that meets such a one.
template <typename T>
__global__ void __launch_bounds__(kThreadsPerBlock, kBlocksAtOnce)
    link_tied(FindPeaksDeviceParams<T> params) {
  const auto& density = params.density;
  const auto& workspace = params.workspace;
  const int64_t reach = params.min_distance;
  const int64_t count = density.height * density.width;
  for (int64_t i = first_item(); i < count; i += item_stride()) {
    if (now(workspace.marks, i) != Mark::kTied) continue;
    const int64_t y = i / density.width;
    const int64_t x = i % density.width;
    const T value = *density.at(0, y, x);
    const int64_t top = y > reach ? y - reach : 0;
    const int64_t left = x > reach ? x - reach : 0;
    const int64_t bottom = y + reach < density.height ? y + reach : density.height - 1;
    const int64_t right = x + reach < density.width ? x + reach : density.width - 1;
    for (int64_t v = top; v <= bottom; ++v) {
      for (int64_t u = left; u <= right; ++u) {
        if (*density.at(0, v, u) != value) continue;
        const int64_t neighbour = v * density.width + u;
        if (now(workspace.marks, neighbour) == Mark::kLower) {
          reject(workspace.marks, i);
        } else if (neighbour < i) {
          join(workspace.parents, i, neighbour);
        }
      }
    }
  }
}

// A plateau is rejected if one of its pixels is: its root hears of it.
__global__ void __launch_bounds__(kThreadsPerBlock)
    reject_plateaus(PeakWorkspace workspace, int64_t count) {
  for (int64_t i = first_item(); i < count; i += item_stride()) {
    if (now(workspace.marks, i) != Mark::kRejected) continue;
    reject(workspace.marks, root_of(workspace.parents, i));
  }
}

template <typename T>
__device__ __forceinline__ double lowest_peak(const FindPeaksDeviceParams<T>& params) {
  // Nothing of infinity is still nothing.
  if (!params.relative || params.threshold == 0) return params.threshold;
  double highest;
  memcpy(&highest, params.workspace.highest, sizeof(highest));
  return params.threshold * highest;
}

// Settles which pixels are peaks, and counts them.
template <typename T>
__global__ void __launch_bounds__(kThreadsPerBlock, kBlocksAtOnce)
    count_peaks(FindPeaksDeviceParams<T> params, int64_t count, int64_t chunks) {
  const auto& density = params.density;
  const auto& workspace = params.workspace;
  const double lowest = lowest_peak(params);
  unsigned int* of_warps = shared_array<unsigned int>();
  for (int64_t chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
    unsigned int mine = 0;
    for (int64_t k = threadIdx.x; k < kPixelsPerChunk; k += kThreadsPerBlock) {
      const int64_t i = chunk * kPixelsPerChunk + k;
      bool peak = false;
      if (i < count && workspace.marks[i] != Mark::kLower) {
        const Mark mark = workspace.marks[i];
        const T value = *density.at(0, i / density.width, i % density.width);
        peak = (mark == Mark::kPeak || (mark == Mark::kTied && workspace.parents[i] == i)) &&
               static_cast<double>(value) >= lowest;
        workspace.marks[i] = peak ? Mark::kPeak : Mark::kLower;
      }
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
      const bool peak = i < count && workspace.marks[i] == Mark::kPeak;
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
  const cudaError_t cleared =
      cudaMemsetAsync(workspace.highest, 0, sizeof(*workspace.highest), stream);
  if (cleared != cudaSuccess) return cleared;
  const cudaError_t marked = launch(mark_pixels<T>, blocks_for(count, kThreadsPerBlock),
                                    kThreadsPerBlock, 0, stream, params);
  return marked == cudaSuccess ? launch_count_peaks(params, stream) : marked;
}

template <typename T>
cudaError_t launch_count_peaks(const FindPeaksDeviceParams<T>& params, cudaStream_t stream) {
  const auto& workspace = params.workspace;
  const int64_t count = params.density.height * params.density.width;
  const int64_t chunks = divide_up(count, kPixelsPerChunk);
  const unsigned int blocks = blocks_for(count, kThreadsPerBlock);
  cudaError_t error = cudaSuccess;
  const auto then = [&error](cudaError_t next) {
    if (error == cudaSuccess) error = next;
  };
  then(launch(link_tied<T>, blocks, kThreadsPerBlock, 0, stream, params));
  then(launch(reject_plateaus, blocks, kThreadsPerBlock, 0, stream, workspace, count));
  then(launch(count_peaks<T>, blocks_for(chunks, 1), kThreadsPerBlock,
              kWarpsPerBlock * sizeof(unsigned int), stream, params, count, chunks));
  then(launch(sum_counts, 1, kThreadsPerBlock, kThreadsPerBlock * sizeof(int64_t), stream,
              workspace.offsets, chunks));
  return error;
}

template <typename T>
cudaError_t launch_write_peaks(const FindPeaksDeviceParams<T>& params, int64_t* points,
                               int64_t capacity, cudaStream_t stream) {
  const int64_t count = params.density.height * params.density.width;
  const int64_t chunks = divide_up(count, kPixelsPerChunk);
  return launch(write_peaks, blocks_for(chunks, 1), kThreadsPerBlock,
                kWarpsPerBlock * sizeof(unsigned int), stream, params.workspace, count, chunks,
                params.density.width, points, capacity);
}

#define DVFAST_INSTANTIATE(T)                                                                    \
  template cudaError_t launch_find_peaks<T>(const FindPeaksDeviceParams<T>&, cudaStream_t);      \
  template cudaError_t launch_count_peaks<T>(const FindPeaksDeviceParams<T>&, cudaStream_t);     \
  template cudaError_t launch_write_peaks<T>(const FindPeaksDeviceParams<T>&, int64_t*, int64_t, \
                                             cudaStream_t);
DVFAST_INSTANTIATE(float)
DVFAST_INSTANTIATE(double)
#undef DVFAST_INSTANTIATE

}  // namespace dvfast
