// No include guard; see ../each_instruction_set.h.
#include "convolve.h"
#include "winograd_transform.h"

// Tiles of 6 x 6 outputs, the first at the first output; the last may be partly outside.
struct UnetTiles {
  int64_t rows, columns;

  explicit UnetTiles(const WinogradConvolutionParams& params)
      : rows(divide_up(params.height, kUnetOutputs)),
        columns(divide_up(params.width, kUnetOutputs)) {}
};

struct UnetTile {
  int64_t b, y, x;  // of the first output
};

inline int64_t winograd_convolution_tiles(const WinogradConvolutionParams& params) {
  const UnetTiles tiles(params);
  return params.batch * tiles.rows * tiles.columns;
}

class ConvolutionBand {
 public:
  explicit ConvolutionBand(const WinogradConvolutionParams& params)
      : params_(params),
        tiles_(params),
        channels_(params.layer.inputs),
        factors_(aligned_floats(kWinogradProducts * factor_step(kTilesPerGroup))),
        products_(aligned_floats(kWinogradProducts * kProductStep)) {}

  // Tiles [begin, end), at most kTilesPerGroup.
  void run(int64_t begin, int64_t end) {
    const int64_t num_tiles = end - begin, step = factor_step(num_tiles);
    for (int64_t t = 0; t < num_tiles; ++t)
      transform_tile(tile(begin + t), factors_.get() + t * channels_, step);
    for (int64_t output = 0; output < params_.layer.outputs; output += kPanelWidth) {
      const int64_t width = std::min(kPanelWidth, params_.layer.outputs - output);
      multiply_factors(factors_.get(), step, num_tiles, channels_,
                       params_.layer.weight + output * kWinogradProducts * channels_, width,
                       products_.get());
      for (int64_t t = 0; t < num_tiles; ++t)
        for (int64_t c = 0; c < width; c += Simd::kLanes)
          finish_tile(tile(begin + t), products_.get() + t * kPanelWidth + c, output + c);
    }
  }

 private:
  // Room for the channels that fill up the last tile.
  int64_t factor_step(int64_t num_tiles) const {
    return odd_lines(num_tiles * channels_ + kChannelBlock);
  }

  // Column by column: pieces of the work are parts of the width.
  UnetTile tile(int64_t index) const {
    const int64_t column = index / tiles_.rows;
    return {column / tiles_.columns, index % tiles_.rows * kUnetOutputs,
            column % tiles_.columns * kUnetOutputs};
  }

  // What a tile sees of all maps, with zeros around them. Channels that only fill up a map are
  // overwritten by what follows: the next map, the next tile.
  void transform_tile(const UnetTile& place, float* to, int64_t factor_step) const {
    const int64_t top = place.y - 1, left = place.x - 1;
    const int64_t bottom = params_.height + params_.below;
    const bool inside = top >= -params_.above && left >= 0 && top + kWinogradInputs <= bottom &&
                        left + kWinogradInputs <= params_.width;
    for (int64_t m = 0; m < params_.num_maps; ++m) {
      const auto& map = params_.maps[m];
      const int shift = map.enlarged ? 1 : 0;
      const float* rows[kWinogradInputs];
      for (int i = 0; i < kWinogradInputs; ++i) {
        const bool exists = top + i >= -params_.above && top + i < bottom;
        rows[i] = exists ? row_of(map.pixels, place.b, (map.above + top + i) >> shift) : nullptr;
      }
      int64_t columns[kWinogradInputs];
      for (int j = 0; j < kWinogradInputs; ++j) {
        const bool exists = left + j >= 0 && left + j < params_.width;
        columns[j] = exists ? ((left + j) >> shift) * map.pixels.x_stride : -1;
      }
      for (int64_t c = 0; c < map.channels; c += Simd::kLanes) {
        const auto pixel = [&](int i, int j) { return Simd::load(rows[i] + columns[j] + c); };
        const auto pixel_or_zero = [&](int i, int j) {
          return rows[i] && columns[j] >= 0 ? pixel(i, j) : Simd::zero();
        };
        if (inside)
          transform_inputs(pixel, to + c, factor_step);
        else
          transform_inputs(pixel_or_zero, to + c, factor_step);
      }
      to += map.channels;
    }
  }

  void finish_tile(const UnetTile& place, const float* products, int64_t output) const {
    using Vector = Simd::Vector;
    Vector upper[kUnetOutputs];
    const auto take = [&](int i, const Vector(&row)[kUnetOutputs]) {
      const int64_t y = place.y + i;
      if (y >= params_.height) return;
      if (params_.output.rows)
        write_row(params_.output, params_.width, place.b, y, place.x, output, row);
      if (!params_.pooled.rows) return;
      if (i % 2 == 0) {
        for (int j = 0; j < kUnetOutputs; ++j) upper[j] = row[j];
        return;
      }
      Vector pooled[kUnetOutputs / 2];
      for (int j = 0; j < kUnetOutputs / 2; ++j)
        pooled[j] = Simd::pool(Simd::pool(Simd::pool(upper[2 * j], upper[2 * j + 1]), row[2 * j]),
                               row[2 * j + 1]);
      write_row(params_.pooled, params_.width / 2, place.b, y / 2, place.x / 2, output, pooled);
    };
    transform_products<kUnetOutputs>(products, params_.layer.bias + output, take);
  }

  template <int kCount>
  DVFAST_INLINE void write_row(const RowsView<float>& map, int64_t width, int64_t b, int64_t y,
                               int64_t x, int64_t output, const Simd::Vector (&row)[kCount]) const {
    float* to = row_of(map, b, y) + x * map.x_stride + output;
    for (int j = 0; j < kCount; ++j)
      if (x + j < width) Simd::store(to + j * map.x_stride, row[j]);
  }

  template <typename T>
  static T* row_of(const RowsView<T>& map, int64_t b, int64_t y) {
    return map.rows[b * map.height + y];
  }

  const WinogradConvolutionParams& params_;
  const UnetTiles tiles_;
  const int64_t channels_;
  const AlignedFloats factors_;   // [product, tile, channel]
  const AlignedFloats products_;  // [product, tile, output of the panel]
};

inline void winograd_convolution(const WinogradConvolutionParams& params, int64_t begin,
                                 int64_t end) {
  ConvolutionBand band(params);
  const int64_t num_bands = divide_up(end - begin, kTilesPerGroup);
  for (int64_t i = 0; i < num_bands; ++i)
    band.run(begin + (end - begin) * i / num_bands, begin + (end - begin) * (i + 1) / num_bands);
}
