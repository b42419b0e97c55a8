// Which version of the hand-written vector kernels runs: the best that the CPU has, or what
// DVFAST_CPU_CAPABILITY (avx512, avx2 or portable) allows at most. All give the same bits.
#pragma once

#if !defined(__x86_64__) || !defined(__GNUC__) || defined(__clang__) || \
    defined(DVFAST_NO_MULTIVERSION)
#define DVFAST_ONE_INSTRUCTION_SET
#endif

namespace dvfast {

enum class InstructionSet { kPortable, kAvx2, kAvx512 };

InstructionSet instruction_set();

}  // namespace dvfast

// Calls the version of a kernel that the CPU runs.
#if defined(DVFAST_ONE_INSTRUCTION_SET)
#define DVFAST_DISPATCH(kernel, ...) only::kernel(__VA_ARGS__)
#else
#define DVFAST_DISPATCH(kernel, ...)                                          \
  (instruction_set() == InstructionSet::kAvx512 ? avx512::kernel(__VA_ARGS__) \
   : instruction_set() == InstructionSet::kAvx2 ? avx2::kernel(__VA_ARGS__)   \
                                                : portable::kernel(__VA_ARGS__))
#endif
