// No include guard; see ../each_instruction_set.h.
#include "convolve.h"
#include "vote_layer.h"
#include "winograd_transform.h"

// Tiles along one axis. A block of 4 * dilation votes holds one tile of every phase.
struct TileAxis {
  int64_t votes, dilation;

  int64_t block() const { return kWinogradOutputs * dilation; }
  int64_t num_tiles() const { return (votes + block() - 1) / block() * dilation; }
  // The vote that is a tile's first; the others follow `dilation` apart. The last may not exist.
  int64_t first_vote(int64_t tile) const { return tile / dilation * block() + tile % dilation; }
};

struct TilePlace {
  int64_t b, y, x;
};

class WinogradTiles {
 public:
  explicit WinogradTiles(const WinogradHeadParams& params)
      : y_axis_{params.votes.height, params.dilation},
        x_axis_{params.votes.width, params.dilation},
        batch_(params.votes.batch) {}

  int64_t size() const { return batch_ * y_axis_.num_tiles() * x_axis_.num_tiles(); }

  TilePlace place(int64_t tile) const {
    const int64_t row = tile / x_axis_.num_tiles();
    return {row / y_axis_.num_tiles(), y_axis_.first_vote(row % y_axis_.num_tiles()),
            x_axis_.first_vote(tile % x_axis_.num_tiles())};
  }

 private:
  TileAxis y_axis_, x_axis_;
  int64_t batch_;
};

inline int64_t winograd_head_tiles(const WinogradHeadParams& params) {
  return WinogradTiles(params).size();
}

// 8 x 8 features of one tile to 64 factors, `factor_step` apart. Beyond the features there are
// zeros: only votes that do not exist see them.
inline void transform_tile(const WinogradHeadParams& params, const TilePlace& place, float* to,
                           int64_t factor_step) {
  using Vector = Simd::Vector;
  const FeaturesView<const float>& features = params.features;
  for (int64_t c = 0; c < features.channels; c += Simd::kLanes) {
    Vector rows[kWinogradInputs][kWinogradInputs];
    for (int i = 0; i < kWinogradInputs; ++i) {
      const int64_t y = place.y + i * params.dilation;
      const float* row =
          features.data + place.b * features.batch_stride + y * features.y_stride + c;
      Vector inputs[kWinogradInputs];
#pragma GCC unroll 8
      for (int j = 0; j < kWinogradInputs; ++j) {
        const int64_t x = place.x + j * params.dilation;
        const bool exists = y < features.height && x < features.width;
        inputs[j] = exists ? Simd::load(row + x * features.x_stride) : Simd::zero();
      }
      winograd_input(inputs, rows[i]);
    }
#pragma GCC unroll 8
    for (int j = 0; j < kWinogradInputs; ++j) {
      Vector column[kWinogradInputs], factors[kWinogradInputs];
#pragma GCC unroll 8
      for (int i = 0; i < kWinogradInputs; ++i) column[i] = rows[i][j];
      winograd_input(column, factors);
#pragma GCC unroll 8
      for (int i = 0; i < kWinogradInputs; ++i)
        Simd::store(to + (i * kWinogradInputs + j) * factor_step + c, factors[i]);
    }
  }
}

// 64 products of one tile to 16 hidden units, each with its bias and rectified.
inline void finish_tile(const float* products, int64_t product_step, const float* bias, float* to,
                        int64_t pixel_step) {
  using Vector = Simd::Vector;
  Vector columns[kWinogradInputs][kWinogradOutputs];
#pragma GCC unroll 8
  for (int j = 0; j < kWinogradInputs; ++j) {
    Vector column[kWinogradInputs];
#pragma GCC unroll 8
    for (int i = 0; i < kWinogradInputs; ++i)
      column[i] = Simd::load(products + (i * kWinogradInputs + j) * product_step);
    winograd_output(column, columns[j]);
  }
  const Vector start = Simd::load(bias);
#pragma GCC unroll 4
  for (int i = 0; i < kWinogradOutputs; ++i) {
    Vector row[kWinogradInputs], outputs[kWinogradOutputs];
#pragma GCC unroll 8
    for (int j = 0; j < kWinogradInputs; ++j) row[j] = columns[j][i];
    winograd_output(row, outputs);
#pragma GCC unroll 4
    for (int j = 0; j < kWinogradOutputs; ++j)
      Simd::store(to + (i * kWinogradOutputs + j) * pixel_step,
                  Simd::rectify(Simd::add(outputs[j], start)));
  }
}

inline void write_tile_votes(const WinogradHeadParams& params, const TilePlace& place,
                             const float* parts, int64_t parts_step) {
  const VotesView<float>& votes = params.votes;
  for (int i = 0; i < kWinogradOutputs; ++i) {
    const int64_t y = place.y + i * params.dilation;
    for (int j = 0; j < kWinogradOutputs; ++j, parts += parts_step) {
      const int64_t x = place.x + j * params.dilation;
      if (y < votes.height && x < votes.width)
        finish_votes(parts, params.last, votes.at(place.b, 0, y, x), votes.channel_stride);
    }
  }
}

