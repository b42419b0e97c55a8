// No include guard; see ../each_instruction_set.h. Compiled for AMX alone.
#include "convolve.h"
#include "vote_layer.h"

// Tiles 0 to 3 hold sums of 2 x 16 pixels and 2 x 16 outputs, 4 and 5 inputs, 6 and 7 weights:
// four multiplications for four loads.
class TileConfiguration {
 public:
  TileConfiguration() {
    struct alignas(64) {
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t row_bytes[16] = {};
      uint8_t rows[16] = {};
    } layout;
    for (int i = 0; i < 8; ++i) {
      layout.row_bytes[i] = 64;
      layout.rows[i] = 16;
    }
    _tile_loadconfig(&layout);
  }
  ~TileConfiguration() { _tile_release(); }
  TileConfiguration(const TileConfiguration&) = delete;
  TileConfiguration& operator=(const TileConfiguration&) = delete;
};

// Sums of two groups of pixels for one panel, as [pixel, output of the panel].
inline void multiply_panel(const bfloat16* first, const bfloat16* second, int64_t pixel_step,
                           const Taps& taps, const bfloat16* weight, float* sums) {
  constexpr int64_t kTile = 512;  // numbers
  const auto bytes = static_cast<size_t>(pixel_step) * sizeof(bfloat16);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t row = 0; row < taps.rows; ++row) {
    for (int64_t tap = 0; tap < taps.count; ++tap) {
      for (int64_t c = 0; c < taps.length; c += kBfloat16Block) {
        const int64_t at = row * taps.row_step + tap * taps.step + c;
        _tile_loadd(6, weight, 64);
        _tile_loadd(4, first + at, bytes);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, weight + kTile, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, second + at, bytes);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        weight += 2 * kTile;
      }
    }
  }
  constexpr size_t kRow = kPanelWidth * sizeof(float);
  _tile_stored(0, sums, kRow);
  _tile_stored(1, sums + kBfloat16Pixels, kRow);
  _tile_stored(2, sums + kBfloat16Pixels * kPanelWidth, kRow);
  _tile_stored(3, sums + kBfloat16Pixels * (kPanelWidth + 1), kRow);
}

inline void add_bias_and_rectify(const float* sums, const float* bias, int64_t pixels, float* to,
                                 int64_t step) {
  for (int64_t v = 0; v < kPanelWidth; v += Simd::kLanes) {
    const Simd::Vector start = Simd::load(bias + v);
    for (int64_t p = 0; p < pixels; ++p)
      Simd::store(to + p * step + v,
                  Simd::rectify(Simd::add(Simd::load(sums + p * kPanelWidth + v), start)));
  }
}

// Rows are covered by groups of 16 pixels; the last one reaches back over the one before.
inline int64_t groups_in_row(int64_t width) {
  return (width + kBfloat16Pixels - 1) / kBfloat16Pixels;
}
inline int64_t begin_of_group(int64_t width, int64_t index) {
  return std::min(index * kBfloat16Pixels, width - kBfloat16Pixels);
}

inline Taps bfloat16_taps(const FeaturesView<const bfloat16>& input, int64_t kernel_size,
                          int64_t dilation) {
  return {kernel_size, dilation * input.y_stride, kernel_size, dilation * input.x_stride,
          input.channels};
}

inline int64_t panel_size(const Taps& taps) {
  return taps.rows * taps.count * taps.length * kPanelWidth;
}

// Row y of the convolution, without pooling, as [x, channel] in float32.
inline void convolve_row(const Bfloat16TrunkParams& params, int64_t b, int64_t y, int64_t width,
                         float* to) {
  const FeaturesView<const bfloat16>& input = params.input;
  const bfloat16* row = input.data + b * input.batch_stride + y * input.y_stride;
  const Taps taps = bfloat16_taps(input, params.kernel_size, params.dilation);
  alignas(64) float sums[2 * kBfloat16Pixels * kPanelWidth];
  const int64_t outputs = params.layer.outputs;
  for (int64_t output = 0; output < outputs; output += kPanelWidth) {
    const bfloat16* weight = params.layer.weight + output / kPanelWidth * panel_size(taps);
    const float* bias = params.layer.bias + output;
    const int64_t groups = groups_in_row(width);
    for (int64_t g = 0; g < groups; g += 2) {
      const int64_t x0 = begin_of_group(width, g);
      const int64_t x1 = begin_of_group(width, std::min(g + 1, groups - 1));
      multiply_panel(row + x0 * input.x_stride, row + x1 * input.x_stride, input.x_stride, taps,
                     weight, sums);
      add_bias_and_rectify(sums, bias, kBfloat16Pixels, to + x0 * outputs + output, outputs);
      add_bias_and_rectify(sums + kBfloat16Pixels * kPanelWidth, bias, kBfloat16Pixels,
                           to + x1 * outputs + output, outputs);
    }
  }
}

inline void store_rounded(bfloat16* to, Simd::Vector x) {
  const __m256bh rounded = _mm512_cvtneps_pbh(x);
  std::memcpy(to, &rounded, sizeof(rounded));
}

inline void round_row(const Bfloat16TrunkParams& params, const float* row, bfloat16* to) {
  const int64_t outputs = params.layer.outputs;
  for (int64_t x = 0; x < params.output.width; ++x)
    for (int64_t c = 0; c < outputs; c += Simd::kLanes)
      store_rounded(to + x * params.output.x_stride + c, Simd::load(row + x * outputs + c));
}

