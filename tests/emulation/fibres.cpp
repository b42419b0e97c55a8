// The scheduler behind tests/emulation/cuda_runtime.h.
#include <ucontext.h>

#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "cuda_runtime.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define DVFAST_ASAN 1
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace dvfast {
// Kernels declare it as `extern __shared__ unsigned char shared[]`.
__align__(16) unsigned char shared[emulation::kSharedBytes];
}  // namespace dvfast

namespace emulation {

uint64_t seed = 0;

namespace {

constexpr size_t kStackBytes = 256 * 1024;

enum class State { kReady, kAtBarrier, kInWarp, kDone };

struct Fibre {
  ucontext_t context;
  std::unique_ptr<unsigned char[]> stack;
  State state;
  uint3 index;
  unsigned int linear;
  unsigned int mask;         // of the warp collective it waits in
  uint64_t brought;          // to that collective
  uint64_t seen[kWarpSize];  // from it
  void* fake_stack = nullptr;
};

struct Block {
  std::vector<Fibre> fibres;
  Fibre* current = nullptr;
  ucontext_t scheduler;
  void* scheduler_fake_stack = nullptr;
  const void* scheduler_stack = nullptr;
  size_t scheduler_stack_bytes = 0;
  void (*thread)(void*) = nullptr;
  void* argument = nullptr;
} block_state;

void switch_to_scheduler(Fibre& fibre, bool last) {
#ifdef DVFAST_ASAN
  __sanitizer_start_switch_fiber(last ? nullptr : &fibre.fake_stack, block_state.scheduler_stack,
                                 block_state.scheduler_stack_bytes);
#endif
  (void)last;
  swapcontext(&fibre.context, &block_state.scheduler);
#ifdef DVFAST_ASAN
  __sanitizer_finish_switch_fiber(fibre.fake_stack, &block_state.scheduler_stack,
                                  &block_state.scheduler_stack_bytes);
#endif
}

void fibre_main() {
#ifdef DVFAST_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &block_state.scheduler_stack,
                                  &block_state.scheduler_stack_bytes);
#endif
  block_state.thread(block_state.argument);
  block_state.current->state = State::kDone;
  switch_to_scheduler(*block_state.current, true);
}

void resume(Fibre& fibre) {
  block_state.current = &fibre;
  threadIdx = fibre.index;
#ifdef DVFAST_ASAN
  __sanitizer_start_switch_fiber(&block_state.scheduler_fake_stack, fibre.stack.get(), kStackBytes);
#endif
  swapcontext(&block_state.scheduler, &fibre.context);
#ifdef DVFAST_ASAN
  __sanitizer_finish_switch_fiber(block_state.scheduler_fake_stack, nullptr, nullptr);
#endif
}

// Lets the lanes of complete collectives go on; lanes that have returned count as arrived.
bool release_warps() {
  auto& fibres = block_state.fibres;
  bool released = false;
  for (size_t first = 0; first < fibres.size(); first += kWarpSize) {
    const size_t lanes = std::min<size_t>(kWarpSize, fibres.size() - first);
    for (size_t i = 0; i < lanes; ++i) {
      Fibre& fibre = fibres[first + i];
      if (fibre.state != State::kInWarp) continue;
      bool complete = true;
      for (size_t j = 0; j < lanes; ++j) {
        if (!(fibre.mask >> j & 1u)) continue;
        const Fibre& other = fibres[first + j];
        complete &= other.state == State::kDone ||
                    (other.state == State::kInWarp && other.mask == fibre.mask);
      }
      if (!complete) continue;
      const unsigned int mask = fibre.mask;
      uint64_t brought[kWarpSize] = {};
      for (size_t j = 0; j < lanes; ++j) brought[j] = fibres[first + j].brought;
      for (size_t j = 0; j < lanes; ++j) {
        Fibre& other = fibres[first + j];
        if (!(mask >> j & 1u) || other.state != State::kInWarp) continue;
        std::copy(brought, brought + kWarpSize, other.seen);
        other.state = State::kReady;
      }
      released = true;
    }
  }
  return released;
}

// As on hardware, threads that have returned are not waited for.
bool release_barrier() {
  bool waiting = false;
  for (const Fibre& fibre : block_state.fibres) {
    if (fibre.state == State::kReady || fibre.state == State::kInWarp) return false;
    waiting |= fibre.state == State::kAtBarrier;
  }
  for (Fibre& fibre : block_state.fibres) {
    if (fibre.state == State::kAtBarrier) fibre.state = State::kReady;
  }
  return waiting;
}

bool run_block(std::mt19937_64& random) {
  auto& fibres = block_state.fibres;
  for (unsigned int i = 0; i < fibres.size(); ++i) {
    Fibre& fibre = fibres[i];
    fibre.state = State::kReady;
    fibre.linear = i;
    fibre.index = uint3(i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y);
    getcontext(&fibre.context);
    fibre.context.uc_stack.ss_sp = fibre.stack.get();
    fibre.context.uc_stack.ss_size = kStackBytes;
    fibre.context.uc_link = nullptr;
    makecontext(&fibre.context, fibre_main, 0);
  }
  std::vector<size_t> order(fibres.size());
  std::iota(order.begin(), order.end(), size_t{0});
  for (;;) {
    std::shuffle(order.begin(), order.end(), random);
    bool ran = false;
    for (size_t i : order) {
      if (fibres[i].state != State::kReady) continue;
      resume(fibres[i]);
      ran = true;
    }
    const bool released = release_warps();
    if (ran || released) continue;
    if (release_barrier()) continue;
    for (const Fibre& fibre : fibres) {
      if (fibre.state != State::kDone) return false;
    }
    return true;
  }
}

}  // namespace

