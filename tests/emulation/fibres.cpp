// The scheduler behind tests/emulation/cuda_runtime.h.
#undef _FORTIFY_SOURCE  // it takes jumps from stack to stack for an attack
#include "fibres.h"

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <random>
#include <unordered_map>
#include <vector>

#include "cuda_runtime.h"
#include "races.h"

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

Settings settings;
std::string failure;

namespace {

constexpr size_t kStackBytes = 256 * 1024;
constexpr size_t kBlocksAtOnce = 2;
constexpr uint64_t kMostSliceBits = 7;

constexpr size_t kWarpgroup = 128;

enum class State { kReady, kAtBarrier, kAtBarrierOfWarpgroup, kAtPhase, kInWarp, kDone };

// Where a thread or the scheduler stands. Its first start is setcontext's; from then on, jumps do,
// which need not ask the kernel about signals. The address sanitizer wants swapcontext.
struct Stand {
  ucontext_t context;
  jmp_buf jump;
  bool started = true;
};

struct Fibre {
  Stand stand;
  State state;
  Place place;
  uint3 index;
  unsigned int mask;         // of the warp collective it waits in
  uint64_t brought;          // to that collective
  uint64_t seen[kWarpSize];  // from it
  Copies copies;
  Operands operands[2];
  unsigned int instructions = 0;  // that took operands
  Products products;
  const uint64_t* barrier;  // whose phase it waits for
  uint32_t parity;
  bool wrote = false;
  unsigned char* stack;
  void* fake_stack = nullptr;
};

struct Block {
  unsigned int number;
  uint3 index;
  std::vector<Fibre> fibres;
  std::vector<unsigned char> shared;  // while another block has the buffer
  std::vector<CountedCopy> copies;
  bool alive = false;
};

struct Machine {
  // Of all fibres, in one piece: an address on one of them belongs to one thread alone.
  std::unique_ptr<unsigned char[]> stacks;
  size_t stack_bytes = 0;
  Block blocks[kBlocksAtOnce];
  std::mt19937_64 random;
  Fibre* current = nullptr;  // nullptr: the scheduler
  unsigned int atomic = 0;
  uint64_t slice = 0;  // accesses to memory until it is preempted
  uint64_t longest_slice = 1;
  size_t shared_bytes = 0;
  void (*thread)(void*) = nullptr;
  void* argument = nullptr;
  Stand scheduler;
  void* scheduler_fake_stack = nullptr;
  const void* scheduler_stack = nullptr;
  size_t scheduler_stack_bytes = 0;
} machine;

void go(Stand* from, Stand* to) {
#ifdef DVFAST_ASAN
  swapcontext(&from->context, &to->context);
#else
  if (_setjmp(from->jump) != 0) return;
  if (to->started) _longjmp(to->jump, 1);
  to->started = true;
  setcontext(&to->context);
#endif
}

void switch_to_scheduler(bool last) {
  Fibre& fibre = *machine.current;
  machine.current = nullptr;
#ifdef DVFAST_ASAN
  __sanitizer_start_switch_fiber(last ? nullptr : &fibre.fake_stack, machine.scheduler_stack,
                                 machine.scheduler_stack_bytes);
#endif
  (void)last;
  go(&fibre.stand, &machine.scheduler);
#ifdef DVFAST_ASAN
  __sanitizer_finish_switch_fiber(fibre.fake_stack, &machine.scheduler_stack,
                                  &machine.scheduler_stack_bytes);
#endif
}

void fibre_main() {
#ifdef DVFAST_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &machine.scheduler_stack,
                                  &machine.scheduler_stack_bytes);
#endif
  machine.thread(machine.argument);
  machine.current->state = State::kDone;
  switch_to_scheduler(true);
}

void draw_slice() { machine.slice = 1 + machine.random() % machine.longest_slice; }

void resume(Fibre& fibre) {
  machine.current = &fibre;
  threadIdx = fibre.index;
  draw_slice();
#ifdef DVFAST_ASAN
  __sanitizer_start_switch_fiber(&machine.scheduler_fake_stack, fibre.stack, kStackBytes);
#endif
  go(&machine.scheduler, &fibre.stand);
#ifdef DVFAST_ASAN
  __sanitizer_finish_switch_fiber(machine.scheduler_fake_stack, nullptr, nullptr);
#endif
}

