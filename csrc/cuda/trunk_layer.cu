#include "convolution.h"
#include "shared_memory.h"
#include "trunk_layer.h"
#include "trunk_tile.h"

namespace dvfast {
namespace {

constexpr unsigned int kThreads = 128;
using Tile = ConvolutionTile<kThreads, 1>;
// A thread has the four corners of two outputs.
constexpr int kRuns = Tile::kPlaces / Tile::kRows;
static_assert(Tile::kPlaces == kTilePlaces && kSumsBytes <= 2 * sizeof(Tile::Stage),
              "sums are exchanged where the stages were");

struct TrunkJob {
  TrunkPlaces<float> places;
  Convolution conv;
};

__device__ __forceinline__ float4 four_of(const float (&sums)[8], int run) {
  return {sums[4 * run], sums[4 * run + 1], sums[4 * run + 2], sums[4 * run + 3]};
}

template <Pooling kPooling>
__device__ __forceinline__ void write_runs(const TrunkPlaces<float>& places, int64_t tile,
                                           int64_t panel, const float (&sums)[8][8]) {
  constexpr int kPooled = kPooling == Pooling::kNone ? 1 : 4;
#pragma unroll
  for (int i = 0; i < 8; i += kPooled) {
    const int64_t n = tile * (Tile::kPlaces / kPooled) + i / kPooled * Tile::kRows + Tile::row();
    if (n >= places.count()) continue;
    const Place at = output_at(places.output, n);
#pragma unroll
    for (int run = 0; run < 2; ++run) {
      const float4 first = four_of(sums[i], run);
      const float4 value = kPooled == 1 ? first
                                        : pool_four(first, four_of(sums[i + 1 % kPooled], run),
                                                    four_of(sums[i + 2 % kPooled], run),
                                                    four_of(sums[i + 3 % kPooled], run));
      write_outputs(places, at, panel * kPanelWidth + Tile::output(run), value);
    }
  }
}

template <Pooling kPooling>
__global__ void __launch_bounds__(kThreads, 3) sum_trunk_layer(TrunkJob job) {
  const auto& places = job.places;
  auto* tile = shared_array<Tile::Shared>();
  const int panels = job.conv.panels;
  for (int64_t work = blockIdx.x; work < places.tiles * panels; work += gridDim.x) {
    const int64_t panel = work % panels;
    for (int p = threadIdx.x; p < Tile::kPlaces; p += kThreads) {
      tile->places[p] = patch_of<kPooling, kRuns>(places, work / panels, p);
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
      auto* exchange = reinterpret_cast<float*>(tile->stages);
      __syncthreads();
#pragma unroll
      for (int i = 0; i < 8; ++i) {
#pragma unroll
        for (int run = 0; run < 2; ++run) {
          *reinterpret_cast<float4*>(exchange + Tile::place(i) * kSumsPitch + Tile::output(run)) =
              four_of(sums[i], run);
        }
      }
      __syncthreads();
      write_square<kThreads>(places, work / panels, panel, exchange);
    } else {
      write_runs<kPooling>(places, work / panels, panel, sums);
    }
    __syncthreads();
  }
}

}  // namespace

cudaError_t launch_trunk_layer(const TrunkLayerParams& params, cudaStream_t stream) {
  const auto& out = params.output;
  if (out.batch * out.height * out.width == 0) return cudaSuccess;
  TrunkJob job{};
  if (!make_convolution(params.input, params.layer, params.kernel_size, params.dilation,
                        is_wide(params.input), &job.conv) ||
      !make_places(params.input, out, params.pool_stride, params.pool_dilation,
                   params.layer.outputs, &job.places)) {
    return cudaErrorInvalidValue;
  }
  const auto kernel = params.pool_stride == 0   ? sum_trunk_layer<Pooling::kNone>
                      : params.pool_stride == 1 ? sum_trunk_layer<Pooling::kLattice>
                                                : sum_trunk_layer<Pooling::kCorners>;
  return launch(kernel, blocks_for(job.places.tiles * job.conv.panels, 1), kThreads,
                sizeof(Tile::Shared), stream, job);
}

}  // namespace dvfast