unsigned int lane() { return block_state.current->linear % kWarpSize; }

void wait_for_block() {
  Fibre& fibre = *block_state.current;
  fibre.state = State::kAtBarrier;
  switch_to_scheduler(fibre, false);
}

const uint64_t* exchange_in_warp(unsigned int mask, uint64_t value) {
  Fibre& fibre = *block_state.current;
  fibre.state = State::kInWarp;
  fibre.mask = mask;
  fibre.brought = value;
  switch_to_scheduler(fibre, false);
  return fibre.seen;
}

bool run(dim3 grid, dim3 block, size_t shared_bytes, void (*thread)(void*), void* context) {
  std::mt19937_64 random(seed);
  gridDim = grid;
  blockDim = block;
  block_state.thread = thread;
  block_state.argument = context;
  const size_t threads = size_t{block.x} * block.y * block.z;
  if (block_state.fibres.size() != threads) {
    block_state.fibres = std::vector<Fibre>(threads);
    for (Fibre& fibre : block_state.fibres) fibre.stack.reset(new unsigned char[kStackBytes]);
  }
#ifdef DVFAST_ASAN
  ASAN_UNPOISON_MEMORY_REGION(dvfast::shared, kSharedBytes);
  ASAN_POISON_MEMORY_REGION(dvfast::shared + shared_bytes, kSharedBytes - shared_bytes);
#endif
  std::vector<uint64_t> blocks(uint64_t{grid.x} * grid.y * grid.z);
  std::iota(blocks.begin(), blocks.end(), uint64_t{0});
  std::shuffle(blocks.begin(), blocks.end(), random);
  for (uint64_t i : blocks) {
    blockIdx =
        uint3(static_cast<unsigned int>(i % grid.x), static_cast<unsigned int>(i / grid.x % grid.y),
              static_cast<unsigned int>(i / grid.x / grid.y));
    for (size_t byte = 0; byte < shared_bytes; ++byte) {
      dvfast::shared[byte] = static_cast<unsigned char>(random());
    }
    if (!run_block(random)) return false;
  }
  return true;
}

}  // namespace emulation
