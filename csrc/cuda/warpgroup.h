// The matrix instructions of four warps, whose factors lie in shared memory, and copies that a
// barrier in shared memory counts: compute capability 9.0a.
//
// Matrices are [rows, 32 bytes]. Sixteen bytes of eight rows are the unit: rows of one lie side by
// side, 16 bytes apart. A descriptor says how far it is from there to the next eight rows, and to
// the other sixteen bytes, so that a matrix of a convolution's places begins anywhere in its map.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "launch.h"
#include "matrix_precision.h"

namespace dvfast {

constexpr int kWarpgroup = 4 * kWarpSize;
constexpr int kRowsOfWarpgroup = 64;
constexpr int kPieceBytes = 16;
constexpr int kStepBytes = 2 * kPieceBytes;  // of the depth, that an instruction takes

// Of a warpgroup's sums [64, 128]: 16 rows of a warp, by blocks of 8 columns. Lane l has rows l / 4
// and l / 4 + 8, and columns 2 * (l % 4) and the next.
constexpr int kColumnsOfWarpgroup = 128;
using WarpgroupSums = float[kColumnsOfWarpgroup / 8][4];

}  // namespace dvfast

#if !defined(__CUDACC__)
#include <emulated_warpgroup.h>  // of tests/emulation, in place of the PTX below
#else

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define DVFAST_WARPGROUPS 1
#endif

namespace dvfast {

using SharedBarrier = uint64_t;

__device__ __forceinline__ uint32_t shared_address(const void* address) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(address));
}

// Of a matrix that begins at this address of shared memory: bytes / 16, 14 bits each.
__device__ __forceinline__ uint64_t describe_matrix(const void* first, int to_next_rows,
                                                    int to_next_piece) {
  return static_cast<uint64_t>(shared_address(first) >> 4) |
         static_cast<uint64_t>(to_next_piece >> 4) << 16 |
         static_cast<uint64_t>(to_next_rows >> 4) << 32;
}

// The same matrix so many bytes further on.
__device__ __forceinline__ uint64_t moved_by(uint64_t matrix, int bytes) {
  return matrix + static_cast<uint64_t>(bytes >> 4);
}

// What this thread wrote to shared memory is there for the instructions below, once those who wait
// for it have passed a barrier.
__device__ __forceinline__ void show_to_instructions() {
#ifdef DVFAST_WARPGROUPS
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

// Barriers for the threads of one warpgroup; 0 is that of the block.
__device__ __forceinline__ void sync_warpgroup() {
#ifdef DVFAST_WARPGROUPS
  asm volatile("bar.sync %0, %1;" ::"r"(1 + threadIdx.x / kWarpgroup), "n"(kWarpgroup) : "memory");
#endif
}

__device__ __forceinline__ void init_barrier(SharedBarrier* barrier, int arrivals) {
#ifdef DVFAST_WARPGROUPS
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)),
               "r"(arrivals)
               : "memory");
#endif
}

// Behind init_barrier, and before the barrier after which others use them.
__device__ __forceinline__ void show_barriers() {
#ifdef DVFAST_WARPGROUPS
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}

__device__ __forceinline__ void arrive(SharedBarrier* barrier) {
#ifdef DVFAST_WARPGROUPS
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
               : "memory");
#endif
}

// Arrives, and lets the barrier wait for so many bytes of copies as well.
__device__ __forceinline__ void arrive_with_copies(SharedBarrier* barrier, int bytes) {
#ifdef DVFAST_WARPGROUPS
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
      "r"(bytes)
      : "memory");
#endif
}

// Until the phase of this parity, the first being 0, is over.
__device__ __forceinline__ void wait_for(SharedBarrier* barrier, uint32_t parity) {
#ifdef DVFAST_WARPGROUPS
  uint32_t over = 0;
  while (over == 0) {
    asm volatile(
        "{\n"
        ".reg .pred p;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p;\n"
        "}"
        : "=r"(over)
        : "r"(shared_address(barrier)), "r"(parity)
        : "memory");
  }
#endif
}

