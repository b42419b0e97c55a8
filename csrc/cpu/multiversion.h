// Run-time choice of the instruction set: the compiler builds a function for AVX-512, AVX2 + FMA
// and the baseline, and the loader picks one. Contraction is off and fused multiply-adds are
// explicit, so every version gives the same bits.
//
// What such a function calls must be DVFAST_INLINE and no lambda: a callee that stays a function of
// its own is compiled for the baseline, where a fused multiply-add is a call into the C library.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__gnu_linux__) && \
    !defined(DVFAST_NO_MULTIVERSION)
#define DVFAST_MULTIVERSION \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define DVFAST_MULTIVERSION
#endif
