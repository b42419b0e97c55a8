#include "instruction_set.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace dvfast {
namespace {

InstructionSet best() {
#if defined(DVFAST_ONE_INSTRUCTION_SET)
  return InstructionSet::kPortable;
#else
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    return InstructionSet::kAvx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
      __builtin_cpu_supports("bmi2"))
    return InstructionSet::kAvx2;
  return InstructionSet::kPortable;
#endif
}

InstructionSet allowed() {
  const char* asked = std::getenv("DVFAST_CPU_CAPABILITY");
  if (asked && !std::strcmp(asked, "portable")) return InstructionSet::kPortable;
  if (asked && !std::strcmp(asked, "avx2")) return InstructionSet::kAvx2;
  return InstructionSet::kAvx512;
}

}  // namespace

InstructionSet instruction_set() {
  static const InstructionSet chosen = std::min(best(), allowed());
  return chosen;
}

}  // namespace dvfast
