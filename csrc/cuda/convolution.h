// Convolutions of core/network.h as products of matrices: places (of the output map) by depth (all
// channels of all taps, in order) times depth by outputs.
//
// A thread sums 8 places by 8 outputs, all of the depth by itself: that keeps the order of its
// multiply-adds. For 64 of them it reads 16 numbers from shared memory, 1 byte per multiply-add; a
// multiprocessor does 128 multiply-adds while its shared memory gives 128 bytes, and the threads of
// a warp that read the same number share it, so that the arithmetic is the limit. The next piece of
// the depth is copied meanwhile.
#pragma once

#include "../core/network.h"
#include "async_copy.h"
#include "launch.h"

namespace dvfast {

constexpr int kChunk = 16;          // of the depth, in shared memory at once
constexpr int kPitch = kChunk + 4;  // of places there: the rows of 8 threads lie in all 32 banks

// threadIdx.x, so that what follows from it is computed where it is wanted: kept from one chunk to
// the next, it would take registers from the sums.
__device__ __forceinline__ int thread_index() {
  int index = threadIdx.x;
#if defined(__CUDA_ARCH__)
  asm volatile("" : "+r"(index));
#endif
  return index;
}

// What a tile is made of besides its places.
struct Convolution {
  PackedLayer layer;
  int y_step, x_step;  // from tap to tap
  int kernel_size, inputs, depth, panels;
  bool wide;  // channels come in whole chunks, at multiples of 16 bytes
};

template <typename T>
bool is_wide(const FeaturesView<T>& map) {
  return is_aligned(map.data) && map.batch_stride % 4 == 0 && map.y_stride % 4 == 0 &&
         map.x_stride % 4 == 0;
}

// False if the weights lie between 16 bytes and the next, or a window of the input reaches further
// than 32 bits count.
template <typename T>
bool make_convolution(const FeaturesView<T>& input, const PackedLayer& layer, int64_t kernel_size,
                      int64_t dilation, bool wide, Convolution* result) {
  const int64_t depth = kernel_size * kernel_size * layer.inputs;
  const int64_t y_step = dilation * input.y_stride;
  const int64_t x_step = dilation * input.x_stride;
  if (!is_aligned(layer.weight)) return false;
  if (depth < 1 || depth > INT32_MAX || layer.outputs > INT32_MAX) return false;
  if (kernel_size * (std::abs(y_step) + std::abs(x_step)) + layer.inputs > INT32_MAX) return false;
  *result = {layer,
             static_cast<int>(y_step),
             static_cast<int>(x_step),
             static_cast<int>(kernel_size),
             static_cast<int>(layer.inputs),
             static_cast<int>(depth),
             static_cast<int>(divide_up(layer.outputs, kPanelWidth)),
             wide && layer.inputs % kChunk == 0};
  return true;
}

// A tile of kPlaces places by kPanels panels of outputs; kWide: of wide layers only.
template <int kThreads, int kPanels, bool kWide = false>
struct ConvolutionTile {
  static constexpr int kColumns = 4 * kPanels;  // threads side by side along the outputs
  static constexpr int kRows = kThreads / kColumns;
  static constexpr int kPlaces = 8 * kRows;
  static constexpr int kOutputs = kPanels * kPanelWidth;

  // Where a chunk of a wide layer starts, relative to the place.
  struct Window {
    int channel, column, offset;
    __device__ __forceinline__ void advance(const Convolution& conv) {
      channel += kChunk;
      offset += kChunk;
      if (channel < conv.inputs) return;
      channel = 0;
      offset += conv.x_step - conv.inputs;
      if (++column < conv.kernel_size) return;
      column = 0;
      offset += conv.y_step - conv.kernel_size * conv.x_step;
    }
  };

  struct Stage {
    float features[kPlaces * kPitch];
    float weights[kPanels * kChunk * kPanelWidth];
  };
  struct Shared {
    Stage stages[2];  // behind a barrier, also for what the tile is needed for afterwards
    const float* places[kPlaces];  // where the first tap of each place starts
    // What follows is here to be read anew for every chunk: registers are for the sums.
    Convolution conv;
    int first_panel;
    Window windows[2];
  };

  // In a quarter of a warp, 4 rows and 2 columns differ: what its threads read together from shared
  // memory lies in different banks and is read for several of them.
  static __device__ __forceinline__ int column() {
    const int thread = thread_index();
    const int lane = thread % kWarpSize;
    return thread / kWarpSize % kPanels * 4 + ((lane & 1) | (lane >> 4) << 1);
  }
  static __device__ __forceinline__ int row() {
    const int thread = thread_index();
    const int lane = thread % kWarpSize;
    return thread / kWarpSize / kPanels * 8 + (lane >> 1 & 7);
  }
  // Of the thread's i-th sum, in the tile; outputs come in two runs of four.
  static __device__ __forceinline__ int place(int i) { return row() + kRows * i; }
  static __device__ __forceinline__ int output(int run) { return 4 * (column() + kColumns * run); }

  static __device__ __forceinline__ void load_weights(int chunk, const Shared& tile, Stage* stage) {
    const Convolution& conv = tile.conv;
    constexpr int kPieces = kChunk * kPanelWidth / 4;  // of a panel, 16 bytes each
    constexpr int kPanelsAtOnce = kThreads / kPieces;
    static_assert(kThreads % kPieces == 0 && kPanels % kPanelsAtOnce == 0, "");
    const int thread = thread_index();
    const int piece = thread % kPieces;
    if (!kWide && chunk * kChunk + piece / (kPanelWidth / 4) >= conv.depth) return;
#pragma unroll
    for (int n = 0; n < kPanels; n += kPanelsAtOnce) {
      // Beyond the last panel, that one again: nobody asks for the result.
      const int panel = tile.first_panel + n + thread / kPieces;
      const int64_t row =
          static_cast<int64_t>(panel < conv.panels ? panel : conv.panels - 1) * conv.depth +
          chunk * kChunk;
      stream_async(stage->weights + 4 * (thread + n * kPieces),
                   conv.layer.weight + row * kPanelWidth + 4 * piece);
    }
  }

