// What async_copy.h, packet_store.h and tensor_cores.h of csrc/cuda are of PTX on a device.
//
// An asynchronous copy is made as late as it may be: when its thread waits for it. Until then its
// target holds noise.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

namespace emulation {

// from == nullptr: zeros.
void copy_later(void* to, const void* from, size_t bytes);
void close_copies();
void make_copies(size_t groups_left);

// The sums of products are cut off as tensor cores cut them off: see instructions.cpp.
void load_matrices(const void* row, uint32_t (&result)[4]);
void multiply_bfloat16(const uint32_t (&a)[4], uint32_t b0, uint32_t b1, float (&sums)[4]);
void multiply_tf32(const uint32_t (&a)[4], uint32_t b0, uint32_t b1, float (&sums)[4]);
uint32_t to_tf32(float value);

}  // namespace emulation

namespace dvfast {

template <int kBytes>
void copy_async(void* to, const void* from, bool wanted = true) {
  static_assert(kBytes == 4 || kBytes == 16);
  emulation::copy_later(to, wanted ? from : nullptr, kBytes);
}

inline void stream_async(void* to, const void* from) { emulation::copy_later(to, from, 16); }

inline void store_packet(void* to, const uint4& words) { *static_cast<uint4*>(to) = words; }

inline void commit_copies() { emulation::close_copies(); }

template <int kGroups>
void wait_for_copies() {
  emulation::make_copies(kGroups);
}

using emulation::load_matrices;
using emulation::multiply_bfloat16;
using emulation::multiply_tf32;
using emulation::to_tf32;

inline void need_tensor_cores() {}

}  // namespace dvfast
