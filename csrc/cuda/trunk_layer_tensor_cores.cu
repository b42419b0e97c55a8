#include "matrix_tile.h"
#include "shared_memory.h"
#include "trunk_layer_tensor_cores.h"
#include "trunk_tile.h"

namespace dvfast {
namespace {

// A panel of outputs at a time, as a trunk has few: a warp sums 32 places by 32 outputs.
template <MatrixPrecision kPrecision>
using TrunkTile = MatrixTile<kPrecision, 1, 2, 2>;
static_assert(kMatrixPlaces == kTilePlaces && kThreadsPerBlock == kTilePlaces,
              "a thread finds one patch");

template <MatrixPrecision kPrecision>
struct MatrixJob {
  TrunkPlaces<typename Format<kPrecision>::Number> places;
  MatrixConvolution conv;
};

// The corners of an output are so many places apart.
constexpr int kRuns = 8;
constexpr int kLength = kTilePlaces / kRuns;

template <Pooling kPooling, typename Number>
__device__ __forceinline__ void write_runs(const TrunkPlaces<Number>& places, int64_t tile,
                                           int64_t panel, const float* sums) {
  constexpr int kPooled = kPooling == Pooling::kNone ? 1 : 4;
  constexpr int kFours = kPanelWidth / 4;
  for (int i = threadIdx.x; i < kTilePlaces / kPooled * kFours; i += kThreadsPerBlock) {
    const int four = i % kFours;
    const int local = i / kFours;
    const int64_t n = tile * (kTilePlaces / kPooled) + local;
    if (n >= places.count()) continue;
    const int place = kPooled == 1 ? local : local / kLength * 4 * kLength + local % kLength;
    const auto at_corner = [&](int corner) {
      return *reinterpret_cast<const float4*>(sums + (place + corner * kLength) * kSumsPitch +
                                              4 * four);
    };
    const float4 value = kPooled == 1 ? at_corner(0)
                                      : pool_four(at_corner(0), at_corner(1 % kPooled),
                                                  at_corner(2 % kPooled), at_corner(3 % kPooled));
    write_outputs(places, output_at(places.output, n), panel * kPanelWidth + 4 * four, value);
  }
}

template <MatrixPrecision kPrecision, Pooling kPooling>
__global__ void __launch_bounds__(kThreadsPerBlock, 2)
    sum_trunk_layer_by_matrices(MatrixJob<kPrecision> job) {
  using Tile = TrunkTile<kPrecision>;
  static_assert(kSumsBytes <= kStages * sizeof(typename Tile::Stage),
                "sums are exchanged where the stages were");
  need_tensor_cores();
  auto* tile = shared_array<typename Tile::Shared>();
  auto* exchange = reinterpret_cast<float*>(tile->stages);
  const auto& places = job.places;
  const int panels = job.conv.panels;
  const int lane = threadIdx.x % kWarpSize;
  for (int64_t work = blockIdx.x; work < places.tiles * panels; work += gridDim.x) {
    const int panel = static_cast<int>(work % panels);
    tile->patches[threadIdx.x] = patch_of<kPooling, kRuns>(places, work / panels, threadIdx.x);
    typename Tile::Sums sums;
    Tile::sum(job.conv, panel, tile, sums);
    __syncthreads();
#pragma unroll
    for (int m = 0; m < 2; ++m) {
#pragma unroll
      for (int n = 0; n < 4; ++n) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int place = Tile::first_place() + 16 * m + 8 * half + lane / 4;
          *reinterpret_cast<float2*>(exchange + place * kSumsPitch + 8 * n + lane % 4 * 2) = {
              rectify(sums[m][n][2 * half]), rectify(sums[m][n][2 * half + 1])};
        }
      }
    }
    __syncthreads();
    if (kPooling == Pooling::kLattice) {
      write_square<kThreadsPerBlock>(places, work / panels, panel, exchange);
    } else {
      write_runs<kPooling>(places, work / panels, panel, exchange);
    }
  }
}

template <MatrixPrecision kPrecision>
bool make_job(const TrunkLayerParams& params,
              const FeaturesView<const typename Format<kPrecision>::Number>& input,
              const FeaturesView<typename Format<kPrecision>::Number>& output,
              MatrixJob<kPrecision>* job) {
  return make_matrix_convolution<kPrecision>(input, params.layer, params.kernel_size,
                                             params.dilation, &job->conv) &&
         make_places(input, output, params.pool_stride, params.pool_dilation, params.layer.outputs,
                     &job->places) &&
         is_compiled_for(80, sum_trunk_layer_by_matrices<kPrecision, Pooling::kNone>);
}

template <MatrixPrecision kPrecision>
cudaError_t start(const TrunkLayerParams& params,
                  const FeaturesView<const typename Format<kPrecision>::Number>& input,
                  const FeaturesView<typename Format<kPrecision>::Number>& output,
                  cudaStream_t stream) {
  if (output.batch * output.height * output.width == 0) return cudaSuccess;
  MatrixJob<kPrecision> job{};
  if (!make_job(params, input, output, &job)) return cudaErrorNotSupported;
  const auto kernel =
      params.pool_stride == 0   ? sum_trunk_layer_by_matrices<kPrecision, Pooling::kNone>
      : params.pool_stride == 1 ? sum_trunk_layer_by_matrices<kPrecision, Pooling::kLattice>
                                : sum_trunk_layer_by_matrices<kPrecision, Pooling::kCorners>;
  return launch_with(sizeof(typename TrunkTile<kPrecision>::Shared), kernel,
                     blocks_for(job.places.tiles * job.conv.panels, 1), kThreadsPerBlock, stream,
                     job);
}

}  // namespace

bool has_matrix_trunk_layer(const MatrixTrunkParams& params) {
  const TrunkLayerParams& trunk = params.trunk;
  MatrixJob<MatrixPrecision::kBfloat16> rounded{};
  MatrixJob<MatrixPrecision::kTf32> unrounded{};
  return params.precision == MatrixPrecision::kBfloat16
             ? make_job(trunk, params.rounded_input, params.rounded_output, &rounded)
             : make_job(trunk, trunk.input, trunk.output, &unrounded);
}

cudaError_t launch_matrix_trunk_layer(const MatrixTrunkParams& params, cudaStream_t stream) {
  const TrunkLayerParams& trunk = params.trunk;
  switch (params.precision) {
    case MatrixPrecision::kBfloat16:
      return start<MatrixPrecision::kBfloat16>(trunk, params.rounded_input, params.rounded_output,
                                               stream);
    case MatrixPrecision::kTf32:
      return start<MatrixPrecision::kTf32>(trunk, trunk.input, trunk.output, stream);
    default: return start<MatrixPrecision::kFloat32>(trunk, trunk.input, trunk.output, stream);
  }
}

}  // namespace dvfast
