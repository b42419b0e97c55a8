// The last layer of the head: few outputs, many inputs, and the hybrid activation.
// No include guard; see ../each_instruction_set.h.

// The partial sums of one output fill so many vectors.
constexpr int kPartVectors = kPartialSums / Simd::kLanes;

// Adds inputs [0, count) of some pixels to the partial sums [pixel, output, part] of kOutputs
// outputs; `weight` holds a row of inputs for each of them.
template <int kPixels, int kOutputs>
void add_inputs(const float* hidden, int64_t hidden_step, int64_t count, const float* weight,
                int64_t weight_step, float* parts, int64_t parts_step) {
  using Vector = Simd::Vector;
  Vector sums[kPixels][kOutputs][kPartVectors];
#pragma GCC unroll 16
  for (int p = 0; p < kPixels; ++p)
#pragma GCC unroll 6
    for (int o = 0; o < kOutputs; ++o)
#pragma GCC unroll 4
      for (int v = 0; v < kPartVectors; ++v)
        sums[p][o][v] = Simd::load(parts + p * parts_step + o * kPartialSums + v * Simd::kLanes);
  for (int64_t i = 0; i < count; i += kPartialSums) {
#pragma GCC unroll 4
    for (int v = 0; v < kPartVectors; ++v) {
      const int64_t first = i + v * Simd::kLanes;
      Vector weights[kOutputs];
#pragma GCC unroll 6
      for (int o = 0; o < kOutputs; ++o) weights[o] = Simd::load(weight + o * weight_step + first);
#pragma GCC unroll 16
      for (int p = 0; p < kPixels; ++p) {
        const Vector value = Simd::load(hidden + p * hidden_step + first);
#pragma GCC unroll 6
        for (int o = 0; o < kOutputs; ++o)
          sums[p][o][v] = Simd::multiply_add(value, weights[o], sums[p][o][v]);
      }
    }
  }
#pragma GCC unroll 16
  for (int p = 0; p < kPixels; ++p)
#pragma GCC unroll 6
    for (int o = 0; o < kOutputs; ++o)
#pragma GCC unroll 4
      for (int v = 0; v < kPartVectors; ++v)
        Simd::store(parts + p * parts_step + o * kPartialSums + v * Simd::kLanes, sums[p][o][v]);
}

// As many pixels at a time as the registers hold.
template <int kOutputs>
inline void add_to_outputs(const float* hidden, int64_t hidden_step, int64_t pixels, int64_t count,
                           const float* weight, int64_t weight_step, float* parts,
                           int64_t parts_step) {
  constexpr int kRegisters = Simd::kMaxPixels * Simd::kVectors;
  constexpr int kPixels = std::max(1, kRegisters / (kOutputs * kPartVectors));
  int64_t p = 0;
  for (; p + kPixels <= pixels; p += kPixels)
    add_inputs<kPixels, kOutputs>(hidden + p * hidden_step, hidden_step, count, weight, weight_step,
                                  parts + p * parts_step, parts_step);
  for (; p < pixels; ++p)
    add_inputs<1, kOutputs>(hidden + p * hidden_step, hidden_step, count, weight, weight_step,
                            parts + p * parts_step, parts_step);
}

// Inputs [first, first + count) of the last layer, for `pixels` pixels.
inline void add_to_votes(const float* hidden, int64_t hidden_step, int64_t pixels, int64_t first,
                         int64_t count, const PackedLayer& layer, float* parts) {
  const int64_t weight_step = filled_up(layer.inputs, kChannelBlock);
  const int64_t parts_step = layer.outputs * kPartialSums;
  const auto add = [&](auto add_some, int64_t output) {
    add_some(hidden, hidden_step, pixels, count, layer.weight + output * weight_step + first,
             weight_step, parts + output * kPartialSums, parts_step);
  };
  // Two votes at a time read what is hidden half as often.
  int64_t output = 0;
  for (; output + 2 * kChannelsPerVote <= layer.outputs; output += 2 * kChannelsPerVote)
    add(add_to_outputs<2 * kChannelsPerVote>, output);
  if (output < layer.outputs) add(add_to_outputs<kChannelsPerVote>, output);
}

// The votes of one pixel from its partial sums.
inline void finish_votes(const float* parts, const PackedLayer& layer, float* vote,
                         int64_t channel_stride) {
  for (int64_t output = 0; output < layer.outputs; ++output) {
    float mine[kPartialSums];
    std::memcpy(mine, parts + output * kPartialSums, sizeof(mine));
    vote[output * channel_stride] = activate_vote(add_in_halves(mine) + layer.bias[output], output);
  }
}
