// Convolutions on the matrix unit, for trunk and head in bfloat16. Compiled for AMX alone.
// No include guard; see ../each_instruction_set.h.
#include "convolve.h"

// All tiles have 16 rows of 64 bytes. 0 to 3 hold sums of 2 x 16 pixels and 2 x 16 outputs, 4 and 5
// inputs, 6 and 7 weights: four products for four loads.
struct alignas(64) TileLayout {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
// Static: GCC believes that no more than eight bytes of it are read, and leaves the others of a
// local one unwritten.
static constexpr TileLayout kTileLayout{};

class TileConfiguration {
 public:
  TileConfiguration() { _tile_loadconfig(&kTileLayout); }
  ~TileConfiguration() { _tile_release(); }
  TileConfiguration(const TileConfiguration&) = delete;
  TileConfiguration& operator=(const TileConfiguration&) = delete;
};

constexpr int64_t kHalfPanel = kPanelWidth / 2;

struct alignas(64) InputTile {
  bfloat16 numbers[512];
};
struct alignas(64) SumTile {
  float numbers[kBfloat16Pixels * kHalfPanel];
};

// Where the inputs of one step lie, from the first of a pixel on; a step takes kBfloat16Block.
inline std::vector<int64_t> input_offsets(const FeaturesView<const bfloat16>& input,
                                          int64_t kernel_size, int64_t dilation) {
  std::vector<int64_t> offsets;
  for (int64_t y = 0; y < kernel_size; ++y)
    for (int64_t x = 0; x < kernel_size; ++x)
      for (int64_t c = 0; c < input.channels; c += kBfloat16Block)
        offsets.push_back(dilation * (y * input.y_stride + x * input.x_stride) + c);
  return offsets;
}

inline int64_t panel_size(const std::vector<int64_t>& offsets) {
  return static_cast<int64_t>(offsets.size()) * kBfloat16Block * kPanelWidth;
}

// Two groups of pixels, which may be the same, and where their sums go, as [pixel, output].
struct GroupPair {
  const bfloat16 *first, *second;
  int64_t step;  // from pixel to pixel
};
struct SumsOfPair {
  float *first, *second;
  int64_t step, half_step;  // from pixel to pixel, and to the other half of the panel
};

// Sums for one panel, from their bias on. A step takes the matrix unit 64 cycles and few
// instructions: meanwhile the vector unit does some of the work that another pair has left. Every
// tile is loaded as soon as its last product is under way, as the unit does not rename tiles.
template <typename Work>
inline void multiply_panel(const GroupPair& inputs, const std::vector<int64_t>& offsets,
                           const bfloat16* weight, const float* bias, const SumsOfPair& to,
                           Work& work) {
  constexpr int64_t kTile = sizeof(InputTile) / sizeof(bfloat16);
  const auto input_bytes = static_cast<size_t>(inputs.step) * sizeof(bfloat16);
  const int64_t *offset = offsets.data(), *const last = offset + offsets.size() - 1;
  _tile_loadd(6, weight, 64);
  _tile_loadd(4, inputs.first, input_bytes);
  _tile_loadd(0, bias, 0);  // the same row for every pixel
  _tile_loadd(1, bias + kHalfPanel, 0);
  _tile_loadd(2, bias, 0);
  _tile_loadd(3, bias + kHalfPanel, 0);
  for (;; ++offset) {
    _tile_loadd(5, inputs.second + *offset, input_bytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, weight + kTile, 64);
    _tile_dpbf16ps(2, 5, 6);
    if (offset == last) break;
    weight += 2 * kTile;
    _tile_loadd(6, weight, 64);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(4, inputs.first + offset[1], input_bytes);
    _tile_dpbf16ps(3, 5, 7);
    work.some();
  }
  _tile_dpbf16ps(1, 4, 7);
  _tile_dpbf16ps(3, 5, 7);
  work.rest();
  const auto sum_bytes = static_cast<size_t>(to.step) * sizeof(float);
  _tile_stored(0, to.first, sum_bytes);
  _tile_stored(1, to.first + to.half_step, sum_bytes);
  _tile_stored(2, to.second, sum_bytes);
  _tile_stored(3, to.second + to.half_step, sum_bytes);
}

// Rows are covered by groups of 16 pixels; the last one reaches back over the one before.
inline int64_t groups_in_row(int64_t width) { return divide_up(width, kBfloat16Pixels); }
inline int64_t begin_of_group(int64_t width, int64_t index) {
  return std::min(index * kBfloat16Pixels, width - kBfloat16Pixels);
}
