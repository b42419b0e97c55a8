// No include guard; see ../each_instruction_set.h. Compiled for AMX alone.

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

// The last layer multiplies on the matrix unit too, and its factors are nearly as good as float32:
// each is the sum of two of 16 bits. A step takes half a panel of hidden units, first what 16 bits
// hold of each, then what these leave; eight outputs fill a tile, again with both parts.
constexpr int64_t kOutputsPerTile = 8;

inline int64_t output_tiles(const PackedLayer& last) {
  return divide_up(last.outputs, kOutputsPerTile);
}

// Its weights: [tile of outputs, half panel of hidden units], a tile being [pair of inputs, part
// and output, of the pair].
inline std::unique_ptr<InputTile[]> split_weights(const PackedLayer& last) {
  const int64_t steps = last.inputs / kHalfPanel;
  std::unique_ptr<InputTile[]> tiles(new InputTile[output_tiles(last) * steps]());
  for (int64_t output = 0; output < last.outputs; ++output) {
    for (int64_t unit = 0; unit < last.inputs; ++unit) {
      const float weight = last.weight[output * last.inputs + unit];
      const bfloat16 high = FromCompute<bfloat16>::convert(weight);
      const bfloat16 low = FromCompute<bfloat16>::convert(weight - to_compute(high));
      bfloat16* to = tiles[output / kOutputsPerTile * steps + unit / kHalfPanel].numbers +
                     unit % kHalfPanel / 2 * 32 + output % kOutputsPerTile * 2 + unit % 2;
      for (const int64_t part : {0, 1}) {
        to[part * 8 * 32] = high;
        to[part * 8 * 32 + 2 * kOutputsPerTile] = low;
      }
    }
  }
  return tiles;
}

// One panel of hidden units of two groups, and their way into the last layer, a few at a time.
class HiddenUnits {
 public:
  // Where the sums go that are started next.
  SumsOfPair sums() {
    SumTile* tiles = sums_[turn_];
    return {tiles[0].numbers, tiles[1].numbers, kHalfPanel, 2 * kSums};
  }
  void start() {
    next_ = sums_[turn_][0].numbers;
    end_ = next_ + 4 * kSums;
    to_ = split_[0].numbers;
    turn_ ^= 1;
  }

  void some() {
    if (next_ == end_) return;
    const float* from = next_;
    bfloat16* to = to_;
    __m512bh parts[kAtATime];
#pragma GCC unroll 2
    for (int i = 0; i < kAtATime; ++i) parts[i] = split(Simd::load(from + i * kHalfPanel));
#pragma GCC unroll 2
    for (int i = 0; i < kAtATime; ++i)
      std::memcpy(to + i * kPanelWidth, &parts[i], sizeof(__m512bh));
    next_ = from + kAtATime * kHalfPanel;
    to_ = to + kAtATime * kPanelWidth;
  }
  void rest() {
    while (next_ != end_) some();
  }

  const bfloat16* inputs(int64_t half, int64_t group) const {
    return split_[2 * half + group].numbers;
  }

 private:
  static constexpr int64_t kSums = kBfloat16Pixels * kHalfPanel;
  // Halves of a pixel. Few, as the last sums of a panel are late, and what waits for them keeps the
  // processor from seeing the matrix unit's own instructions in time.
  static constexpr int kAtATime = 2;

  // What 16 bits hold of each unit, and what they leave.
  static __m512bh split(Simd::Vector sum) {
    const Simd::Vector unit = Simd::rectify(sum);
    const __m512i half = _mm512_set1_epi32(0x8000), upper = _mm512_set1_epi32(-0x10000);
    const Simd::Vector high = _mm512_castsi512_ps(
        _mm512_and_si512(_mm512_add_epi32(_mm512_castps_si512(unit), half), upper));
    return _mm512_cvtne2ps_pbh(Simd::subtract(unit, high), high);
  }

  int turn_ = 0;
  const float *next_ = nullptr, *end_ = nullptr;
  bfloat16* to_ = nullptr;
  SumTile sums_[2][4];  // while one panel is multiplied, the other goes into the last layer
  InputTile split_[4];  // [half of the panel, group]: [pixel, part and unit]
};

// So many hidden units at a time, their weights in the second cache (0.4 MB of the default
// network), while all groups of a pass go by.
constexpr int64_t kUnitsPerPass = 256;
constexpr int64_t kGroupsPerPass = 128;

