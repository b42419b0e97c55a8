// What warpgroup.h of csrc/cuda is of PTX on a device.
//
// Products are made as late as they may be: when their thread waits for them. Until then their sums
// hold noise; so does the target of a copy until the scheduler makes it, which is at any time
// before the barrier that counts it lets anyone pass.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

namespace emulation {

uint64_t describe_matrix(const void* first, int to_next_rows, int to_next_piece);
void init_barrier(uint64_t* barrier, int arrivals);
void arrive(uint64_t* barrier, int bytes);
void wait_for(const uint64_t* barrier, uint32_t parity);
void copy_counted(void* to, const void* from, int bytes, uint64_t* barrier);
void sync_warpgroup();
void show_to_instructions();
void begin_products();
void multiply_matrices(float (*sums)[4], uint64_t a, uint64_t b, bool add, bool bfloat16);
void commit_products();
void make_products(size_t groups_left);

}  // namespace emulation

namespace dvfast {

using SharedBarrier = uint64_t;

using emulation::begin_products;
using emulation::commit_products;
using emulation::copy_counted;
using emulation::describe_matrix;
using emulation::init_barrier;
using emulation::show_to_instructions;
using emulation::sync_warpgroup;
using emulation::wait_for;

inline uint64_t moved_by(uint64_t matrix, int bytes) {
  return matrix + static_cast<uint64_t>(bytes >> 4);
}

inline void show_barriers() {}

inline void arrive(SharedBarrier* barrier) { emulation::arrive(barrier, 0); }

inline void arrive_with_copies(SharedBarrier* barrier, int bytes) {
  emulation::arrive(barrier, bytes);
}

template <int kGroups>
void wait_for_products() {
  emulation::make_products(kGroups);
}

inline void settle(WarpgroupSums&) {}

template <MatrixPrecision kPrecision>
void multiply_matrices(WarpgroupSums& sums, uint64_t a, uint64_t b, bool add) {
  emulation::multiply_matrices(sums, a, b, add, kPrecision == MatrixPrecision::kBfloat16);
}

template <int kRegisters, bool kMore>
void take_registers() {}

inline void need_warpgroups() {}

}  // namespace dvfast
