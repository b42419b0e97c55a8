// Which places of a layer's convolution are summed together, and how they are pooled: what the
// trunk's kernels have in common. A tile has kTilePlaces places by one panel of outputs.
#pragma once

#include "../core/half.h"
#include "../core/network.h"
#include "launch.h"

namespace dvfast {

constexpr int kTilePlaces = 256;

enum class Pooling {
  kNone,     // a tile is a run of outputs
  kCorners,  // of a run of outputs, the four places that each is pooled from
  kLattice,  // a square of places pool_dilation apart, which neighbouring outputs share
};

constexpr int kSide = 16;  // of that square
constexpr int kPooledSide = kSide - 1;
static_assert(kSide * kSide == kTilePlaces, "the square is the tile");

// Of sums in shared memory, where threads exchange them.
constexpr int kSumsPitch = kPanelWidth + 4;
constexpr size_t kSumsBytes = kTilePlaces * kSumsPitch * sizeof(float);

struct Lattice {
  int64_t step;                  // from place to place: pool_dilation
  int64_t origins_y, origins_x;  // squares start at so many different pixels of a step
  int64_t squares_y, squares_x;  // for each of them
};

template <typename T>
struct TrunkPlaces {
  FeaturesView<const T> input;
  FeaturesView<T> output;
  int64_t pool_stride, pool_dilation;
  int64_t outputs;  // channels
  Lattice lattice;
  int64_t tiles;
  bool wide;  // four outputs can be written at once