// A multiple of 16 bytes, from and to multiples of 16.
__device__ __forceinline__ void copy_counted(void* to, const void* from, int bytes,
                                             SharedBarrier* barrier) {
#ifdef DVFAST_WARPGROUPS
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, "
      "[%3];" ::"r"(shared_address(to)),
      "l"(__cvta_generic_to_global(from)), "r"(bytes), "r"(shared_address(barrier))
      : "memory");
#endif
}

// Before the first product, and before those of sums that were touched since.
__device__ __forceinline__ void begin_products() {
#ifdef DVFAST_WARPGROUPS
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}

// Closes a group of products.
__device__ __forceinline__ void commit_products() {
#ifdef DVFAST_WARPGROUPS
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}

// Until at most so many groups are under way.
template <int kGroups>
__device__ __forceinline__ void wait_for_products() {
#ifdef DVFAST_WARPGROUPS
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kGroups) : "memory");
#endif
}

// Keeps the compiler from reading sums before they have been waited for.
__device__ __forceinline__ void settle(WarpgroupSums& sums) {
#pragma unroll
  for (int n = 0; n < kColumnsOfWarpgroup / 8; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) asm volatile("" : "+f"(sums[n][i])::"memory");
  }
}

#define DVFAST_FOUR(n) "+f"(s[n][0]), "+f"(s[n][1]), "+f"(s[n][2]), "+f"(s[n][3])
#define DVFAST_MULTIPLY(shape_and_types, transposed)                                            \
  asm volatile(                                                                                 \
      "{\n"                                                                                     \
      ".reg .pred p;\n"                                                                         \
      "setp.ne.b32 p, %66, 0;\n"                                                                \
      "wgmma.mma_async.sync.aligned." shape_and_types                                           \
      " {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, " \
      "%19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, "   \
      "%36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, "   \
      "%53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, %64, %65, p, 1, 1" transposed    \
      ";\n"                                                                                     \
      "}"                                                                                       \
      : DVFAST_FOUR(0), DVFAST_FOUR(1), DVFAST_FOUR(2), DVFAST_FOUR(3), DVFAST_FOUR(4),         \
        DVFAST_FOUR(5), DVFAST_FOUR(6), DVFAST_FOUR(7), DVFAST_FOUR(8), DVFAST_FOUR(9),         \
        DVFAST_FOUR(10), DVFAST_FOUR(11), DVFAST_FOUR(12), DVFAST_FOUR(13), DVFAST_FOUR(14),    \
        DVFAST_FOUR(15)                                                                         \
      : "l"(a), "l"(b), "r"(static_cast<int>(add)))

// sums [64, 128] (+)= a [64, 32 bytes] * b [128, 32 bytes]^T, by the four warps together. The sums
// are nobody's until they have been waited for.
template <MatrixPrecision kPrecision>
__device__ __forceinline__ void multiply_matrices(WarpgroupSums& s, uint64_t a, uint64_t b,
                                                  bool add) {
#ifdef DVFAST_WARPGROUPS
  if (kPrecision == MatrixPrecision::kBfloat16) {
    DVFAST_MULTIPLY("m64n128k16.f32.bf16.bf16", ", 0, 0");
  } else {
    DVFAST_MULTIPLY("m64n128k8.f32.tf32.tf32", "");
  }
#endif
}

#undef DVFAST_MULTIPLY
#undef DVFAST_FOUR

// The registers of each thread of the warpgroup, from here on.
template <int kRegisters, bool kMore>
__device__ __forceinline__ void take_registers() {
#ifdef DVFAST_WARPGROUPS
  if (kMore) {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
  } else {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
  }
#endif
}

__device__ __forceinline__ void need_warpgroups() {
#ifndef DVFAST_WARPGROUPS
  __trap();
#endif
}

#undef DVFAST_WARPGROUPS

}  // namespace dvfast

#endif
