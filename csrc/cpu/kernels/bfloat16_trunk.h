// No include guard; see ../each_instruction_set.h. Compiled for AMX alone.

inline void store_rounded(bfloat16* to, Simd::Vector x) {
  const __m256bh rounded = _mm512_cvtneps_pbh(x);
  std::memcpy(to, &rounded, sizeof(rounded));
}

// What is left to do of a row of the output when its convolution is made: pooling, ReLU and
// rounding, a few pixels at a time.
class RowOfTrunk {
 public:
  explicit RowOfTrunk(const Bfloat16TrunkParams& params)
      : params_(params),
        outputs_(params.layer.outputs),
        right_(params.pool_stride ? params.pool_dilation * outputs_ : 0),
        x_(params.output.width) {}

  void start(const float* upper, const float* lower, bfloat16* to) {
    upper_ = upper;
    lower_ = lower;
    to_ = to;
    x_ = 0;
  }

  void some() { up_to(std::min(x_ + kAtATime, params_.output.width)); }
  void rest() {}  // there is time until the row is convolved
  void all() { up_to(params_.output.width); }

 private:
  static constexpr int64_t kAtATime = 4;

  void up_to(int64_t end) {
    for (; x_ < end; ++x_) pixel(x_);
  }

  void pixel(int64_t x) const {
    bfloat16* to = to_ + x * params_.output.x_stride;
    if (!params_.pool_stride) {
      for (int64_t c = 0; c < outputs_; c += Simd::kLanes)
        store_rounded(to + c, Simd::rectify(Simd::load(upper_ + x * outputs_ + c)));
      return;
    }
    const float* upper = upper_ + x * params_.pool_stride * outputs_;
    const float* lower = lower_ + x * params_.pool_stride * outputs_;
    for (int64_t c = 0; c < outputs_; c += Simd::kLanes) {
      const Simd::Vector best =
          Simd::pool(Simd::pool(Simd::load(upper + c), Simd::load(upper + c + right_)),
                     Simd::pool(Simd::load(lower + c), Simd::load(lower + c + right_)));
      store_rounded(to + c, Simd::rectify(best));
    }
  }

  const Bfloat16TrunkParams& params_;
  const int64_t outputs_, right_;
  const float *upper_ = nullptr, *lower_ = nullptr;
  bfloat16* to_ = nullptr;
  int64_t x_;
};

// Row y of the convolution, as [x, channel] in float32.
inline void convolve_row(const Bfloat16TrunkParams& params, const std::vector<int64_t>& offsets,
                         int64_t b, int64_t y, int64_t width, float* to, RowOfTrunk& work) {
  const FeaturesView<const bfloat16>& input = params.input;
  const bfloat16* row = input.data + b * input.batch_stride + y * input.y_stride;
  const int64_t outputs = params.layer.outputs;
  const int64_t groups = groups_in_row(width);
  for (int64_t output = 0; output < outputs; output += kPanelWidth) {
    const bfloat16* weight = params.layer.weight + output / kPanelWidth * panel_size(offsets);
    for (int64_t g = 0; g < groups; g += 2) {
      const int64_t x0 = begin_of_group(width, g);
      const int64_t x1 = begin_of_group(width, std::min(g + 1, groups - 1));
      multiply_panel({row + x0 * input.x_stride, row + x1 * input.x_stride, input.x_stride},
                     offsets, weight, params.layer.bias + output,
                     {to + x0 * outputs + output, to + x1 * outputs + output, outputs, kHalfPanel},
                     work);
    }
  }
}

inline void bfloat16_trunk_layer(const Bfloat16TrunkParams& params, int64_t begin, int64_t end) {
  const TileConfiguration tiles;
  const FeaturesView<bfloat16>& output = params.output;
  const int64_t width = params.input.width - (params.kernel_size - 1) * params.dilation;
  const int64_t row_size = width * params.layer.outputs;
  // The rows that the pooling looks back to, each computed once, and the one that is computed
  // while those are pooled.
  const int64_t num_kept = params.pool_stride ? params.pool_dilation + 2 : 2;
  const AlignedFloats kept = aligned_floats(num_kept * row_size);
  const auto kept_row = [&](int64_t y) { return kept.get() + y % num_kept * row_size; };
  const auto offsets = input_offsets(params.input, params.kernel_size, params.dilation);
  RowOfTrunk work(params);
  int64_t computed = 0;  // rows of the convolution below this one lie in `kept`
  for (int64_t row = begin; row < end; ++row) {
    const int64_t b = row / output.height, y = row % output.height;
    bfloat16* to = output.data + b * output.batch_stride + y * output.y_stride;
    const int64_t upper = params.pool_stride ? y * params.pool_stride : y;
    const int64_t lower = params.pool_stride ? upper + params.pool_dilation : y;
    // Where rows are passed over, the next may lie where those still lie that are pooled.
    if (row == begin || y == 0 || upper > computed) {
      work.all();
      computed = upper;
    }
    for (; computed <= lower; ++computed) {
      convolve_row(params, offsets, b, computed, width, kept_row(computed), work);
      work.all();
    }
    work.start(kept_row(upper), kept_row(lower), to);
  }
  work.all();
}