  __device__ __forceinline__ int64_t count() const {
    return output.batch * output.height * output.width;
  }
};

struct Place {
  int64_t b, y, x;
};

// The first output of a tile.
__device__ __forceinline__ Place square_at(const Lattice& lattice, int64_t tile) {
  const int64_t square_x = tile % lattice.squares_x;
  tile /= lattice.squares_x;
  const int64_t origin_x = tile % lattice.origins_x;
  tile /= lattice.origins_x;
  const int64_t square_y = tile % lattice.squares_y;
  tile /= lattice.squares_y;
  return {tile / lattice.origins_y,
          tile % lattice.origins_y + square_y * kPooledSide * lattice.step,
          origin_x + square_x * kPooledSide * lattice.step};
}

template <typename T>
__device__ __forceinline__ T* pixel_at(const FeaturesView<T>& map, int64_t b, int64_t y,
                                       int64_t x) {
  return map.data + b * map.batch_stride + y * map.y_stride + x * map.x_stride;
}

__device__ __forceinline__ int64_t at_most(int64_t value, int64_t limit) {
  return value < limit ? value : limit;
}

// The n-th output in raster order.
template <typename T>
__device__ __forceinline__ Place output_at(const FeaturesView<T>& out, int64_t n) {
  const int64_t x = n % out.width;
  n /= out.width;
  return {n / out.height, n % out.height, x};
}

// Where the patch of a tile's p-th place starts. Places without an output are those of the last.
// The corners of an output are kTilePlaces / kRuns places apart, kRuns / 4 runs of outputs to the
// tile.
template <Pooling kPooling, int kRuns, typename T>
__device__ __forceinline__ const T* patch_of(const TrunkPlaces<T>& places, int64_t tile, int p) {
  const auto& out = places.output;
  if (kPooling == Pooling::kLattice) {
    const int64_t step = places.lattice.step;
    const Place first = square_at(places.lattice, tile);
    return pixel_at(places.input, first.b,
                    at_most(first.y + p / kSide * step, out.height - 1 + step),
                    at_most(first.x + p % kSide * step, out.width - 1 + step));
  }
  const int64_t last = places.count() - 1;
  if (kPooling == Pooling::kNone) {
    const Place at = output_at(out, at_most(tile * kTilePlaces + p, last));
    return pixel_at(places.input, at.b, at.y, at.x);
  }
  constexpr int kLength = kTilePlaces / kRuns;
  const int run = p / kLength;
  const int64_t n = tile * (kTilePlaces / 4) + run / 4 * kLength + p % kLength;
  const Place at = output_at(out, at_most(n, last));
  return pixel_at(places.input, at.b,
                  at.y * places.pool_stride + run / 2 % 2 * places.pool_dilation,
                  at.x * places.pool_stride + run % 2 * places.pool_dilation);
}

__device__ __forceinline__ float pool_four(float first, float right, float below, float diagonal) {
  return pool(pool(pool(first, right), below), diagonal);
}

__device__ __forceinline__ float4 pool_four(const float4& first, const float4& right,
                                            const float4& below, const float4& diagonal) {
  return {pool_four(first.x, right.x, below.x, diagonal.x),
          pool_four(first.y, right.y, below.y, diagonal.y),
          pool_four(first.z, right.z, below.z, diagonal.z),
          pool_four(first.w, right.w, below.w, diagonal.w)};
}

__device__ __forceinline__ void store_four(float* to, bool wide, const float4& values) {
  if (wide) {
    *reinterpret_cast<float4*>(to) = values;
    return;
  }
  to[0] = values.x;
  to[1] = values.y;
  to[2] = values.z;
  to[3] = values.w;
}

struct alignas(8) FourBfloat16 {
  bfloat16 x, y, z, w;
};

__device__ __forceinline__ void store_four(bfloat16* to, bool wide, const float4& values) {
  using Convert = FromCompute<bfloat16>;
  const FourBfloat16 rounded{Convert::convert(values.x), Convert::convert(values.y),
                             Convert::convert(values.z), Convert::convert(values.w)};
  if (wide) {
    *reinterpret_cast<FourBfloat16*>(to) = rounded;
    return;
  }
  to[0] = rounded.x;
  to[1] = rounded.y;
  to[2] = rounded.z;
  to[3] = rounded.w;
}

template <typename T>
__device__ __forceinline__ void write_outputs(const TrunkPlaces<T>& places, const Place& at,
                                              int64_t channel, const float4& values) {
  if (channel >= places.outputs) return;
  store_four(pixel_at(places.output, at.b, at.y, at.x) + channel, places.wide, values);
}

// Pools a square of rectified sums, [kTilePlaces, kSumsPitch] in shared memory, and writes it.
template <int kThreads, typename T>
__device__ __forceinline__ void write_square(const TrunkPlaces<T>& places, int64_t tile,
                                             int64_t panel, const float* sums) {
  const Place first = square_at(places.lattice, tile);
  constexpr int kFours = kPanelWidth / 4;
  for (int i = threadIdx.x; i < kPooledSide * kPooledSide * kFours; i += kThreads) {
    const int four = i % kFours;
    const int row = i / kFours / kPooledSide;
    const int column = i / kFours % kPooledSide;
    const Place at{first.b, first.y + row * places.lattice.step,
                   first.x + column * places.lattice.step};
    if (at.y >= places.output.height || at.x >= places.output.width) continue;
    const float* corner = sums + (row * kSide + column) * kSumsPitch + 4 * four;
    const auto at_corner = [&](int y, int x) {
      return *reinterpret_cast<const float4*>(corner + (y * kSide + x) * kSumsPitch);
    };
    write_outputs(places, at, panel * kPanelWidth + 4 * four,
                  pool_four(at_corner(0, 0), at_corner(0, 1), at_corner(1, 0), at_corner(1, 1)));
  }
}

// False for a pooling that is none; the views' pixels of `wide` lie at multiples of four outputs.
template <typename T>
bool make_places(const FeaturesView<const T>& input, const FeaturesView<T>& output,
                 int64_t pool_stride, int64_t pool_dilation, int64_t outputs,
                 TrunkPlaces<T>* places) {
  const bool wide = reinterpret_cast<uintptr_t>(output.data) % (4 * sizeof(T)) == 0 &&
                    output.batch_stride % 4 == 0 && output.y_stride % 4 == 0 &&
                    output.x_stride % 4 == 0;
  *places = {input, output, pool_stride, pool_dilation, outputs, {}, 0, wide};
  const int64_t count = output.batch * output.height * output.width;
  if (pool_stride != 1) {
    places->tiles = divide_up(count, pool_stride == 0 ? kTilePlaces : kTilePlaces / 4);
    return true;
  }
  const int64_t step = pool_dilation;
  if (step < 1) return false;
  Lattice& lattice = places->lattice;
  lattice = {step, step < output.height ? step : output.height,
             step < output.width ? step : output.width,
             divide_up(divide_up(output.height, step), kPooledSide),
             divide_up(divide_up(output.width, step), kPooledSide)};
  places->tiles =
      output.batch * lattice.origins_y * lattice.squares_y * lattice.origins_x * lattice.squares_x;
  return true;
}

}  // namespace dvfast