// The factors of so many tiles (0.5 MB of the default network) and the transformed weights of so
// many hidden units (1 MB) share the second cache with the products and units of a group.
constexpr int64_t kTilesPerBand = 56;
constexpr int64_t kTilesPerGroup = 28;
constexpr int64_t kUnitsPerPass = 4 * kPanelWidth;
constexpr int64_t kUnitStep = kUnitsPerPass + 16;

class WinogradBand {
 public:
  explicit WinogradBand(const WinogradHeadParams& params)
      : params_(params),
        tiles_(params),
        channels_(params.features.channels),
        parts_step_(params.last.outputs * kPartialSums),
        factors_(new float[kWinogradProducts * kTilesPerBand * channels_]),
        products_(new float[kWinogradProducts * kTilesPerGroup * kPanelWidth]),
        units_(new float[kTilesPerGroup * kWinogradPixels * kUnitStep]),
        parts_(new float[kTilesPerBand * kWinogradPixels * parts_step_]) {}

  // Tiles [begin, end), at most kTilesPerBand.
  void run(int64_t begin, int64_t end) {
    const int64_t num_tiles = end - begin;
    factor_step_ = num_tiles * channels_;
    for (int64_t t = 0; t < num_tiles; ++t)
      transform_tile(params_, tiles_.place(begin + t), factors_.get() + t * channels_,
                     factor_step_);
    std::fill(parts_.get(), parts_.get() + num_tiles * kWinogradPixels * parts_step_, 0.0f);
    const int64_t num_groups = (num_tiles + kTilesPerGroup - 1) / kTilesPerGroup;
    for (int64_t first = 0; first < params_.first.outputs; first += kUnitsPerPass) {
      const int64_t last = std::min(params_.first.outputs, first + kUnitsPerPass);
      for (int64_t g = 0; g < num_groups; ++g)
        run_group(num_tiles * g / num_groups, num_tiles * (g + 1) / num_groups, first, last);
    }
    for (int64_t t = 0; t < num_tiles; ++t)
      write_tile_votes(params_, tiles_.place(begin + t),
                       parts_.get() + t * kWinogradPixels * parts_step_, parts_step_);
  }

 private:
  // Hidden units [first, last) of some tiles of the band, and what they add to the votes.
  void run_group(int64_t begin, int64_t end, int64_t first, int64_t last) {
    for (int64_t unit = first; unit < last; unit += kPanelWidth) {
      const int64_t width = std::min(kPanelWidth, last - unit);
      multiply(begin, end, unit, width);
      for (int64_t t = 0; t < end - begin; ++t)
        for (int64_t u = 0; u < width; u += Simd::kLanes)
          finish_tile(products_.get() + t * kPanelWidth + u, kTilesPerGroup * kPanelWidth,
                      params_.first.bias + unit + u,
                      units_.get() + t * kWinogradPixels * kUnitStep + unit - first + u, kUnitStep);
    }
    add_to_votes(units_.get(), kUnitStep, (end - begin) * kWinogradPixels, first, last - first,
                 params_.last, parts_.get() + begin * kWinogradPixels * parts_step_);
  }

  // The products of one panel of hidden units, summed over the channels.
  void multiply(int64_t begin, int64_t end, int64_t unit, int64_t width) {
    static constexpr float kZeros[kPanelWidth] = {};
    const Taps taps{1, 0, 1, 0, channels_};
    PixelRun runs[kTilesPerGroup];
    const int64_t num_runs = runs_in_row(end - begin);
    for (int64_t product = 0; product < kWinogradProducts; ++product) {
      const float* factors = factors_.get() + product * factor_step_ + begin * channels_;
      for (int64_t r = 0; r < num_runs; ++r)
        runs[r] = run_of_row(factors, end - begin, channels_, r);
      const PackedLayer layer{
          params_.first.weight +
              (unit / kPanelWidth * kWinogradProducts + product) * channels_ * kPanelWidth,
          kZeros, channels_, width};
      convolve(runs, num_runs, channels_, taps, layer, 0, width,
               {products_.get() + product * kTilesPerGroup * kPanelWidth, kPanelWidth}, false);
    }
  }

  const WinogradHeadParams& params_;
  const WinogradTiles tiles_;
  const int64_t channels_, parts_step_;
  int64_t factor_step_ = 0;
  const std::unique_ptr<float[]> factors_;   // [product, tile, channel]
  const std::unique_ptr<float[]> products_;  // [product, tile of the group, unit of the panel]
  const std::unique_ptr<float[]> units_;     // [pixel of the group, unit of the pass]
  const std::unique_ptr<float[]> parts_;     // [pixel of the band, output, part]
};

inline void winograd_head(const WinogradHeadParams& params, int64_t begin, int64_t end) {
  WinogradBand band(params);
  const int64_t num_bands = (end - begin + kTilesPerBand - 1) / kTilesPerBand;
  for (int64_t i = 0; i < num_bands; ++i)
    band.run(begin + (end - begin) * i / num_bands, begin + (end - begin) * (i + 1) / num_bands);
}
