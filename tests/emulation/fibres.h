// What the race detector has to know of the thread that runs.
#pragma once

#include <cstdint>
#include <string>

namespace emulation {

struct Place {
  unsigned int block;
  unsigned int thread;  // of the block
  unsigned int epoch;   // how many barriers it has passed
};

// Whether a kernel is running, and not the code that launched it.
bool in_kernel();
Place place();
bool atomic();

bool on_a_stack(const void* address);
bool in_shared_memory(const void* address);

// Where a thread may be preempted.
void may_yield();

// The launch will fail, with the first message given.
void fail(const std::string& message);

}  // namespace emulation
