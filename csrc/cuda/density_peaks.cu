#include "density_peaks.h"
#include "gaussian_filter.h"
#include "gaussian_tile.h"
#include "launch.h"
#include "peak_marks.h"
#include "shared_memory.h"

namespace dvfast {
namespace {

// A block of threads marks this many pixels at a time.
constexpr int kTileRows = 16;
constexpr int kTileColumns = 64;

// What every architecture gives a block without being asked.
constexpr int64_t kMostSharedBytes = 48 * 1024;

// A tile with its margin: the density's part, and the wider one of the columns' sums.
struct Tile {
  int rows, columns, wide;

  DVFAST_INLINE Tile(int64_t window, int64_t margin)
      : rows(filled_up(kTileRows + 2 * static_cast<int>(margin), kRowsRows)),
        columns(kTileColumns + 2 * static_cast<int>(margin)),
        wide(columns + 2 * static_cast<int>(window / 2)) {}

  int64_t numbers(int64_t window) const {
    return 2 * window + static_cast<int64_t>(rows) * (wide + columns);
  }
};

template <typename T>
__global__ void __launch_bounds__(kThreadsPerBlock, kBlocksAtOnce)
    filter_and_mark(GaussianFilterParams<T> params, FindPeaksDeviceParams<T> peaks, int64_t tiles_y,
                    int64_t tiles_x) {
  const auto& in = params.input;
  const int window = static_cast<int>(params.window);
  const int margin = static_cast<int>(peaks.min_distance);
  const Tile size(window, margin);
  T* taps_y = shared_array<T>();
  T* taps_x = taps_y + window;
  T* sums_of_columns = taps_x + window;                  // [size.rows, size.wide]
  T* density = sums_of_columns + size.rows * size.wide;  // [size.rows, size.columns]
  load_taps(params, taps_y, taps_x);
  __syncthreads();
  T highest = 0;
  for (int64_t tile = blockIdx.x; tile < tiles_y * tiles_x; tile += gridDim.x) {
    // The first pixel of the margin; it may lie outside of the map.
    const int64_t top = tile / tiles_x * kTileRows - margin;
    const int64_t left = tile % tiles_x * kTileColumns - margin;
    sum_columns_of_tile(in, 0, top, left - window / 2, size.rows, size.wide, taps_y, window,
                        sums_of_columns);
    __syncthreads();
    for (int i = threadIdx.x; i < size.rows / kRowsRows * size.columns; i += kThreadsPerBlock) {
      const int first = i / size.columns * kRowsRows;
      const int u = i % size.columns;
      T sums[kRowsRows];
      sum_rows(sums_of_columns + first * size.wide + u, size.wide, taps_x, window, sums);
#pragma unroll
      for (int row = 0; row < kRowsRows; ++row) {
        density[(first + row) * size.columns + u] = sums[row] * params.scale;
      }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < kTileRows * kTileColumns; i += kThreadsPerBlock) {
      const int row = i / kTileColumns + margin;
      const int u = i % kTileColumns + margin;
      const int64_t y = top + row;
      const int64_t x = left + u;
      if (y >= in.height || x >= in.width) continue;
      const T* pixel = density + row * size.columns + u;
      const Surroundings<int64_t> all{y, in.height - 1 - y, x, in.width - 1 - x};
      const Surroundings<int64_t> near = all.within(margin);
      const Surroundings<int> around{static_cast<int>(near.up), static_cast<int>(near.down),
                                     static_cast<int>(near.left), static_cast<int>(near.right)};
      mark_pixel(peaks.workspace, y * in.width + x, pixel, size.columns, 1, around);
      params.output[y * in.width + x] = *pixel;
      highest = higher(highest, *pixel);
    }
  }
  if (peaks.relative) keep_highest(highest, peaks.workspace.highest);
}

}  // namespace

template <typename T>
bool is_one_pass(const GaussianFilterParams<T>& filter, const FindPeaksDeviceParams<T>& peaks) {
  // With a wider margin, most of what a block filters would be for its neighbours.
  if (peaks.min_distance > kTileRows) return false;
  const Tile size(filter.window, peaks.min_distance);
  return size.numbers(filter.window) * static_cast<int64_t>(sizeof(T)) <= kMostSharedBytes;
}

template <typename T>
cudaError_t launch_density_peaks(const GaussianFilterParams<T>& filter,
                                 const FindPeaksDeviceParams<T>& peaks, cudaStream_t stream) {
  if (!is_one_pass(filter, peaks)) {
    const cudaError_t filtered = launch_gaussian_filter(filter, stream);
    return filtered == cudaSuccess ? launch_find_peaks(peaks, stream) : filtered;
  }
  const auto& workspace = peaks.workspace;
  const cudaError_t cleared =
      cudaMemsetAsync(workspace.highest, 0, sizeof(*workspace.highest), stream);
  if (cleared != cudaSuccess) return cleared;
  const int64_t tiles_y = divide_up(filter.input.height, kTileRows);
  const int64_t tiles_x = divide_up(filter.input.width, kTileColumns);
  const Tile size(filter.window, peaks.min_distance);
  const size_t bytes = static_cast<size_t>(size.numbers(filter.window)) * sizeof(T);
  const cudaError_t marked =
      launch(filter_and_mark<T>, blocks_for(tiles_y * tiles_x, 1), kThreadsPerBlock, bytes, stream,
             filter, peaks, tiles_y, tiles_x);
  return marked == cudaSuccess ? launch_count_peaks(peaks, stream) : marked;
}

#define DVFAST_INSTANTIATE(T)                                                                  \
  template cudaError_t launch_density_peaks<T>(const GaussianFilterParams<T>&,                 \
                                               const FindPeaksDeviceParams<T>&, cudaStream_t); \
  template bool is_one_pass<T>(const GaussianFilterParams<T>&, const FindPeaksDeviceParams<T>&);
DVFAST_INSTANTIATE(float)
DVFAST_INSTANTIATE(double)
#undef DVFAST_INSTANTIATE

}  // namespace dvfast
