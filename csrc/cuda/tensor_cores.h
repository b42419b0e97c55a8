// The matrix instructions of a warp (compute capability 8.0), and what their operands are made of.
// Lane l has, of a matrix of 16 rows, those of numbers l / 4 and l / 4 + 8, and columns from l % 4.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#if !defined(__CUDACC__)
#include <emulated_instructions.h>  // of tests/emulation, in place of the PTX below
#else

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
#define DVFAST_TENSOR_CORES 1
#endif

namespace dvfast {

// Four matrices of 8 rows of 16 bytes. Lane l names row l % 8 of matrix l / 8, and gets, of row
// l / 4 of each matrix, the bytes from 4 * (l % 4) on.
__device__ __forceinline__ void load_matrices(const void* row, uint32_t (&result)[4]) {
#ifdef DVFAST_TENSOR_CORES
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(result[0]), "=r"(result[1]), "=r"(result[2]), "=r"(result[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
#endif
}

// sums [16, 8] += a [16, 16] * b [16, 8] of bfloat16.
__device__ __forceinline__ void multiply_bfloat16(const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                                                  float (&sums)[4]) {
#ifdef DVFAST_TENSOR_CORES
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}

// sums [16, 8] += a [16, 8] * b [8, 8] of TF32: float32 of which the last 13 bits do not count.
__device__ __forceinline__ void multiply_tf32(const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                                              float (&sums)[4]) {
#ifdef DVFAST_TENSOR_CORES
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}

// To the nearest TF32, ties away from zero.
__device__ __forceinline__ uint32_t to_tf32(float value) {
  uint32_t result = 0;
#ifdef DVFAST_TENSOR_CORES
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(result) : "f"(value));
#endif
  return result;
}

// What a kernel does on a device that has none of these.
__device__ __forceinline__ void need_tensor_cores() {
#ifndef DVFAST_TENSOR_CORES
  __trap();
#endif
}

#undef DVFAST_TENSOR_CORES

}  // namespace dvfast

#endif
