// Data races, found from every access to memory that a kernel makes. Kernels are compiled with
// -fsanitize=thread, which puts a call before each access, but are linked with races.cpp in place
// of the thread sanitizer: its threads are the host's, ours are fibres.
//
// Two accesses to a byte race if they are of different threads, one of them writes, no barrier of
// their block or warpgroup lies between, and they are not both atomic. Volatile accesses count as
// atomic: that is how a kernel says that others may change what it reads. What barriers in shared
// memory order, weights that are copied, shows in the results alone: see emulated_warpgroup.h.
#pragma once

#include <cstddef>

namespace emulation {

void forget_accesses();

// Called before each access to memory; by emulated instructions themselves, as the compiler does
// not see what they do.
void access(const void* address, size_t bytes, bool write, bool is_volatile = false);

}  // namespace emulation
