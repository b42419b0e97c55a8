// What the race detector has to know of the thread that runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

namespace emulation {

struct Place {
  unsigned int block;
  unsigned int thread;              // of the block
  unsigned int epoch;               // how many barriers it has passed
  unsigned int epoch_of_warpgroup;  // how many of its own
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

// Products of matrices that the thread has asked for and not waited for.
struct Product {
  float (*sums)[4];
  uint64_t a, b;
  bool add, bfloat16;
  size_t group;
};
struct Products {
  std::deque<Product> waiting;
  std::map<float (*)[4], std::vector<float>> sums;  // that are nobody's
  size_t open = 0;
  bool begun = false;
};
Products& products();

// A copy that a barrier in shared memory counts. It is made when it pleases the scheduler.
struct CountedCopy {
  void* to;
  const void* from;
  size_t bytes;
  uint64_t* barrier;
};
void copy_some_time(const CountedCopy& copy);
void make_copy(const CountedCopy& copy);

void wait_for_warpgroup();
// Until the phase of this parity is over.
void wait_for_phase(const uint64_t* barrier, uint32_t parity);
bool phase_is_over(uint64_t barrier, uint32_t parity);

// What the threads of this warpgroup wrote to shared memory and did not show to instructions.
void wrote_to_shared_memory();
void showed_to_instructions();
bool all_is_shown();

bool on_a_stack(const void* address);
bool in_shared_memory(const void* address);

// What memory holds that nobody has set.
unsigned char noise();

// Where a thread may be preempted.
void may_yield();

// The launch will fail, with the first message given.
void fail(const std::string& message);

}  // namespace emulation
