// The limit of the machine, for the benchmarks to compare with.
#pragma once

#include <cstdint>

namespace dvfast {

enum class ArithmeticUnit { kVector, kMatrix };

// Floating-point operations per second that `threads` threads reach together when nothing but
// multiply-adds runs: of float32 in the vector instructions in use, or of bfloat16 in the matrix
// unit, which the CPU must have.
double arithmetic_peak(ArithmeticUnit unit, int threads, int64_t rounds);

}  // namespace dvfast
