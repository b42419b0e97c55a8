#include "gaussian_filter.h"
#include "launch.h"
#include "shared_memory.h"

namespace dvfast {
namespace {

// A block of threads makes this tile of the output. A thread sums the columns of kTileRows outputs
// at a time, so that what it reads is shared by as many.
constexpr int kTileRows = 8;
constexpr int kTileColumns = 128;

template <typename T>
__global__ void make_taps(T* taps, double sigma, int64_t window, Tap tap) {
  for (int64_t i = first_item(); i < window; i += item_stride()) {
    taps[i] = gaussian_tap<T>(sigma, window, tap, i);
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreadsPerBlock)
    filter(GaussianFilterParams<T> params, int64_t tiles_y, int64_t tiles_x) {
  const auto& in = params.input;
  const int window = static_cast<int>(params.window);
  const int reach = window / 2;
  const int wide = kTileColumns + 2 * reach;
  T* taps_y = shared_array<T>();
  T* taps_x = taps_y + window;
  T* columns = taps_x + window;  // [kTileRows, wide]
  for (int i = threadIdx.x; i < window; i += kThreadsPerBlock) {
    taps_y[i] = params.taps_y[i];
    taps_x[i] = params.taps_x[i];
  }
  for (int64_t tile = blockIdx.x; tile < in.batch * tiles_y * tiles_x; tile += gridDim.x) {
    const int64_t b = tile / tiles_x / tiles_y;
    const int64_t top = tile / tiles_x % tiles_y * kTileRows;
    const int64_t left = tile % tiles_x * kTileColumns;
    __syncthreads();
    for (int u = threadIdx.x; u < wide; u += kThreadsPerBlock) {
      const int64_t x = left + u - reach;
      T sums[kTileRows] = {};
      if (x >= 0 && x < in.width) {
        const int64_t first = top - reach > 0 ? top - reach : 0;
        const int64_t below = top + kTileRows + reach;
        const int64_t end = below < in.height ? below : in.height;
        for (int64_t v = first; v < end; ++v) {
          const T value = *in.at(b, v, x);
#pragma unroll
          for (int row = 0; row < kTileRows; ++row) {
            const int64_t tap = v - (top + row) + reach;
            if (tap >= 0 && tap < window) {
              sums[row] = fused_multiply_add(taps_y[tap], value, sums[row]);
            }
          }
        }
      }
#pragma unroll
      for (int row = 0; row < kTileRows; ++row) columns[row * wide + u] = sums[row];
    }
    __syncthreads();
    for (int i = threadIdx.x; i < kTileRows * kTileColumns; i += kThreadsPerBlock) {
      const int row = i / kTileColumns;
      const int u = i % kTileColumns;
      if (top + row >= in.height || left + u >= in.width) continue;
      T sum = 0;
      for (int tap = 0; tap < window; ++tap) {
        sum = fused_multiply_add(taps_x[tap], columns[row * wide + u + tap], sum);
      }
      params.output[(b * in.height + top + row) * in.width + left + u] = sum;
    }
  }
}

}  // namespace

template <typename T>
cudaError_t launch_gaussian_taps(T* taps, double sigma, int64_t window, Tap tap,
                                 cudaStream_t stream) {
  return launch(make_taps<T>, blocks_for(window, kThreadsPerBlock), kThreadsPerBlock, 0, stream,
                taps, sigma, window, tap);
}

template <typename T>
cudaError_t launch_gaussian_filter(const GaussianFilterParams<T>& params, cudaStream_t stream) {
  const auto& in = params.input;
  const int64_t tiles_y = (in.height + kTileRows - 1) / kTileRows;
  const int64_t tiles_x = (in.width + kTileColumns - 1) / kTileColumns;
  const int64_t wide = kTileColumns + 2 * (params.window / 2);
  const size_t bytes = static_cast<size_t>(2 * params.window + kTileRows * wide) * sizeof(T);
  return launch(filter<T>, blocks_for(in.batch * tiles_y * tiles_x, 1), kThreadsPerBlock, bytes,
                stream, params, tiles_y, tiles_x);
}

#define DVFAST_INSTANTIATE(T)                                                           \
  template cudaError_t launch_gaussian_taps<T>(T*, double, int64_t, Tap, cudaStream_t); \
  template cudaError_t launch_gaussian_filter<T>(const GaussianFilterParams<T>&, cudaStream_t);
DVFAST_INSTANTIATE(float)
DVFAST_INSTANTIATE(double)
#undef DVFAST_INSTANTIATE

}  // namespace dvfast
