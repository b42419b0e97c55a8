// Convolutions as products of matrices, as convolution.h has them, by matrix instructions.
#pragma once

#include <cstdlib>
#include <type_traits>

#include "../core/half.h"
#include "../core/network.h"
#include "async_copy.h"
#include "launch.h"
#include "matrix_precision.h"
#include "tensor_cores.h"

namespace dvfast {

constexpr int kMatrixPlaces = 256;  // of a tile
constexpr int kStages = 3;
constexpr int kChunkBytes = 64;
constexpr int kPieces = kChunkBytes / 16;
constexpr int kPanelBytes = kPanelWidth * kChunkBytes;

template <MatrixPrecision kPrecision>
struct Format {
  static constexpr bool kBfloat16 = kPrecision == MatrixPrecision::kBfloat16;
  static constexpr bool kSplit = kPrecision == MatrixPrecision::kFloat32;
  using Number = std::conditional_t<kBfloat16, bfloat16, float>;
  static constexpr int kChunk = kChunkBytes / sizeof(Number);
  static constexpr int kPerPiece = kChunk / kPieces;
  static constexpr int kWeightBytes = kPanelBytes * (kSplit ? 2 : 1);  // of a chunk of a panel
};

struct MatrixConvolution {
  PackedLayer layer;
  int inputs, kernel_size, chunks, panels;
  int y_step, x_step;  // from tap to tap
};

// False for what the kernels cannot do: they copy 16 bytes at a time and count 32 bits in a window.
template <MatrixPrecision kPrecision>
bool make_matrix_convolution(const FeaturesView<const typename Format<kPrecision>::Number>& map,
                             const PackedLayer& layer, int64_t kernel_size, int64_t dilation,
                             MatrixConvolution* result) {
  using F = Format<kPrecision>;
  const int64_t depth = kernel_size * kernel_size * layer.inputs;
  const int64_t y_step = dilation * map.y_stride, x_step = dilation * map.x_stride;
  if (!is_aligned(map.data) || !is_aligned(layer.weight) || map.batch_stride % F::kPerPiece != 0 ||
      map.y_stride % F::kPerPiece != 0 || map.x_stride % F::kPerPiece != 0 ||
      layer.inputs % kChannelBlock != 0 || depth < 1 || depth > INT32_MAX / 2 ||
      layer.outputs > INT32_MAX / 2 ||
      kernel_size * (std::abs(y_step) + std::abs(x_step)) + layer.inputs > INT32_MAX) {
    return false;
  }
  *result = {layer,
             static_cast<int>(layer.inputs),
             static_cast<int>(kernel_size),
             static_cast<int>(divide_up(depth, F::kChunk)),
             static_cast<int>(divide_up(layer.outputs, kPanelWidth)),
             static_cast<int>(y_step),
             static_cast<int>(x_step)};
  return true;
}

// Whether what the current device runs of a kernel was compiled for this compute capability (times
// ten) or a later one. Code for older devices, which newer ones run too if it was kept as PTX,
// lacks their matrix instructions.
template <typename... Parameters>
bool is_compiled_for(int capability, void (*kernel)(Parameters...)) {
  cudaFuncAttributes attributes{};
  if (cudaFuncGetAttributes(&attributes, kernel) != cudaSuccess) {
    cudaGetLastError();  // told by the result, and not once more by whoever asks next
    return false;
  }
  return attributes.ptxVersion >= capability;
}

// With more shared memory than kernels have unasked.
template <typename... Parameters>
cudaError_t launch_with(size_t shared_bytes, void (*kernel)(Parameters...), dim3 grid, dim3 block,
                        cudaStream_t stream, const Parameters&... arguments) {
  const cudaError_t error = cudaFuncSetAttribute(
      kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
  if (error != cudaSuccess) return error;
  return launch(kernel, grid, block, shared_bytes, stream, arguments...);
}

__device__ __forceinline__ float as_float(uint32_t bits) {
  return float_from_bits(static_cast<int32_t>(bits));
}

// What TF32 holds of the numbers, and what it leaves.
template <bool kSplit>
__device__ __forceinline__ void round_to_tf32(uint32_t (&numbers)[4], uint32_t (&rests)[4]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float value = as_float(numbers[i]);
    numbers[i] = to_tf32(value);
    if (kSplit) rests[i] = to_tf32(value - as_float(numbers[i]));
  }
}

// Tensor cores cut off what a sum has no room for, always towards zero. So the products of three
// factors are summed apart and added by the ordinary adder, which rounds to the nearest.
template <bool kSplit>
__device__ __forceinline__ void multiply(const uint32_t (&a)[4], const uint32_t (&a_rest)[4],
                                         const uint32_t* b, const uint32_t* b_rest,
                                         float (&sums)[4]) {
  if (!kSplit) return multiply_tf32(a, b[0], b[1], sums);
  float products[4] = {};
  multiply_tf32(a_rest, b[0], b[1], products);
  multiply_tf32(a, b_rest[0], b_rest[1], products);
  multiply_tf32(a, b[0], b[1], products);
#pragma unroll
  for (int i = 0; i < 4; ++i) sums[i] += products[i];
}

struct alignas(16) FourWords {
  uint32_t words[4];
};

// kMatrixPlaces places by kPanels panels of outputs. A warp sums 16 * kRows places by 16 * kPairs
// outputs: in `sums`, of each 16 places by 8 outputs, what one lane has.
template <MatrixPrecision kPrecision, int kPanels, int kRows, int kPairs>
struct MatrixTile {
  using F = Format<kPrecision>;
  using Number = typename F::Number;
  using Sums = float[kRows][2 * kPairs][4];
  static constexpr int kWarpsOfPlaces = kMatrixPlaces / (16 * kRows);
  static_assert(kThreadsPerBlock == kWarpSize * kWarpsOfPlaces * (2 * kPanels / kPairs), "");

