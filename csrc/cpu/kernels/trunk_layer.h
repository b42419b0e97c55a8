// No include guard; see ../each_instruction_set.h.
#include "convolve.h"

// Row y of the convolution, without pooling, as [x, channel].
inline void convolve_row(const TrunkLayerParams& params, int64_t b, int64_t y, int64_t width,
                         PixelRun* runs, Destination to) {
  const FeaturesView<const float>& input = params.input;
  const float* row = input.data + b * input.batch_stride + y * input.y_stride;
  const int64_t count = runs_in_row(width);
  for (int64_t i = 0; i < count; ++i) runs[i] = run_of_row(row, width, input.x_stride, i);
  convolve(runs, count, input.x_stride, taps_of(input, params.kernel_size, params.dilation),
           params.layer, 0, params.layer.outputs, to, true);
}

inline void pool_row(const TrunkLayerParams& params, const float* upper, const float* lower,
                     float* output) {
  const int64_t channels = params.layer.outputs;
  const int64_t right = params.pool_dilation * channels;
  for (int64_t x = 0; x < params.output.width; ++x) {
    const int64_t left = x * params.pool_stride * channels;
    for (int64_t c = left; c < left + channels; c += Simd::kLanes) {
      const auto best =
          Simd::pool(Simd::pool(Simd::pool(Simd::load(upper + c), Simd::load(upper + c + right)),
                                Simd::load(lower + c)),
                     Simd::load(lower + c + right));
      Simd::store(output + c - left, best);
    }
    output += params.output.x_stride;
  }
}

inline void trunk_layer(const TrunkLayerParams& params, int64_t begin, int64_t end) {
  const FeaturesView<float>& output = params.output;
  const int64_t width = params.input.width - (params.kernel_size - 1) * params.dilation;
  const int64_t row_size = width * params.layer.outputs;
  const std::unique_ptr<PixelRun[]> runs(new PixelRun[runs_in_row(width)]);
  // The rows that the pooling looks back to, each computed once.
  const int64_t num_kept = params.pool_stride ? params.pool_dilation + 1 : 0;
  const AlignedFloats kept = aligned_floats(num_kept * row_size);
  const auto kept_row = [&](int64_t y) { return kept.get() + y % num_kept * row_size; };
  int64_t computed = 0;  // rows of the convolution below this one lie in `kept`
  for (int64_t row = begin; row < end; ++row) {
    const int64_t b = row / output.height, y = row % output.height;
    float* to = output.data + b * output.batch_stride + y * output.y_stride;
    if (!params.pool_stride) {
      convolve_row(params, b, y, width, runs.get(), {to, output.x_stride});
      continue;
    }
    const int64_t upper = y * params.pool_stride, lower = upper + params.pool_dilation;
    if (row == begin || y == 0) computed = upper;
    for (computed = std::max(computed, upper); computed <= lower; ++computed)
      convolve_row(params, b, computed, width, runs.get(),
                   {kept_row(computed), params.layer.outputs});
    pool_row(params, kept_row(upper), kept_row(lower), to);
  }
}
