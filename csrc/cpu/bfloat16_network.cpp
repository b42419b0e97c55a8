#include "bfloat16_network.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "aligned.h"
#include "instruction_set.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__gnu_linux__)
#define DVFAST_MATRIX_UNIT
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#define DVFAST_VECTOR_BITS 512
#pragma GCC push_options
#pragma GCC target( \
    "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bf16,avx2,fma,bmi,bmi2,amx-tile,amx-bf16")
namespace dvfast::amx {
// clang-format off: in the order of their use
#include "kernels/simd.h"
#include "kernels/matrix_unit.h"
#include "kernels/bfloat16_head.h"
#include "kernels/bfloat16_trunk.h"
#include "kernels/matrix_peak.h"
// clang-format on
}  // namespace dvfast::amx
#pragma GCC pop_options
#endif

namespace dvfast {

#if defined(DVFAST_MATRIX_UNIT)

bool has_matrix_unit() {
  static const bool allowed = [] {
#if !defined(DVFAST_ONE_INSTRUCTION_SET)
    if (instruction_set() != InstructionSet::kAvx512) return false;
#endif
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bf16") ||
        !__builtin_cpu_supports("amx-bf16"))
      return false;
    // Linux keeps the unit's registers only for processes that have asked for it.
    constexpr long kRequestPermission = 0x1023, kTileData = 18;
    return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  }();
  return allowed;
}

void bfloat16_trunk_layer(const Bfloat16TrunkParams& params, int64_t begin, int64_t end) {
  amx::bfloat16_trunk_layer(params, begin, end);
}

int64_t bfloat16_head_groups(const Bfloat16HeadParams& params) {
  return amx::bfloat16_head_groups(params);
}

void bfloat16_head(const Bfloat16HeadParams& params, int64_t begin, int64_t end) {
  amx::bfloat16_head(params, begin, end);
}

double multiply_add_matrices(int64_t rounds, uint32_t seed, float& sum) {
  return amx::multiply_add_matrices(rounds, seed, sum);
}

#else

bool has_matrix_unit() { return false; }

void bfloat16_trunk_layer(const Bfloat16TrunkParams&, int64_t, int64_t) { std::abort(); }
int64_t bfloat16_head_groups(const Bfloat16HeadParams&) { std::abort(); }
void bfloat16_head(const Bfloat16HeadParams&, int64_t, int64_t) { std::abort(); }
double multiply_add_matrices(int64_t, uint32_t, float&) { std::abort(); }

#endif

}  // namespace dvfast
