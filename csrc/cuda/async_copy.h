// Copies from global to shared memory that go on while the thread does something else: cp.async
// where the device has it (8.0), else copies that are done at once.
#pragma once

#include <cuda_runtime.h>

#if !defined(__CUDACC__)
#include <emulated_instructions.h>  // of tests/emulation, in place of the PTX below
#else

#include <cstdint>

namespace dvfast {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
#define DVFAST_ASYNC_COPY 1
#endif

// 4 or 16 bytes, both addresses at a multiple of as many, kept in the L1 cache. Zeros where they
// are not `wanted`.
template <int kBytes>
__device__ __forceinline__ void copy_async(void* to, const void* from, bool wanted = true) {
  static_assert(kBytes == 4 || kBytes == 16, "");
#ifdef DVFAST_ASYNC_COPY
  asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(
                   static_cast<uint32_t>(__cvta_generic_to_shared(to))),
               "l"(__cvta_generic_to_global(from)), "n"(kBytes), "r"(wanted ? kBytes : 0)
               : "memory");
#else
  if (kBytes == 16) {
    *static_cast<float4*>(to) =
        wanted ? *static_cast<const float4*>(from) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  } else {
    *static_cast<float*>(to) = wanted ? *static_cast<const float*>(from) : 0.0f;
  }
#endif
}

// 16 bytes that this multiprocessor reads but once: past the L1 cache.
__device__ __forceinline__ void stream_async(void* to, const void* from) {
#ifdef DVFAST_ASYNC_COPY
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(
                   static_cast<uint32_t>(__cvta_generic_to_shared(to))),
               "l"(__cvta_generic_to_global(from))
               : "memory");
#else
  *static_cast<float4*>(to) = *static_cast<const float4*>(from);
#endif
}

// Closes this thread's group of copies.
__device__ __forceinline__ void commit_copies() {
#ifdef DVFAST_ASYNC_COPY
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Until at most so many of this thread's groups are under way. What other threads have copied is
// there after a barrier that they reach after waiting.
template <int kGroups>
__device__ __forceinline__ void wait_for_copies() {
#ifdef DVFAST_ASYNC_COPY
  asm volatile("cp.async.wait_group %0;" ::"n"(kGroups) : "memory");
#endif
}

#undef DVFAST_ASYNC_COPY

}  // namespace dvfast

#endif