inline void pool_row(const Bfloat16TrunkParams& params, const float* upper, const float* lower,
                     bfloat16* to) {
  const int64_t outputs = params.layer.outputs;
  const int64_t right = params.pool_dilation * outputs;
  for (int64_t x = 0; x < params.output.width; ++x) {
    const int64_t left = x * params.pool_stride * outputs;
    for (int64_t c = left; c < left + outputs; c += Simd::kLanes)
      store_rounded(to + x * params.output.x_stride + c - left,
                    Simd::pool(Simd::pool(Simd::load(upper + c), Simd::load(upper + c + right)),
                               Simd::pool(Simd::load(lower + c), Simd::load(lower + c + right))));
  }
}

inline void bfloat16_trunk_layer(const Bfloat16TrunkParams& params, int64_t begin, int64_t end) {
  const TileConfiguration tiles;
  const FeaturesView<bfloat16>& output = params.output;
  const int64_t width = params.input.width - (params.kernel_size - 1) * params.dilation;
  const int64_t row_size = width * params.layer.outputs;
  // The rows that the pooling looks back to, each computed once.
  const int64_t num_kept = params.pool_stride ? params.pool_dilation + 1 : 1;
  const std::unique_ptr<float[]> kept(new float[num_kept * row_size]);
  const auto kept_row = [&](int64_t y) { return kept.get() + y % num_kept * row_size; };
  int64_t computed = 0;  // rows of the convolution below this one lie in `kept`
  for (int64_t row = begin; row < end; ++row) {
    const int64_t b = row / output.height, y = row % output.height;
    bfloat16* to = output.data + b * output.batch_stride + y * output.y_stride;
    const int64_t upper = params.pool_stride ? y * params.pool_stride : y;
    const int64_t lower = params.pool_stride ? upper + params.pool_dilation : y;
    if (row == begin || y == 0) computed = upper;
    for (computed = std::max(computed, upper); computed <= lower; ++computed)
      convolve_row(params, b, computed, width, kept_row(computed));
    if (params.pool_stride)
      pool_row(params, kept_row(upper), kept_row(lower), to);
    else
      round_row(params, kept_row(y), to);
  }
}

inline int64_t bfloat16_head_groups(const Bfloat16HeadParams& params) {
  return params.votes.batch * params.votes.height * groups_in_row(params.votes.width);
}

struct GroupPlace {
  int64_t b, y, x, new_x;  // votes from new_x on are no other group's
};

inline GroupPlace group_place(const Bfloat16HeadParams& params, int64_t index) {
  const int64_t per_row = groups_in_row(params.votes.width);
  const int64_t row = index / per_row, g = index % per_row;
  return {row / params.votes.height, row % params.votes.height,
          begin_of_group(params.votes.width, g), g * kBfloat16Pixels};
}

inline const bfloat16* group_features(const Bfloat16HeadParams& params, int64_t index) {
  const GroupPlace place = group_place(params, index);
  const FeaturesView<const bfloat16>& features = params.features;
  return features.data + place.b * features.batch_stride +
         place.y * params.stride * features.y_stride + place.x * params.stride * features.x_stride;
}

// So many hidden units at a time, their weights in the second cache, while all pixels of a pass go
// by; see vote_head.h.
constexpr int64_t kUnitsPerPass = 256;
constexpr int64_t kUnitStep = kUnitsPerPass + 16;
constexpr int64_t kPartsPerPass = 1 << 17;

inline void bfloat16_head(const Bfloat16HeadParams& params, int64_t begin, int64_t end) {
  const TileConfiguration tiles;
  const Taps taps = bfloat16_taps(params.features, params.kernel_size, params.dilation);
  const int64_t pixel_step = params.stride * params.features.x_stride;
  const int64_t parts_step = params.last.outputs * kPartialSums;
  const int64_t group_parts = kBfloat16Pixels * parts_step;
  const int64_t groups_per_pass = std::max<int64_t>(2, kPartsPerPass / group_parts / 2 * 2);
  const std::unique_ptr<float[]> parts(new float[groups_per_pass * group_parts]);
  const std::unique_ptr<float[]> units(new float[2 * kBfloat16Pixels * kUnitStep]);
  alignas(64) float sums[2 * kBfloat16Pixels * kPanelWidth];
  for (int64_t pass = begin; pass < end; pass += groups_per_pass) {
    const int64_t pass_end = std::min(end, pass + groups_per_pass);
    std::fill(parts.get(), parts.get() + (pass_end - pass) * group_parts, 0.0f);
    for (int64_t first = 0; first < params.first.outputs; first += kUnitsPerPass) {
      const int64_t last = std::min(params.first.outputs, first + kUnitsPerPass);
      for (int64_t g = pass; g < pass_end; g += 2) {
        const int64_t num = std::min<int64_t>(2, pass_end - g);
        const bfloat16* one = group_features(params, g);
        const bfloat16* other = group_features(params, g + num - 1);
        for (int64_t unit = first; unit < last; unit += kPanelWidth) {
          multiply_panel(one, other, pixel_step, taps,
                         params.first.weight + unit / kPanelWidth * panel_size(taps), sums);
          add_bias_and_rectify(sums, params.first.bias + unit, num * kBfloat16Pixels,
                               units.get() + unit - first, kUnitStep);
        }
        add_to_votes(units.get(), kUnitStep, num * kBfloat16Pixels, first, last - first,
                     params.last, parts.get() + (g - pass) * group_parts);
      }
    }
    for (int64_t g = pass; g < pass_end; ++g) {
      const GroupPlace place = group_place(params, g);
      for (int64_t x = std::max(place.x, place.new_x); x < place.x + kBfloat16Pixels; ++x)
        finish_votes(parts.get() + (g - pass) * group_parts + (x - place.x) * parts_step,
                     params.last, params.votes.at(place.b, 0, place.y, x),
                     params.votes.channel_stride);
    }
  }
}
