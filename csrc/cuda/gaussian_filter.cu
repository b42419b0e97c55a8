#include "gaussian_filter.h"
#include "gaussian_tile.h"
#include "launch.h"
#include "shared_memory.h"

namespace dvfast {
namespace {

// A block of threads makes this tile of the output.
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
  load_taps(params, taps_y, taps_x);
  for (int64_t tile = blockIdx.x; tile < in.batch * tiles_y * tiles_x; tile += gridDim.x) {
    const int64_t b = tile / tiles_x / tiles_y;
    const int64_t top = tile / tiles_x % tiles_y * kTileRows;
    const int64_t left = tile % tiles_x * kTileColumns;
    __syncthreads();
    sum_columns_of_tile(in, b, top, left - reach, kTileRows, wide, taps_y, window, columns);
    __syncthreads();
    for (int i = threadIdx.x; i < kTileRows / kRowsRows * kTileColumns; i += kThreadsPerBlock) {
      const int first = i / kTileColumns * kRowsRows;
      const int u = i % kTileColumns;
      T sums[kRowsRows];
      sum_rows(columns + first * wide + u, wide, taps_x, window, sums);
#pragma unroll
      for (int row = 0; row < kRowsRows; ++row) {
        const int64_t y = top + first + row;
        if (y >= in.height || left + u >= in.width) continue;
        params.output[(b * in.height + y) * in.width + left + u] = sums[row] * params.scale;
      }
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
  const int64_t tiles_y = divide_up(in.height, kTileRows);
  const int64_t tiles_x = divide_up(in.width, kTileColumns);
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
