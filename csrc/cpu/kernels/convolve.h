// The convolution that trunk and head share: a few pixels at a time, their outputs in registers.
// No include guard; see ../each_instruction_set.h.

// What one output sums over: rows of taps, each tap so many numbers side by side.
struct Taps {
  int64_t rows, row_step;
  int64_t count, step;
  int64_t length;
};

// Pixels that lie evenly spaced, at most Simd::kMaxPixels of them.
struct PixelRun {
  const float* first;
  int64_t count;
};

struct Destination {
  float* data;
  int64_t step;  // from pixel to pixel
};

// Weights are fetched so far ahead of their use.
constexpr int64_t kPrefetchedInputs = 16;

template <int kPixels, int kVectors, int kStep>
void convolve_pixels(const float* input, int64_t any_step, const Taps& taps, const float* weight,
                     const float* bias, float* output, int64_t output_step, bool rectified) {
  using Vector = Simd::Vector;
  constexpr int kLanes = Simd::kLanes;
  const int64_t pixel_step = kStep ? kStep : any_step;
  Vector sums[kPixels][kVectors];
#pragma GCC unroll 16
  for (int p = 0; p < kPixels; ++p)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sums[p][v] = Simd::load(bias + v * kLanes);
  for (int64_t row = 0; row < taps.rows; ++row) {
    for (int64_t tap = 0; tap < taps.count; ++tap) {
      const float* x = input + row * taps.row_step + tap * taps.step;
#pragma GCC unroll 4
      for (int64_t i = 0; i < taps.length; ++i) {
        Vector weights[kVectors];
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          weights[v] = Simd::load(weight + v * kLanes);
          if (v * kLanes % 16 == 0)
            __builtin_prefetch(weight + kPrefetchedInputs * kPanelWidth + v * kLanes);
        }
        weight += kPanelWidth;
#pragma GCC unroll 16
        for (int p = 0; p < kPixels; ++p) {
          const Vector value = Simd::broadcast(x[p * pixel_step]);
#pragma GCC unroll 4
          for (int v = 0; v < kVectors; ++v)
            sums[p][v] = Simd::multiply_add(value, weights[v], sums[p][v]);
        }
        ++x;
      }
    }
  }
  if (rectified) {
#pragma GCC unroll 16
    for (int p = 0; p < kPixels; ++p)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[p][v] = Simd::rectify(sums[p][v]);
  }
#pragma GCC unroll 16
  for (int p = 0; p < kPixels; ++p)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v)
      Simd::store(output + p * output_step + v * kLanes, sums[p][v]);
}

using ConvolvePixels = void (*)(const float*, int64_t, const Taps&, const float*, const float*,
                                float*, int64_t, bool);

template <int kVectors, int kStep, int... kCounts>
ConvolvePixels kernel_for(int64_t pixels, std::integer_sequence<int, kCounts...>) {
  static constexpr ConvolvePixels kKernels[] = {convolve_pixels<kCounts + 1, kVectors, kStep>...};
  return kKernels[pixels - 1];
}

// Steps known beforehand make addresses without a register each: a tenth more speed. These are the
// steps of an RGB image and of maps of 32 channels.
template <int kVectors>
ConvolvePixels kernel_for(int64_t pixels, int64_t pixel_step) {
  constexpr std::make_integer_sequence<int, Simd::kMaxPixels> kCounts;
  switch (pixel_step) {
    case 3: return kernel_for<kVectors, 3>(pixels, kCounts);
    case 32: return kernel_for<kVectors, 32>(pixels, kCounts);
    default: return kernel_for<kVectors, 0>(pixels, kCounts);
  }
}

// Outputs [first, last) of a layer, whole multiples of kChannelBlock, at all pixels of the runs.
// The runs share a panel of weights, which comes from the second cache as fast as it is used.
inline void convolve(const PixelRun* runs, int64_t num_runs, int64_t pixel_step, const Taps& taps,
                     const PackedLayer& layer, int64_t first, int64_t last, Destination to,
                     bool rectified) {
  constexpr int64_t kWide = Simd::kLanes * Simd::kVectors;
  constexpr int kNarrow = kChannelBlock / Simd::kLanes;
  const int64_t panel_size = taps.rows * taps.count * taps.length * kPanelWidth;
  for (int64_t output = first; output < last;) {
    const int64_t in_panel = output % kPanelWidth;
    const bool wide = std::min(last - output, kPanelWidth - in_panel) >= kWide;
    const float* weight = layer.weight + output / kPanelWidth * panel_size + in_panel;
    float* there = to.data + output - first;
    for (int64_t r = 0; r < num_runs; ++r) {
      const ConvolvePixels kernel = wide ? kernel_for<Simd::kVectors>(runs[r].count, pixel_step)
                                         : kernel_for<kNarrow>(runs[r].count, pixel_step);
      kernel(runs[r].first, pixel_step, taps, weight, layer.bias + output, there, to.step,
             rectified);
      there += runs[r].count * to.step;
    }
    output += wide ? kWide : kChannelBlock;
  }
}

inline int64_t runs_in_row(int64_t pixels) { return divide_up(pixels, Simd::kMaxPixels); }

// All runs of a row are of one length or one less.
inline int64_t begin_of_run(int64_t pixels, int64_t index) {
  return pixels * index / runs_in_row(pixels);
}

inline PixelRun run_of_row(const float* row, int64_t pixels, int64_t pixel_step, int64_t index) {
  const int64_t begin = begin_of_run(pixels, index);
  return {row + begin * pixel_step, begin_of_run(pixels, index + 1) - begin};
}

// A square kernel over a map. Taps that touch one another are one long tap.
inline Taps taps_of(const FeaturesView<const float>& input, int64_t kernel_size, int64_t dilation) {
  const int64_t step = dilation * input.x_stride;
  if (step == input.channels)
    return {kernel_size, dilation * input.y_stride, 1, 0, kernel_size * input.channels};
  return {kernel_size, dilation * input.y_stride, kernel_size, step, input.channels};
}
