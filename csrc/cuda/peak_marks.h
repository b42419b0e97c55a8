// What a pixel is among those around it, before any threshold: an equal pixel always meets the same
// one, and the highest value is known only when all have been seen.
#pragma once

#include "find_peaks.h"
#include "launch.h"

namespace dvfast {

// On a multiprocessor. Left to itself, the compiler hopes for more, and spills.
constexpr unsigned int kBlocksAtOnce = 4;

// How far a pixel's surroundings go: min_distance, or to the map's border.
template <typename Index>
struct Surroundings {
  Index up, down, left, right;

  __device__ __forceinline__ Surroundings within(Index reach) const {
    const auto least = [reach](Index distance) { return distance < reach ? distance : reach; };
    return {least(up), least(down), least(left), least(right)};
  }
};

template <typename T, typename Index>
__device__ __forceinline__ Mark look_around(const T* pixel, Index y_stride, Index x_stride,
                                            const Surroundings<Index>& around) {
  const T value = *pixel;
  bool tied = false;
  for (Index v = -around.up; v <= around.down; ++v) {
    for (Index u = -around.left; u <= around.right; ++u) {
      const T other = pixel[v * y_stride + u * x_stride];
      if (other > value) return Mark::kLower;
      tied |= other == value && (v != 0 || u != 0);
    }
  }
  return tied ? Mark::kTied : Mark::kPeak;
}

// The mark of pixel i of the map, into the workspace, wherever its surroundings are read from.
template <typename T, typename Index>
__device__ __forceinline__ void mark_pixel(const PeakWorkspace& workspace, int64_t i,
                                           const T* pixel, Index y_stride, Index x_stride,
                                           const Surroundings<Index>& around) {
  Mark mark = Mark::kLower;
  // Most pixels have something higher right beside them.
  if (*pixel > T(0)) mark = look_around(pixel, y_stride, x_stride, around.within(1));
  if (mark != Mark::kLower) mark = look_around(pixel, y_stride, x_stride, around);
  workspace.marks[i] = mark;
  if (mark == Mark::kTied) workspace.parents[i] = i;
}

template <typename T>
__device__ __forceinline__ T higher(T one, T other) {
  return other > one ? other : one;
}

__device__ __forceinline__ unsigned long long bits_of(double value) {
  unsigned long long bits;
  memcpy(&bits, &value, sizeof(bits));
  return bits;
}

// Numbers from 0 on are ordered like their bits. All threads of a warp take part.
template <typename T>
__device__ __forceinline__ void keep_highest(T mine, unsigned long long* highest) {
  for (unsigned int delta = kWarpSize / 2; delta > 0; delta /= 2) {
    mine = higher(mine, __shfl_down_sync(kFullWarp, mine, delta));
  }
  if (threadIdx.x % kWarpSize == 0) atomicMax(highest, bits_of(static_cast<double>(mine)));
}

}  // namespace dvfast