// Lets the lanes of complete collectives go on; lanes that have returned count as arrived.
bool release_warps(std::vector<Fibre>& fibres) {
  bool released = false;
  for (size_t first = 0; first < fibres.size(); first += kWarpSize) {
    const size_t lanes = std::min<size_t>(kWarpSize, fibres.size() - first);
    for (size_t i = 0; i < lanes; ++i) {
      if (fibres[first + i].state != State::kInWarp) continue;
      const unsigned int mask = fibres[first + i].mask;
      bool complete = (mask >> i & 1u) != 0;
      uint64_t brought[kWarpSize] = {};
      for (size_t j = 0; j < lanes; ++j) {
        if (!(mask >> j & 1u)) continue;
        const Fibre& other = fibres[first + j];
        brought[j] = other.state == State::kDone ? machine.random() : other.brought;
        complete &=
            other.state == State::kDone || (other.state == State::kInWarp && other.mask == mask);
      }
      if (!complete) continue;
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

// A barrier is for all threads of the block: hardware may forgive those that have returned, CUDA's
// contract does not.
bool release_barrier(std::vector<Fibre>& fibres) {
  for (const Fibre& fibre : fibres) {
    if (fibre.state != State::kAtBarrier) return false;
  }
  for (Fibre& fibre : fibres) {
    fibre.state = State::kReady;
    ++fibre.place.epoch;
  }
  return true;
}

bool release_warpgroups(std::vector<Fibre>& fibres) {
  bool released = false;
  for (size_t first = 0; first + kWarpgroup <= fibres.size(); first += kWarpgroup) {
    const auto begin = fibres.begin() + static_cast<std::ptrdiff_t>(first);
    const auto end = begin + kWarpgroup;
    const auto is_there = [](const Fibre& f) { return f.state == State::kAtBarrierOfWarpgroup; };
    if (!std::all_of(begin, end, is_there)) continue;
    for (auto fibre = begin; fibre != end; ++fibre) {
      fibre->state = State::kReady;
      ++fibre->place.epoch_of_warpgroup;
    }
    released = true;
  }
  return released;
}

// While the block's shared memory is there.
bool release_phases(std::vector<Fibre>& fibres) {
  bool released = false;
  for (Fibre& fibre : fibres) {
    if (fibre.state != State::kAtPhase || !phase_is_over(*fibre.barrier, fibre.parity)) continue;
    fibre.state = State::kReady;
    released = true;
  }
  return released;
}

void make_any_copy(Block& block) {
  std::swap(block.copies[machine.random() % block.copies.size()], block.copies.back());
  make_copy(block.copies.back());
  block.copies.pop_back();
}

uint3 unravel(uint64_t i, dim3 size) {
  return uint3(static_cast<unsigned int>(i % size.x),
               static_cast<unsigned int>(i / size.x % size.y),
               static_cast<unsigned int>(i / size.x / size.y));
}

void start(Block& block, uint64_t number) {
  block.alive = true;
  block.number = static_cast<unsigned int>(number);
  block.index = unravel(number, gridDim);
  block.copies.clear();
  for (unsigned char& byte : block.shared) byte = noise();
  for (unsigned int i = 0; i < block.fibres.size(); ++i) {
    Fibre& fibre = block.fibres[i];
    fibre.state = State::kReady;
    fibre.copies = {};
    fibre.products = {};
    fibre.wrote = false;
    fibre.place = {static_cast<unsigned int>(number), i, 0, 0};
    fibre.index = unravel(i, blockDim);
    fibre.stand.started = false;
    ucontext_t& context = fibre.stand.context;
    getcontext(&context);
    context.uc_stack.ss_sp = fibre.stack;
    context.uc_stack.ss_size = kStackBytes;
    context.uc_link = nullptr;
    makecontext(&context, fibre_main, 0);
  }
}

// Every thread that can do something has a turn; false if the block can never finish.
bool turn(Block& block) {
  blockIdx = block.index;
  std::copy(block.shared.begin(), block.shared.end(), dvfast::shared);
  std::vector<size_t> order(block.fibres.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::shuffle(order.begin(), order.end(), machine.random);
  bool ran = false;
  for (size_t i : order) {
    if (block.fibres[i].state != State::kReady) continue;
    resume(block.fibres[i]);
    ran = true;
  }
  if (!block.copies.empty() && (!ran || machine.random() % 2 == 0)) {
    make_any_copy(block);
    ran = true;
  }
  bool released = release_phases(block.fibres);
  std::copy(dvfast::shared, dvfast::shared + machine.shared_bytes, block.shared.begin());
  released |= release_warps(block.fibres) | release_warpgroups(block.fibres);
  if (ran || released || release_barrier(block.fibres)) return true;
  for (const Fibre& fibre : block.fibres) {
    if (fibre.state != State::kDone) return false;
  }
  block.alive = false;
  return true;
}

void make_room(size_t threads) {
  if (machine.stack_bytes < kBlocksAtOnce * threads * kStackBytes) {
    machine.stack_bytes = kBlocksAtOnce * threads * kStackBytes;
    machine.stacks.reset(new unsigned char[machine.stack_bytes]);
  }
  unsigned char* stack = machine.stacks.get();
  for (Block& block : machine.blocks) {
    block.alive = false;
    block.shared.resize(machine.shared_bytes);
    block.fibres.resize(threads);
    for (Fibre& fibre : block.fibres) {
      fibre.stack = stack;
      stack += kStackBytes;
    }
  }
}

bool run_blocks(std::vector<uint64_t> waiting) {
  for (;;) {
    bool any = false;
    for (Block& block : machine.blocks) {
      if (!block.alive && !waiting.empty()) {
        start(block, waiting.back());
        waiting.pop_back();
      }
      if (!block.alive) continue;
      any = true;
      if (!turn(block)) return false;
    }
    if (!any) return true;
  }
}

}  // namespace

void copy_some_time(const CountedCopy& copy) {
  machine.blocks[machine.current->place.block == machine.blocks[0].number ? 0 : 1].copies.push_back(
      copy);
}

void wait_for_warpgroup() {
  machine.current->state = State::kAtBarrierOfWarpgroup;
  switch_to_scheduler(false);
}

void wait_for_phase(const uint64_t* barrier, uint32_t parity) {
  if (phase_is_over(*barrier, parity)) return;
  machine.current->barrier = barrier;
  machine.current->parity = parity;
  machine.current->state = State::kAtPhase;
  switch_to_scheduler(false);
}

void wrote_to_shared_memory() { machine.current->wrote = true; }
void showed_to_instructions() { machine.current->wrote = false; }

bool all_is_shown() {
  const Fibre* first = machine.current - machine.current->place.thread % kWarpgroup;
  return std::none_of(first, first + kWarpgroup, [](const Fibre& fibre) { return fibre.wrote; });
}

Products& products() { return machine.current->products; }
bool in_kernel() { return machine.current != nullptr; }
Place place() { return machine.current->place; }
bool atomic() { return machine.atomic > 0; }
Copies& copies() { return machine.current->copies; }
Operands& next_operands() { return machine.current->operands[machine.current->instructions++ % 2]; }
unsigned int lane() { return machine.current->place.thread % kWarpSize; }

bool on_a_stack(const void* address) {
  const auto* byte = static_cast<const unsigned char*>(address);
  return byte >= machine.stacks.get() && byte < machine.stacks.get() + machine.stack_bytes;
}

bool in_shared_memory(const void* address) {
  const auto* byte = static_cast<const unsigned char*>(address);
  return byte >= dvfast::shared && byte < dvfast::shared + kSharedBytes;
}

unsigned char noise() { return static_cast<unsigned char>(machine.random()); }

void fail(const std::string& message) {
  if (failure.empty()) failure = message;
}

void may_yield() {
  if (!settings.preempt || machine.atomic > 0 || --machine.slice > 0) return;
  switch_to_scheduler(false);
}

Atomic::Atomic() {
  if (in_kernel()) may_yield();
  ++machine.atomic;
}
Atomic::~Atomic() { --machine.atomic; }

void wait_for_block() {
  machine.current->state = State::kAtBarrier;
  switch_to_scheduler(false);
}

const uint64_t* exchange_in_warp(unsigned int mask, uint64_t value) {
  Fibre& fibre = *machine.current;
  fibre.state = State::kInWarp;
  fibre.mask = mask;
  fibre.brought = value;
  switch_to_scheduler(false);
  return fibre.seen;
}

size_t& shared_bytes_of(const void* kernel) {
  static std::unordered_map<const void*, size_t> bytes;
  return bytes.try_emplace(kernel, kUnaskedSharedBytes).first->second;
}

bool run(dim3 grid, dim3 block, size_t shared_bytes, void (*thread)(void*), void* context) {
  forget_accesses();
  gridDim = grid;
  blockDim = block;
  machine.random.seed(settings.seed);
  machine.longest_slice = uint64_t{1} << machine.random() % kMostSliceBits;
  machine.atomic = 0;
  machine.shared_bytes = shared_bytes;
  machine.thread = thread;
  machine.argument = context;
#ifdef DVFAST_ASAN
  ASAN_UNPOISON_MEMORY_REGION(dvfast::shared, kSharedBytes);
  ASAN_POISON_MEMORY_REGION(dvfast::shared + shared_bytes, kSharedBytes - shared_bytes);
#endif
  std::vector<uint64_t> order(uint64_t{grid.x} * grid.y * grid.z);
  std::iota(order.begin(), order.end(), uint64_t{0});
  std::shuffle(order.begin(), order.end(), machine.random);
  make_room(size_t{block.x} * block.y * block.z);
  if (!run_blocks(std::move(order))) {
    fail("a barrier or collective that not all of its threads reach");
#ifdef DVFAST_ASAN
    // The stacks were left in the middle of something.
    ASAN_UNPOISON_MEMORY_REGION(machine.stacks.get(), machine.stack_bytes);
#endif
  }
  return failure.empty();
}

}  // namespace emulation
