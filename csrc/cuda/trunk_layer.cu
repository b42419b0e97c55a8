#include "convolution.h"
#include "shared_memory.h"
#include "trunk_layer.h"

namespace dvfast {
namespace {

constexpr unsigned int kThreads = 128;
using Tile = ConvolutionTile<kThreads, 1>;

// Which places of the convolution a tile has.
enum class Pooling {
  kNone,     // a run of outputs
  kCorners,  // of a run of outputs, the four places that each is pooled from
  kLattice,  // a square of places pool_dilation apart, which neighbouring outputs share
};

constexpr int kSide = 16;  // of that square
constexpr int kPooledSide = kSide - 1;
constexpr int kPooledPitch = kPanelWidth + 4;
static_assert(kSide * kSide == Tile::kPlaces, "the square is the tile");
static_assert(Tile::kPlaces * kPooledPitch * sizeof(float) <= 2 * sizeof(Tile::Stage),
              "the places of a square are exchanged where the stages were");

struct Lattice {
  int64_t step;                  // from place to place: pool_dilation
  int64_t origins_y, origins_x;  // squares start at so many different pixels of a step
  int64_t squares_y, squares_x;  // for each of them
};

struct Square {
  int64_t b, y, x;  // the first output
};

struct TrunkJob {
  TrunkLayerParams params;
  Convolution conv;
  Lattice lattice;
  int64_t tiles;
  bool wide;  // outputs can be written 16 bytes at a time
};

__device__ __forceinline__ Square square_at(const Lattice& lattice, int64_t tile) {
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
__device__ __forceinline__ Square output_at(const FeaturesView<T>& out, int64_t n) {
  const int64_t x = n % out.width;
  n /= out.width;
  return {n / out.height, n % out.height, x};
}

template <typename T>
__device__ __forceinline__ int64_t count_outputs(const FeaturesView<T>& out) {
  return out.batch * out.height * out.width;
}

// Where the patch of a tile's p-th place starts. Places without an output are those of the last.
template <Pooling kPooling>
__device__ __forceinline__ const float* patch_of(const TrunkJob& job, int64_t tile, int p) {
  const auto& out = job.params.output;
  if (kPooling == Pooling::kLattice) {
    const int64_t step = job.lattice.step;
    const Square first = square_at(job.lattice, tile);
    return pixel_at(job.params.input, first.b,
                    at_most(first.y + p / kSide * step, out.height - 1 + step),
                    at_most(first.x + p % kSide * step, out.width - 1 + step));
  }
  const int64_t last = count_outputs(out) - 1;
  if (kPooling == Pooling::kNone) {
    const Square at = output_at(out, at_most(tile * Tile::kPlaces + p, last));
    return pixel_at(job.params.input, at.b, at.y, at.x);
  }
  // Row by row of the thread's sums: it has the four corners of two outputs.
  const int i = p / Tile::kRows;
  const int64_t n = tile * (Tile::kPlaces / 4) + i / 4 * Tile::kRows + p % Tile::kRows;
  const Square at = output_at(out, at_most(n, last));
  const int64_t stride = job.params.pool_stride;
  const int64_t reach = job.params.pool_dilation;
  return pixel_at(job.params.input, at.b, at.y * stride + (i / 2 % 2) * reach,
                  at.x * stride + (i % 2) * reach);
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

__device__ __forceinline__ void store(const TrunkJob& job, const Square& at, int64_t channel,
                                      const float4& values) {
  if (channel >= job.params.layer.outputs) return;
  float* to = pixel_at(job.params.output, at.b, at.y, at.x) + channel;
  if (job.wide) {
    *reinterpret_cast<float4*>(to) = values;
  } else {
    to[0] = values.x;
    to[1] = values.y;
    to[2] = values.z;
    to[3] = values.w;
  }
}

template <Pooling kPooling>
__device__ __forceinline__ void write_runs(const TrunkJob& job, int64_t tile, int64_t panel,
                                           const float (&sums)[8][8]) {
  constexpr int kPooled = kPooling == Pooling::kNone ? 1 : 4;
  const auto& out = job.params.output;
#pragma unroll
  for (int i = 0; i < 8; i += kPooled) {
    const int64_t n = tile * (Tile::kPlaces / kPooled) + i / kPooled * Tile::kRows + Tile::row();
    if (n >= count_outputs(out)) continue;
    const Square at = output_at(out, n);
#pragma unroll
    for (int run = 0; run < 2; ++run) {
      float4 corners[kPooled];
#pragma unroll
      for (int corner = 0; corner < kPooled; ++corner) {
        const float (&sum)[8] = sums[i + corner];
        corners[corner] = {sum[4 * run], sum[4 * run + 1], sum[4 * run + 2], sum[4 * run + 3]};
      }
      const float4 value = kPooling == Pooling::kNone
                               ? corners[0]
                               : pool_four(corners[0], corners[1 % kPooled], corners[2 % kPooled],
                                           corners[3 % kPooled]);
      store(job, at, panel * kPanelWidth + Tile::output(run), value);
    }
  }
}

__device__ __forceinline__ void write_square(const TrunkJob& job, int64_t tile, int64_t panel,
                                             const float (&sums)[8][8], float* places) {
  __syncthreads();
#pragma unroll
  for (int i = 0; i < 8; ++i) {
#pragma unroll
    for (int run = 0; run < 2; ++run) {
      *reinterpret_cast<float4*>(places + Tile::place(i) * kPooledPitch + Tile::output(run)) = {
          sums[i][4 * run], sums[i][4 * run + 1], sums[i][4 * run + 2], sums[i][4 * run + 3]};
    }
  }
  __syncthreads();
  const Square first = square_at(job.lattice, tile);
  constexpr int kRuns = kPanelWidth / 4;
  for (int i = threadIdx.x; i < kPooledSide * kPooledSide * kRuns; i += kThreads) {
    const int run = i % kRuns;
    const int row = i / kRuns / kPooledSide;
    const int column = i / kRuns % kPooledSide;
    const Square at{first.b, first.y + row * job.lattice.step, first.x + column * job.lattice.step};
    if (at.y >= job.params.output.height || at.x >= job.params.output.width) continue;
    const float* corner = places + (row * kSide + column) * kPooledPitch + 4 * run;
    const auto at_corner = [&](int y, int x) {
      return *reinterpret_cast<const float4*>(corner + (y * kSide + x) * kPooledPitch);
    };
    store(job, at, panel * kPanelWidth + 4 * run,
          pool_four(at_corner(0, 0), at_corner(0, 1), at_corner(1, 0), at_corner(1, 1)));
  }
}

template <Pooling kPooling>
__global__ void __launch_bounds__(kThreads, 3) sum_trunk_layer(TrunkJob job) {
  auto* tile = shared_array<Tile::Shared>();
  const int panels = job.conv.panels;
  for (int64_t work = blockIdx.x; work < job.tiles * panels; work += gridDim.x) {
    const int64_t panel = work % panels;
    for (int p = threadIdx.x; p < Tile::kPlaces; p += kThreads) {
      tile->places[p] = patch_of<kPooling>(job, work / panels, p);
    }
    if (threadIdx.x == 0) {
      tile->conv = job.conv;
      tile->first_panel = static_cast<int>(panel);
    }
    __syncthreads();
    float sums[8][8];
    Tile::sum(tile, sums);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
#pragma unroll
      for (int j = 0; j < 8; ++j) sums[i][j] = rectify(sums[i][j]);
    }
    if (kPooling == Pooling::kLattice) {
      write_square(job, work / panels, panel, sums, reinterpret_cast<float*>(tile->stages));
    } else {
      write_runs<kPooling>(job, work / panels, panel, sums);
    }
    __syncthreads();
  }
}

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

cudaError_t launch_trunk_layer(const TrunkLayerParams& params, cudaStream_t stream) {
  const auto& out = params.output;
  const int64_t outputs = out.batch * out.height * out.width;
  if (outputs == 0) return cudaSuccess;
  TrunkJob job{};
  job.params = params;
  if (!make_convolution(params.input, params.layer, params.kernel_size, params.dilation,
                        is_wide(params.input), &job.conv)) {
    return cudaErrorInvalidValue;
  }
  job.wide = is_wide(out);
  const auto start = [&](auto* kernel, int64_t tiles) {
    job.tiles = tiles;
    return launch(kernel, blocks_for(tiles * job.conv.panels, 1), kThreads, sizeof(Tile::Shared),
                  stream, job);
  };
  if (params.pool_stride == 0) {
    return start(sum_trunk_layer<Pooling::kNone>, divide_up(outputs, Tile::kPlaces));
  }
  if (params.pool_stride != 1) {
    return start(sum_trunk_layer<Pooling::kCorners>, divide_up(outputs, Tile::kPlaces / 4));
  }
  Lattice& lattice = job.lattice;
  const int64_t step = params.pool_dilation;
  if (step < 1) return cudaErrorInvalidValue;
  lattice = {step, step < out.height ? step : out.height, step < out.width ? step : out.width,
             divide_up(divide_up(out.height, step), kPooledSide),
             divide_up(divide_up(out.width, step), kPooledSide)};
  return start(
      sum_trunk_layer<Pooling::kLattice>,
      out.batch * lattice.origins_y * lattice.squares_y * lattice.origins_x * lattice.squares_x);
}

}  // namespace dvfast