class Bfloat16Head {
 public:
  explicit Bfloat16Head(const Bfloat16HeadParams& params)
      : params_(params),
        offsets_(input_offsets(params.features, params.kernel_size, params.dilation)),
        last_weight_(split_weights(params.last)),
        logits_(new SumTile[output_tiles(params.last) * kGroupsPerPass]) {}

  // Groups [begin, end), at most kGroupsPerPass.
  void run(int64_t begin, int64_t end) {
    for (int64_t t = 0; t < output_tiles(params_.last); ++t)
      std::fill_n(logits_.get() + t * kGroupsPerPass, end - begin, SumTile{});
    Block before{0, 0, -1};
    for (int64_t first = 0; first < params_.first.outputs; first += kUnitsPerPass) {
      const int64_t last = std::min(params_.first.outputs, first + kUnitsPerPass);
      for (int64_t g = begin; g < end; g += 2) {
        const int64_t other = std::min(g + 1, end - 1);
        const GroupPair pair{group_features(params_, g), group_features(params_, other),
                             params_.stride * params_.features.x_stride};
        for (int64_t unit = first; unit < last; unit += kPanelWidth) {
          multiply_panel(pair, offsets_,
                         params_.first.weight + unit / kPanelWidth * panel_size(offsets_),
                         params_.first.bias + unit, units_.sums(), units_);
          add_to_logits(before);
          before = {g - begin, other - begin, unit / kHalfPanel};
          units_.start();
        }
      }
    }
    units_.rest();
    add_to_logits(before);
    for (int64_t g = begin; g < end; ++g) write_votes(g, g - begin);
  }

 private:
  struct Block {
    int64_t first, second, step;
  };

  void add_to_logits(const Block& block) {
    if (block.step < 0) return;
    const int64_t steps = params_.first.outputs / kHalfPanel;
    for (int64_t t = 0; t < output_tiles(params_.last); ++t) {
      SumTile* logits = logits_.get() + t * kGroupsPerPass;
      const InputTile* weight = last_weight_.get() + t * steps + block.step;
      _tile_loadd(0, logits[block.first].numbers, 64);
      _tile_loadd(1, logits[block.second].numbers, 64);
      _tile_loadd(6, weight[0].numbers, 64);
      _tile_loadd(4, units_.inputs(0, 0), 64);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(5, units_.inputs(0, 1), 64);
      _tile_dpbf16ps(1, 5, 6);
      _tile_loadd(7, weight[1].numbers, 64);
      _tile_loadd(4, units_.inputs(1, 0), 64);
      _tile_dpbf16ps(0, 4, 7);
      _tile_loadd(5, units_.inputs(1, 1), 64);
      _tile_dpbf16ps(1, 5, 7);
      _tile_stored(0, logits[block.first].numbers, 64);
      _tile_stored(1, logits[block.second].numbers, 64);
    }
  }

  void write_votes(int64_t group, int64_t index) const {
    const GroupPlace place = group_place(params_, group);
    const VotesView<float>& votes = params_.votes;
    for (int64_t output = 0; output < params_.last.outputs; ++output) {
      const SumTile& logits = logits_[output / kOutputsPerTile * kGroupsPerPass + index];
      float* to = votes.at(place.b, 0, place.y, place.x) + output * votes.channel_stride;
      float activated[kBfloat16Pixels];
      for (int64_t x = 0; x < kBfloat16Pixels; ++x) {
        const float* parts = logits.numbers + x * kHalfPanel + output % kOutputsPerTile;
        activated[x] = parts[0] + parts[kOutputsPerTile] + params_.last.bias[output];
      }
      for (float& logit : activated) logit = activate_vote(logit, output);
      for (int64_t x = std::max<int64_t>(0, place.new_x - place.x); x < kBfloat16Pixels; ++x)
        to[x * votes.x_stride] = activated[x];
    }
  }

  const Bfloat16HeadParams& params_;
  const std::vector<int64_t> offsets_;
  const std::unique_ptr<InputTile[]> last_weight_;
  const std::unique_ptr<SumTile[]> logits_;  // [tile of outputs, group]: [pixel, part and output]
  HiddenUnits units_;
};

inline void bfloat16_head(const Bfloat16HeadParams& params, int64_t begin, int64_t end) {
  const TileConfiguration tiles;
  Bfloat16Head head(params);
  const int64_t num_passes = divide_up(end - begin, kGroupsPerPass);
  for (int64_t i = 0; i < num_passes; ++i)
    head.run(begin + (end - begin) * i / num_passes, begin + (end - begin) * (i + 1) / num_passes);
}