  struct Stage {
    alignas(16) unsigned char features[kMatrixPlaces * kChunkBytes];
    alignas(16) unsigned char weights[kPanels * F::kWeightBytes];
  };
  struct Shared {
    Stage stages[kStages];  // behind a barrier, also for what the tile is needed for afterwards
    const Number* patches[kMatrixPlaces];
  };

  // Where a thread's piece of the next chunk lies, relative to the patch.
  struct Window {
    int channel, column, row;
    __device__ __forceinline__ void settle(const MatrixConvolution& conv) {
      while (channel >= conv.inputs) {
        channel -= conv.inputs;
        if (++column == conv.kernel_size) {
          column = 0;
          ++row;
        }
      }
    }
  };

  // The first of the warp's places and panels, in the tile.
  static __device__ __forceinline__ int first_place() {
    return static_cast<int>(threadIdx.x / kWarpSize % kWarpsOfPlaces) * 16 * kRows;
  }
  static __device__ __forceinline__ int first_panel() {
    return static_cast<int>(threadIdx.x / kWarpSize / kWarpsOfPlaces) * kPairs / 2;
  }

  // Rows of four pieces: where a piece lies depends on its row, so that the same piece of eight
  // rows lies in all banks.
  static __device__ __forceinline__ int place_of(int row, int piece) {
    return row * kChunkBytes + (piece ^ (row >> 1 & 3)) * 16;
  }

