// The limit of the machine: fused multiply-adds per second, on numbers in registers.
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

namespace {

#if defined(__AVX512F__)
constexpr int kBytes = 64, kSums = 24;
#elif defined(__AVX__)
constexpr int kBytes = 32, kSums = 12;
#else
constexpr int kBytes = 16, kSums = 12;
#endif
typedef float Vector __attribute__((vector_size(kBytes)));

double flops_of_thread(int64_t rounds, unsigned seed) {
  const auto random = [&seed] {  // never zeros: they cost less power, and so less time
    Vector v;
    for (unsigned i = 0; i < kBytes / sizeof(float); ++i) {
      seed = seed * 1664525u + 1013904223u;
      v[i] = static_cast<float>(seed >> 8) / (1 << 24) - 0.5f;
    }
    return v;
  };
  Vector sums[kSums];
#pragma GCC unroll 24
  for (int i = 0; i < kSums; ++i) sums[i] = random();
  const Vector a = random(), b = random();
  const auto start = std::chrono::steady_clock::now();
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 24
    for (int i = 0; i < kSums; ++i) sums[i] = sums[i] * a + b;  // -ffp-contract=fast
#pragma GCC unroll 24
    for (int i = 0; i < kSums; ++i) asm volatile("" : "+x"(sums[i]));
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return 2.0 * kSums * (kBytes / sizeof(float)) * static_cast<double>(rounds) / seconds;
}

}  // namespace

extern "C" double fma_peak(int threads, int64_t rounds) {
  std::vector<double> flops(threads);
  std::vector<std::thread> running;
  for (int i = 0; i < threads; ++i)
    running.emplace_back([&flops, rounds, i] { flops[i] = flops_of_thread(rounds, 7u + i); });
  double sum = 0;
  for (int i = 0; i < threads; ++i) {
    running[i].join();
    sum += flops[i];
  }
  return sum;
}
