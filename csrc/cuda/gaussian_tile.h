// The two steps of the Gaussian for a tile in shared memory, columns first. Whoever filters takes
// them from here, so that a pixel is one sequence of fused multiply-adds whoever asks for it.
#pragma once

#include "../core/params.h"
#include "launch.h"

namespace dvfast {

// Pixels of a column that a thread sums at a time: what it reads is shared by as many.
constexpr int kColumnsRows = 8;
constexpr int kRowsRows = 4;

// The columns' sums at x of the rows from `top` on; zero beside the map.
template <typename T>
__device__ __forceinline__ void sum_columns(const MapView<const T>& in, int64_t b, int64_t top,
                                            int64_t x, const T* taps, int window,
                                            T (&sums)[kColumnsRows]) {
#pragma unroll
  for (T& sum : sums) sum = 0;
  if (x < 0 || x >= in.width) return;
  const int reach = window / 2;
  const int64_t first = top - reach > 0 ? top - reach : 0;
  const int64_t below = top + kColumnsRows + reach;
  const int64_t end = below < in.height ? below : in.height;
  for (int64_t v = first; v < end; ++v) {
    const T value = *in.at(b, v, x);
#pragma unroll
    for (int row = 0; row < kColumnsRows; ++row) {
      const int64_t tap = v - (top + row) + reach;
      if (tap >= 0 && tap < window) sums[row] = fused_multiply_add(taps[tap], value, sums[row]);
    }
  }
}

// The filtered values of rows that lie `wide` apart, from the first column that their taps reach.
template <typename T>
__device__ __forceinline__ void sum_rows(const T* columns, int wide, const T* taps, int window,
                                         T (&sums)[kRowsRows]) {
#pragma unroll
  for (T& sum : sums) sum = 0;
  for (int tap = 0; tap < window; ++tap) {
    const T weight = taps[tap];
#pragma unroll
    for (int row = 0; row < kRowsRows; ++row) {
      sums[row] = fused_multiply_add(weight, columns[row * wide + tap], sums[row]);
    }
  }
}

// Fills columns[rows, wide], whose first pixel is (top, left); `rows` is a multiple of kRowsRows.
template <typename T>
__device__ __forceinline__ void sum_columns_of_tile(const MapView<const T>& in, int64_t b,
                                                    int64_t top, int64_t left, int rows, int wide,
                                                    const T* taps, int window, T* columns) {
  const int groups = divide_up(rows, kColumnsRows);
  for (int i = threadIdx.x; i < groups * wide; i += kThreadsPerBlock) {
    const int first = i / wide * kColumnsRows;
    const int u = i % wide;
    T sums[kColumnsRows];
    sum_columns(in, b, top + first, left + u, taps, window, sums);
#pragma unroll
    for (int row = 0; row < kColumnsRows; ++row) {
      if (first + row < rows) columns[(first + row) * wide + u] = sums[row];
    }
  }
}

template <typename T>
__device__ __forceinline__ void load_taps(const GaussianFilterParams<T>& params, T* taps_y,
                                          T* taps_x) {
  for (int i = threadIdx.x; i < params.window; i += kThreadsPerBlock) {
    taps_y[i] = params.taps_y[i];
    taps_x[i] = params.taps_x[i];
  }
}

}  // namespace dvfast
