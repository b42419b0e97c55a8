// No include guard; see ../each_instruction_set.h.

// Multiply-adds of one thread on numbers that stay in registers; the sum keeps them from being
// optimised away. As many sums as hide the latency of the instruction and still fit.
inline double multiply_add_vectors(int64_t rounds, uint32_t seed, float& sum) {
  constexpr int kSums = Simd::kLanes == 16 ? 24 : 12;
  const auto random = [&seed] {  // never zeros: they cost less power, and so less time
    float numbers[Simd::kLanes];
    for (float& number : numbers) {
      seed = seed * 1664525u + 1013904223u;
      number = static_cast<float>(seed >> 8) / (1 << 24) - 0.5f;
    }
    return Simd::load(numbers);
  };
  Simd::Vector sums[kSums];
#pragma GCC unroll 24
  for (Simd::Vector& v : sums) v = random();
  const Simd::Vector a = random(), b = random();
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 24
    for (Simd::Vector& v : sums) v = Simd::multiply_add(v, a, b);
  }
#pragma GCC unroll 24
  for (int i = 1; i < kSums; ++i) sums[0] = Simd::add(sums[0], sums[i]);
  float numbers[Simd::kLanes];
  Simd::store(numbers, sums[0]);
  for (const float number : numbers) sum += number;
  return 2.0 * kSums * Simd::kLanes * static_cast<double>(rounds);
}
