// Winograd's transforms of inputs and outputs, and the products in between; see
// ../../core/winograd.h. No include guard; see ../each_instruction_set.h.

// Eight inputs to eight factors: the transposed B of the algorithm.
DVFAST_INLINE void winograd_input(const Simd::Vector (&x)[kWinogradInputs],
                                  Simd::Vector (&y)[kWinogradInputs]) {
  using A = Simd;
  using Vector = Simd::Vector;
  const Vector quarter = A::broadcast(0.25f), four = A::broadcast(4.0f);
  y[0] = A::multiply_add(A::broadcast(5.25f), A::subtract(x[2], x[4]), A::subtract(x[6], x[0]));
  y[7] = A::multiply_add(A::broadcast(5.25f), A::subtract(x[3], x[5]), A::subtract(x[7], x[1]));
  const Vector even1 = A::multiply_add(A::broadcast(-4.25f), x[4], A::add(x[2], x[6]));
  const Vector odd1 = A::multiply_add(A::broadcast(-4.25f), x[3], A::add(x[1], x[5]));
  y[1] = A::add(even1, odd1);
  y[2] = A::subtract(even1, odd1);
  const Vector even2 =
      A::multiply_add(quarter, x[2], A::multiply_add(A::broadcast(-1.25f), x[4], x[6]));
  const Vector odd2 =
      A::multiply_add(quarter, x[1], A::multiply_add(A::broadcast(-1.25f), x[3], x[5]));
  const Vector two = A::broadcast(2.0f), minus_two = A::broadcast(-2.0f);
  y[3] = A::multiply_add(two, odd2, even2);
  y[4] = A::multiply_add(minus_two, odd2, even2);
  const Vector even3 =
      A::multiply_add(four, x[2], A::multiply_add(A::broadcast(-5.0f), x[4], x[6]));
  const Vector odd3 = A::multiply_add(four, x[1], A::multiply_add(A::broadcast(-5.0f), x[3], x[5]));
  y[5] = A::multiply_add(A::broadcast(0.5f), odd3, even3);
  y[6] = A::multiply_add(A::broadcast(-0.5f), odd3, even3);
}

// Eight products to the outputs along one axis, four or six: the transposed A.
template <int kOutputs>
DVFAST_INLINE void winograd_output(const Simd::Vector (&x)[kWinogradInputs],
                                   Simd::Vector (&y)[kOutputs]) {
  using A = Simd;
  using Vector = Simd::Vector;
  const Vector sum1 = A::add(x[1], x[2]), difference1 = A::subtract(x[1], x[2]);
  const Vector sum2 = A::add(x[3], x[4]), difference2 = A::subtract(x[3], x[4]);
  const Vector sum3 = A::add(x[5], x[6]), difference3 = A::subtract(x[5], x[6]);
  y[0] = A::add(A::add(x[0], sum1), A::add(sum2, sum3));
#pragma GCC unroll 8
  for (int i = 1; i < kOutputs; ++i) {
    const auto power = static_cast<float>(1 << i);
    const bool odd = i % 2 != 0;
    y[i] = A::multiply_add(
        A::broadcast(1 / power), odd ? difference3 : sum3,
        A::multiply_add(A::broadcast(power), odd ? difference2 : sum2, odd ? difference1 : sum1));
  }
  y[kOutputs - 1] = A::add(x[7], y[kOutputs - 1]);
}

// 8 x 8 inputs of a vector of channels, load(row, column), to 64 factors `factor_step` apart.
template <typename Load>
DVFAST_INLINE void transform_inputs(const Load& load, float* to, int64_t factor_step) {
  using Vector = Simd::Vector;
  Vector rows[kWinogradInputs][kWinogradInputs];
  for (int i = 0; i < kWinogradInputs; ++i) {
    Vector inputs[kWinogradInputs];
#pragma GCC unroll 8
    for (int j = 0; j < kWinogradInputs; ++j) inputs[j] = load(i, j);
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
      Simd::store(to + (i * kWinogradInputs + j) * factor_step, factors[i]);
  }
}

// So many tiles are multiplied with a panel of weights at a time: their products stay in the cache.
constexpr int64_t kTilesPerGroup = 28;

// The 64 factors or products of a tile lie so far apart: an odd number of cache lines, since all
// would share a few sets of the cache if it were a multiple of a power of two.
constexpr int64_t odd_lines(int64_t numbers) { return (numbers + 15) / 16 / 2 * 32 + 16; }
constexpr int64_t kProductStep = odd_lines(kTilesPerGroup * kPanelWidth);

// 64 products of a vector of output channels to rows of outputs, each with its bias and rectified:
// take(row, outputs).
template <int kOutputs, typename Take>
DVFAST_INLINE void transform_products(const float* products, const float* bias, const Take& take) {
  using Vector = Simd::Vector;
  Vector columns[kWinogradInputs][kOutputs];
#pragma GCC unroll 8
  for (int j = 0; j < kWinogradInputs; ++j) {
    Vector column[kWinogradInputs];
#pragma GCC unroll 8
    for (int i = 0; i < kWinogradInputs; ++i)
      column[i] = Simd::load(products + (i * kWinogradInputs + j) * kProductStep);
    winograd_output(column, columns[j]);
  }
  const Vector start = Simd::load(bias);
#pragma GCC unroll 8
  for (int i = 0; i < kOutputs; ++i) {
    Vector row[kWinogradInputs], outputs[kOutputs];
#pragma GCC unroll 8
    for (int j = 0; j < kWinogradInputs; ++j) row[j] = columns[j][i];
    winograd_output(row, outputs);
#pragma GCC unroll 8
    for (int j = 0; j < kOutputs; ++j) outputs[j] = Simd::rectify(Simd::add(outputs[j], start));
    take(i, outputs);
  }
}

// The products of at most kTilesPerGroup tiles with one panel of outputs, summed over the channels:
// of factors [product, tile, channel], a product `factor_step` after the other, as
// [product, tile, kPanelWidth], kProductStep apart.
inline void multiply_factors(const float* factors, int64_t factor_step, int64_t num_tiles,
                             int64_t channels, const float* panel, int64_t width, float* products) {
  static constexpr float kZeros[kPanelWidth] = {};
  const Taps taps{1, 0, 1, 0, channels};
  PixelRun runs[kTilesPerGroup];
  const int64_t num_runs = runs_in_row(num_tiles);
  for (int64_t product = 0; product < kWinogradProducts; ++product) {
    for (int64_t r = 0; r < num_runs; ++r)
      runs[r] = run_of_row(factors + product * factor_step, num_tiles, channels, r);
    const PackedLayer layer{panel + product * channels * kPanelWidth, kZeros, channels, width};
    convolve(runs, num_runs, channels, taps, layer, 0, width,
             {products + product * kProductStep, kPanelWidth}, false);
  }
}
