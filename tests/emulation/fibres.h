// What the race detector has to know of the thread that runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
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

// The asynchronous copies that the thread has asked for and not waited for.
struct Copy {
  void* to;
  const void* from;
  size_t bytes;
  size_t group;
};
struct Copies {
  std::deque<Copy> waiting;
  size_t open = 0;  // the group that the next copy belongs to
};
Copies& copies();

// What the thread brings to a matrix instruction, for the other lanes to read. The next one has
// another place: whoever is there has left the one before.
struct Operands {
  uint32_t a[4], b[2];
};
Operands& next_operands();

bool on_a_stack(const void* address);
bool in_shared_memory(const void* address);

// What memory holds that nobody has set.
unsigned char noise();

// Where a thread may be preempted.
void may_yield();

// The launch will fail, with the first message given.
void fail(const std::string& message);

}  // namespace emulation
