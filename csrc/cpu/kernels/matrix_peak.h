// No include guard; see ../each_instruction_set.h. After matrix_unit.h.

// Products of one thread on tiles that stay in registers, into four sums in turn.
inline double multiply_add_matrices(int64_t rounds, uint32_t seed, float& sum) {
  const TileConfiguration tiles;
  alignas(64) uint16_t numbers[4][512];
  for (auto& tile : numbers) {
    for (uint16_t& number : tile) {  // a random sign and significand, between 1/2 and 1
      seed = seed * 1664525u + 1013904223u;
      number = static_cast<uint16_t>((seed >> 16 & 0x807f) | 0x3f00);
    }
  }
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, numbers[0], 64);
  _tile_loadd(5, numbers[1], 64);
  _tile_loadd(6, numbers[2], 64);
  _tile_loadd(7, numbers[3], 64);
  for (int64_t r = 0; r < rounds; ++r) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  alignas(64) float sums[256];
  _tile_stored(0, sums, 64);
  sum += sums[0];
  return 4.0 * 2 * 16 * 16 * 32 * static_cast<double>(rounds);
}
