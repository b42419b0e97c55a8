// No include guard; see ../each_instruction_set.h.
#include "convolve.h"
#include "vote_layer.h"
#include "winograd_transform.h"

// Tiles along one axis. A block of 4 * dilation votes holds one tile of every phase.
struct TileAxis {
  int64_t votes, dilation;

  int64_t block() const { return kWinogradOutputs * dilation; }
  int64_t num_tiles() const {
    return votes / block() * dilation + std::min(votes % block(), dilation);
  }
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
  const FeaturesView<const float>& features = params.features;
  for (int64_t c = 0; c < features.channels; c += Simd::kLanes) {
    const auto load = [&](int i, int j) {
      const int64_t y = place.y + i * params.dilation, x = place.x + j * params.dilation;
      const bool exists = y < features.height && x < features.width;
      const float* row =
          features.data + place.b * features.batch_stride + y * features.y_stride + c;
      return exists ? Simd::load(row + x * features.x_stride) : Simd::zero();
    };
    transform_inputs(load, to + c, factor_step);
  }
}

// 64 products of one tile to 16 hidden units, each with its bias and rectified.
inline void finish_tile(const float* products, const float* bias, float* to, int64_t pixel_step) {
  const auto take = [&](int i, const Simd::Vector(&outputs)[kWinogradOutputs]) {
#pragma GCC unroll 4
    for (int j = 0; j < kWinogradOutputs; ++j)
      Simd::store(to + (i * kWinogradOutputs + j) * pixel_step, outputs[j]);
  };
  transform_products<kWinogradOutputs>(products, bias, take);
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
constexpr int64_t kUnitsPerPass = 4 * kPanelWidth;
constexpr int64_t kUnitStep = kUnitsPerPass + 16;

class WinogradBand {
 public:
  explicit WinogradBand(const WinogradHeadParams& params)
      : params_(params),
        tiles_(params),
        channels_(params.features.channels),
        parts_step_(params.last.outputs * kPartialSums),
        factors_(aligned_floats(kWinogradProducts * odd_lines(kTilesPerBand * channels_))),
        products_(aligned_floats(kWinogradProducts * kProductStep)),
        units_(aligned_floats(kTilesPerGroup * kWinogradPixels * kUnitStep)),
        parts_(aligned_floats(kTilesPerBand * kWinogradPixels * parts_step_)) {}

  // Tiles [begin, end), at most kTilesPerBand.
  void run(int64_t begin, int64_t end) {
    const int64_t num_tiles = end - begin;
    factor_step_ = odd_lines(num_tiles * channels_);
    for (int64_t t = 0; t < num_tiles; ++t)
      transform_tile(params_, tiles_.place(begin + t), factors_.get() + t * channels_,
                     factor_step_);
    std::fill(parts_.get(), parts_.get() + num_tiles * kWinogradPixels * parts_step_, 0.0f);
    const int64_t num_groups = divide_up(num_tiles, kTilesPerGroup);
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
      multiply_factors(
          factors_.get() + begin * channels_, factor_step_, end - begin, channels_,
          params_.first.weight + unit / kPanelWidth * kWinogradProducts * channels_ * kPanelWidth,
          width, products_.get());
      for (int64_t t = 0; t < end - begin; ++t)
        for (int64_t u = 0; u < width; u += Simd::kLanes)
          finish_tile(products_.get() + t * kPanelWidth + u, params_.first.bias + unit + u,
                      units_.get() + t * kWinogradPixels * kUnitStep + unit - first + u, kUnitStep);
    }
    add_to_votes(units_.get(), kUnitStep, (end - begin) * kWinogradPixels, first, last - first,
                 params_.last, parts_.get() + begin * kWinogradPixels * parts_step_);
  }

  const WinogradHeadParams& params_;
  const WinogradTiles tiles_;
  const int64_t channels_, parts_step_;
  int64_t factor_step_ = 0;
  const AlignedFloats factors_;   // [product, tile, channel]
  const AlignedFloats products_;  // [product, tile of the group, unit of the panel]
  const AlignedFloats units_;     // [pixel of the group, unit of the pass]
  const AlignedFloats parts_;     // [pixel of the band, output, part]
};

inline void winograd_head(const WinogradHeadParams& params, int64_t begin, int64_t end) {
  WinogradBand band(params);
  const int64_t num_bands = divide_up(end - begin, kTilesPerBand);
  for (int64_t i = 0; i < num_bands; ++i)
    band.run(begin + (end - begin) * i / num_bands, begin + (end - begin) * (i + 1) / num_bands);
}
