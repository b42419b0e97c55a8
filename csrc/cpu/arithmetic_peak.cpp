#include "arithmetic_peak.h"

#include <chrono>
#include <system_error>
#include <thread>
#include <vector>

#define DVFAST_KERNELS "kernels/arithmetic_peak.h"
#include "bfloat16_network.h"
#include "each_instruction_set.h"

namespace dvfast {
namespace {

double operations_of_thread(ArithmeticUnit unit, int64_t rounds, uint32_t seed, float& sum) {
  if (unit == ArithmeticUnit::kMatrix) return multiply_add_matrices(rounds, seed, sum);
  return DVFAST_DISPATCH(multiply_add_vectors, rounds, seed, sum);
}

}  // namespace

double arithmetic_peak(ArithmeticUnit unit, int threads, int64_t rounds) {
  struct alignas(64) Result {  // a cache line each
    double rate = 0;
    float sum = 0;
  };
  std::vector<Result> results(threads);
  std::vector<std::thread> running;
  running.reserve(threads);
  try {
    for (int i = 0; i < threads; ++i) {
      running.emplace_back([&result = results[i], unit, rounds, i] {
        using Clock = std::chrono::steady_clock;
        const auto start = Clock::now();
        const double operations = operations_of_thread(unit, rounds, 7u + i, result.sum);
        result.rate = operations / std::chrono::duration<double>(Clock::now() - start).count();
      });
    }
  } catch (const std::system_error&) {  // as many as the system has
  }
  double rate = 0;
  for (size_t i = 0; i < running.size(); ++i) {
    running[i].join();
    rate += results[i].rate;
  }
  return rate;
}

}  // namespace dvfast
