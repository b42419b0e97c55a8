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

// So many numbers of each pixel's input are summed up before the next pixels come: their weights
// (24 KB) then stay in the first cache.
constexpr int64_t kInputsPerPass = 192;
// Weights are fetched so far ahead of their use.
constexpr int64_t kPrefetchedInputs = 16;

template <int kPixels, int kVectors>
void convolve_pixels(const float* input, int64_t pixel_step, const Taps& taps, const float* weight,
                     const float* start, int64_t start_step, float* output, int64_t output_step,
                     bool rectified) {
  using Vector = Simd::Vector;
  constexpr int kLanes = Simd::kLanes;
  Vector sums[kPixels][kVectors];
#pragma GCC unroll 16
  for (int p = 0; p < kPixels; ++p)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sums[p][v] = Simd::load(start + p * start_step + v * kLanes);
  for (int64_t row = 0; row < taps.rows; ++row) {
    for (int64_t tap = 0; tap < taps.count; ++tap) {
      const float* x = input + row * taps.row_step + tap * taps.step;
#pragma GCC unroll 2
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
                                int64_t, float*, int64_t, bool);

template <int kVectors, int... kCounts>
DVFAST_INLINE ConvolvePixels kernel_for(int64_t pixels, std::integer_sequence<int, kCounts...>) {
  static constexpr ConvolvePixels kKernels[] = {convolve_pixels<kCounts + 1, kVectors>...};
  return kKernels[pixels - 1];
}

template <int kVectors>
DVFAST_INLINE ConvolvePixels kernel_for(int64_t pixels) {
  return kernel_for<kVectors>(pixels, std::make_integer_sequence<int, Simd::kMaxPixels>());
}

// All runs, for the outputs of [first, first + width), which one panel holds.
template <int kVectors>
void convolve_outputs(const PixelRun* runs, int64_t num_runs, int64_t pixel_step, const Taps& taps,
                      const float* weight, const float* bias, Destination to, bool rectified) {
  // A pass is several rows of taps, or a part of the one tap there is; else one row.
  const int64_t row_length = taps.count * taps.length;
  const bool one_tap = taps.rows == 1 && taps.count == 1;
  const int64_t rows_per_pass = std::max<int64_t>(1, kInputsPerPass / row_length);
  const int64_t num_passes = one_tap ? (taps.length + kInputsPerPass - 1) / kInputsPerPass
                                     : (taps.rows + rows_per_pass - 1) / rows_per_pass;
  for (int64_t pass = 0; pass < num_passes; ++pass) {
    Taps part = taps;
    int64_t input_offset, done;
    if (one_tap) {
      done = input_offset = pass * kInputsPerPass;
      part.length = std::min(kInputsPerPass, taps.length - done);
    } else {
      const int64_t row = pass * rows_per_pass;
      part.rows = std::min(rows_per_pass, taps.rows - row);
      input_offset = row * taps.row_step;
      done = row * row_length;
    }
    float* output = to.data;
    for (int64_t r = 0; r < num_runs; ++r) {
      kernel_for<kVectors>(runs[r].count)(runs[r].first + input_offset, pixel_step, part,
                                          weight + done * kPanelWidth, pass ? output : bias,
                                          pass ? to.step : 0, output, to.step,
                                          rectified && pass + 1 == num_passes);
      output += runs[r].count * to.step;
    }
  }
}

// Outputs [first, last) of a layer, whole multiples of kChannelBlock, at all pixels of the runs.
inline void convolve(const PixelRun* runs, int64_t num_runs, int64_t pixel_step, const Taps& taps,
                     const PackedLayer& layer, int64_t first, int64_t last, Destination to,
                     bool rectified) {
  constexpr int64_t kWide = Simd::kLanes * Simd::kVectors;
  constexpr int kNarrow = kChannelBlock / Simd::kLanes;
  const int64_t panel_size = taps.rows * taps.count * taps.length * kPanelWidth;
  for (int64_t output = first; output < last;) {
    const int64_t width = last - output >= kWide && kPanelWidth - output % kPanelWidth >= kWide
                              ? kWide
                              : kChannelBlock;
    const float* weight = layer.weight + output / kPanelWidth * panel_size + output % kPanelWidth;
    const Destination there{to.data + output - first, to.step};
    if (width == kWide)
      convolve_outputs<Simd::kVectors>(runs, num_runs, pixel_step, taps, weight,
                                       layer.bias + output, there, rectified);
    else
      convolve_outputs<kNarrow>(runs, num_runs, pixel_step, taps, weight, layer.bias + output,
                                there, rectified);
    output += width;
  }
}

inline int64_t runs_in_row(int64_t pixels) {
  return (pixels + Simd::kMaxPixels - 1) / Simd::kMaxPixels;
}

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