  static __device__ __forceinline__ void load(const MatrixConvolution& conv, int panels_first,
                                              int chunk, Window* window, Shared* tile) {
    if (chunk < conv.chunks) {
      Stage* stage = &tile->stages[chunk % kStages];
      const int piece = threadIdx.x % kPieces;
      window->settle(conv);
      const bool wanted = window->row < conv.kernel_size;
      const int offset = window->row * conv.y_step + window->column * conv.x_step + window->channel;
#pragma unroll
      for (int n = 0; n < kMatrixPlaces; n += kThreadsPerBlock / kPieces) {
        const int place = n + threadIdx.x / kPieces;
        copy_async<16>(stage->features + place_of(place, piece),
                       tile->patches[place] + (wanted ? offset : 0), wanted);
      }
      window->channel += F::kChunk;
      constexpr int kPiecesOfPanel = F::kWeightBytes / 16;
#pragma unroll
      for (int n = 0; n < kPanels * kPiecesOfPanel; n += kThreadsPerBlock) {
        const int i = n + threadIdx.x;
        if (kPanels * kPiecesOfPanel < kThreadsPerBlock && i >= kPanels * kPiecesOfPanel) continue;
        // Beyond the last panel, that one again: nobody asks for the result.
        int panel = panels_first + i / kPiecesOfPanel;
        if (panel >= conv.panels) panel = conv.panels - 1;
        const auto* weights = reinterpret_cast<const unsigned char*>(conv.layer.weight);
        stream_async(stage->weights + 16 * i,
                     weights +
                         (static_cast<int64_t>(panel) * conv.chunks + chunk) * F::kWeightBytes +
                         i % kPiecesOfPanel * 16);
      }
    }
    commit_copies();
  }

  static __device__ __forceinline__ void add_chunk(const Stage& stage, Sums& sums) {
    const int lane = threadIdx.x % kWarpSize;
    const auto* weights =
        reinterpret_cast<const FourWords*>(stage.weights + first_panel() * F::kWeightBytes);
    // Both steps at once would take more registers than there are for split features.
#pragma unroll(F::kSplit ? 1 : 2)
    for (int step = 0; step < 2; ++step) {
      uint32_t features[kRows][4], rests[kRows][4] = {};
#pragma unroll
      for (int m = 0; m < kRows; ++m) {
        const int row = first_place() + 16 * m + lane % 16;
        load_matrices(stage.features + place_of(row, 2 * step + lane / 16), features[m]);
        if (!F::kBfloat16) round_to_tf32<F::kSplit>(features[m], rests[m]);
      }
#pragma unroll
      for (int pair = 0; pair < kPairs; ++pair) {
        constexpr int kRests = kPanelBytes / 16;  // behind the weights' larger parts
        const int at = pair / 2 * (F::kWeightBytes / 16) + (2 * step + pair % 2) * kWarpSize + lane;
        const FourWords two = weights[at];
        const FourWords two_rests = F::kSplit ? weights[at + kRests] : FourWords{};
#pragma unroll
        for (int half = 0; half < 2; ++half) {
#pragma unroll
          for (int m = 0; m < kRows; ++m) {
            float (&sum)[4] = sums[m][2 * pair + half];
            if (F::kBfloat16) {
              multiply_bfloat16(features[m], two.words[2 * half], two.words[2 * half + 1], sum);
            } else {
              multiply<F::kSplit>(features[m], rests[m], two.words + 2 * half,
                                  two_rests.words + 2 * half, sum);
            }
          }
        }
      }
    }
  }

  // Of the panels from `first` on. All threads of the block take part; a barrier comes first.
  static __device__ __forceinline__ void sum(const MatrixConvolution& conv, int first, Shared* tile,
                                             Sums& sums) {
#pragma unroll
    for (int n = 0; n < 2 * kPairs; ++n) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int64_t output =
            (first + first_panel()) * kPanelWidth + 8 * n + threadIdx.x % 4 * 2 + i;
        const float bias = output < conv.layer.outputs ? conv.layer.bias[output] : 0.0f;
#pragma unroll
        for (int m = 0; m < kRows; ++m) sums[m][n][i] = sums[m][n][i + 2] = bias;
      }
    }
    __syncthreads();
    Window window{static_cast<int>(threadIdx.x % kPieces) * F::kPerPiece, 0, 0};
    for (int chunk = 0; chunk < kStages - 1; ++chunk) load(conv, first, chunk, &window, tile);
#pragma unroll 1
    for (int chunk = 0; chunk < conv.chunks; ++chunk) {
      wait_for_copies<kStages - 2>();
      __syncthreads();
      load(conv, first, chunk + kStages - 1, &window, tile);
      add_chunk(tile->stages[chunk % kStages], sums);
    }
  }
};

}  // namespace dvfast