  static __device__ __forceinline__ void load_features(int chunk, Shared* tile, Stage* stage) {
    const Convolution& conv = tile->conv;
    if (kWide || conv.wide) {
      const Window* window = &tile->windows[chunk & 1];
      const int offset = chunk == 0 ? 0 : window->offset;
      if (threadIdx.x == 0) {
        Window next = chunk == 0 ? Window{} : *window;
        next.advance(conv);
        tile->windows[(chunk + 1) & 1] = next;
      }
      constexpr int kPieces = kChunk / 4;
      constexpr int kPlacesAtOnce = kThreads / kPieces;
      const int thread = thread_index();
      const int piece = thread % kPieces * 4;
#pragma unroll
      for (int n = 0; n < kPlaces; n += kPlacesAtOnce) {
        const int place = n + thread / kPieces;
        copy_async<16>(stage->features + place * kPitch + piece,
                       tile->places[place] + (offset + piece));
      }
      return;
    }
    const int k = threadIdx.x % kChunk;
    const int channel = chunk * kChunk + k;
    if (channel >= conv.depth) return;
    const int tap = channel / conv.inputs;
    const int offset = tap / conv.kernel_size * conv.y_step + tap % conv.kernel_size * conv.x_step +
                       channel % conv.inputs;
#pragma unroll 1
    for (int place = threadIdx.x / kChunk; place < kPlaces; place += kThreads / kChunk) {
      copy_async<4>(stage->features + place * kPitch + k, tile->places[place] + offset);
    }
  }

  // Where the thread's features and weights lie in a stage.
  static __device__ __forceinline__ const float* my_features(const Stage& stage) {
    return stage.features + row() * kPitch;
  }
  static __device__ __forceinline__ const float* my_weights(const Stage& stage) {
    const int first = output(0);
    return stage.weights + first / kPanelWidth * kChunk * kPanelWidth + first % kPanelWidth;
  }

  static __device__ __forceinline__ void add(const float (&features)[8], const float* weights,
                                             float (&sums)[8][8]) {
    // From the first run of outputs to the second.
    constexpr int kStep = kPanels == 1 ? kPanelWidth / 2 : kPanels / 2 * kChunk * kPanelWidth;
    const float4 first = *reinterpret_cast<const float4*>(weights);
    const float4 second = *reinterpret_cast<const float4*>(weights + kStep);
    const float eight[8] = {first.x,  first.y,  first.z,  first.w,
                            second.x, second.y, second.z, second.w};
#pragma unroll
    for (int i = 0; i < 8; ++i) {
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        sums[i][j] = fused_multiply_add(features[i], eight[j], sums[i][j]);
      }
    }
  }

  static __device__ __forceinline__ void add_chunk(const Stage& stage, float (&sums)[8][8]) {
    const float* features = my_features(stage);
    const float* weights = my_weights(stage);
    // Two at a time: four leave too few registers on some architectures.
#pragma unroll 1
    for (int k = 0; k < kChunk; k += 2) {
      float numbers[2][8];
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const float2 two = *reinterpret_cast<const float2*>(features + i * kRows * kPitch);
        numbers[0][i] = two.x;
        numbers[1][i] = two.y;
      }
#pragma unroll
      for (int j = 0; j < 2; ++j) add(numbers[j], weights + j * kPanelWidth, sums);
      features += 2;
      weights += 2 * kPanelWidth;
    }
  }

  // What is left of the depth. Zeros in place of it would not do: they turn -0 into 0.
  static __device__ __forceinline__ void add_rest(const Stage& stage, int rest,
                                                  float (&sums)[8][8]) {
    const float* features = my_features(stage);
    const float* weights = my_weights(stage);
#pragma unroll 1
    for (int k = 0; k < rest; ++k) {
      float eight[8];
#pragma unroll
      for (int i = 0; i < 8; ++i) eight[i] = features[i * kRows * kPitch + k];
      add(eight, weights + k * kPanelWidth, sums);
    }
  }

  // All threads of the block take part, after a barrier behind what was written to places, conv and
  // first_panel. The stages may be used again after the next one.
  static __device__ __forceinline__ void sum(Shared* tile, float (&sums)[8][8]) {
    const Convolution& conv = tile->conv;
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      const int64_t channel =
          static_cast<int64_t>(tile->first_panel) * kPanelWidth + output(j / 4) + j % 4;
      const float bias = channel < conv.layer.outputs ? conv.layer.bias[channel] : 0.0f;
#pragma unroll
      for (int i = 0; i < 8; ++i) sums[i][j] = bias;
    }
    const auto load = [&](int chunk) {
      Stage* stage = &tile->stages[chunk & 1];
      load_weights(chunk, *tile, stage);
      load_features(chunk, tile, stage);
      commit_copies();
    };
    load(0);
#pragma unroll 1
    for (int chunk = 0;; ++chunk) {
      wait_for_copies<0>();
      __syncthreads();
      const int left = conv.depth - chunk * kChunk;
      if (left > kChunk) load(chunk + 1);
      const Stage& stage = tile->stages[chunk & 1];
      if (kWide || left >= kChunk) {
        add_chunk(stage, sums);
      } else {
        add_rest(stage, left, sums);
      }
      if (left <= kChunk) break;
    }
  }
};

}  // namespace dvfast
