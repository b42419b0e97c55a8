// How the binary was built, as JSON, for dvfast.build_info(), and what it runs on.
#include <torch/headeronly/version.h>

#include "../cpu/aligned.h"
#include "../cpu/arithmetic_peak.h"
#include "../cpu/bfloat16_network.h"
#include "../cpu/instruction_set.h"

#define DVFAST_STRING(x) #x
#define DVFAST_EXPAND(x) DVFAST_STRING(x)

extern "C" __attribute__((visibility("default"))) const char* dvfast_build_info() {
  return "{\"compiler\": \"" __VERSION__
         "\", \"built_with_torch\": \"" DVFAST_EXPAND(TORCH_VERSION_MAJOR) "." DVFAST_EXPAND(
             TORCH_VERSION_MINOR) "." DVFAST_EXPAND(TORCH_VERSION_PATCH)
         "\", \"cuda_sources\": " DVFAST_EXPAND(DVFAST_NUM_CUDA_SOURCES) "}";
}

extern "C" __attribute__((visibility("default"))) const char* dvfast_instruction_set() {
  switch (dvfast::instruction_set()) {
    case dvfast::InstructionSet::kAvx512: return "avx512";
    case dvfast::InstructionSet::kAvx2: return "avx2";
    default: return "portable";
  }
}

extern "C" __attribute__((visibility("default"))) bool dvfast_has_matrix_unit() {
  return dvfast::has_matrix_unit();
}

extern "C" __attribute__((visibility("default"))) double dvfast_arithmetic_peak(bool matrix,
                                                                                int threads,
                                                                                int64_t rounds) {
  using dvfast::ArithmeticUnit;
  return dvfast::arithmetic_peak(matrix ? ArithmeticUnit::kMatrix : ArithmeticUnit::kVector,
                                 threads, rounds);
}

extern "C" __attribute__((visibility("default"))) void dvfast_release_memory() {
  dvfast::SpareMemory::of_this_thread().release_all();
}
