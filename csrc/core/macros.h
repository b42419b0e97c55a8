// Qualifiers that let one formula compile for the host and, under nvcc, for the device.
#pragma once

#if defined(__CUDACC__)
#define DVFAST_INLINE __host__ __device__ __forceinline__
#elif defined(_MSC_VER)
#define DVFAST_INLINE __forceinline
#else
#define DVFAST_INLINE inline __attribute__((always_inline))
#endif
