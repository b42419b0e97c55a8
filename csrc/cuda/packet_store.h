// 16 bytes to global memory by one instruction. A struct of 16 bytes is stored by one as well,
// unless the compiler takes it apart into its numbers, as it does in long loops.
#pragma once

#include <cuda_runtime.h>

#if !defined(__CUDACC__)
#include <emulated_instructions.h>  // of tests/emulation, in place of the PTX below
#else

namespace dvfast {

__device__ __forceinline__ void store_packet(void* to, const uint4& words) {
  asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)),
               "r"(words.x), "r"(words.y), "r"(words.z), "r"(words.w)
               : "memory");
}

}  // namespace dvfast

#endif
