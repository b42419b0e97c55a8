#include "races.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

#include "cuda_runtime.h"
#include "fibres.h"

namespace emulation {
namespace {

constexpr size_t kBytesPerCell = 4;
constexpr unsigned int kWarpgroup = 128;

struct Access {
  Place place;
  bool made, atomic;
};

struct Byte {
  Access write;
  Access reads[2];  // of two threads, if as many read: one of them is not the one that writes
};

// Most accesses are to whole cells, and told apart by byte only where one was not.
struct Cell {
  Byte whole;
  std::unique_ptr<std::array<Byte, kBytesPerCell>> apart;
};
constexpr uint64_t kCellsPerPage = 256;
using Page = std::array<Cell, kCellsPerPage>;

std::unordered_map<uint64_t, std::unique_ptr<Page>> pages;
uint64_t latest_number;
Page* latest = nullptr;

Cell& cell_at(uint64_t number) {
  const uint64_t page = number / kCellsPerPage;
  if (latest == nullptr || page != latest_number) {
    std::unique_ptr<Page>& found = pages[page];
    if (!found) found = std::make_unique<Page>();
    latest_number = page;
    latest = found.get();
  }
  return (*latest)[number % kCellsPerPage];
}

// Whether `earlier` is certain to have happened before what the thread at `now` does.
bool ordered(const Access& earlier, const Place& now) {
  if (!earlier.made) return true;
  if (earlier.place.block != now.block) return false;
  if (earlier.place.thread == now.thread || earlier.place.epoch < now.epoch) return true;
  return earlier.place.thread / kWarpgroup == now.thread / kWarpgroup &&
         earlier.place.epoch_of_warpgroup < now.epoch_of_warpgroup;
}

bool races(const Access& earlier, const Access& now) {
  return !ordered(earlier, now.place) && !(earlier.atomic && now.atomic);
}

void report(const Access& earlier, const Access& now, const char* what, const void* address) {
  const auto name = [](const Place& place) {
    return "thread " + std::to_string(place.thread) + " of block " + std::to_string(place.block);
  };
  fail("data race in " + std::string(in_shared_memory(address) ? "shared" : "global") +
       " memory: " + name(now.place) + " and " + name(earlier.place) + ", " + what);
}

void look_at(Byte* byte, const Access& now, bool write, const void* address) {
  if (races(byte->write, now)) {
    report(byte->write, now, write ? "write after write" : "read after write", address);
  }
  if (write) {
    for (const Access& read : byte->reads) {
      if (races(read, now)) report(read, now, "write after read", address);
    }
    byte->write = now;
    return;
  }
  for (Access& read : byte->reads) {
    if (!ordered(read, now.place)) continue;
    read = now;
    return;
  }
}

// The variables that tell a thread where it is change as threads take turns.
bool built_in(const void* address) {
  const auto within = [address](const auto& variable) {
    const auto* begin = reinterpret_cast<const char*>(&variable);
    return address >= begin && address < begin + sizeof(variable);
  };
  return within(threadIdx) || within(blockIdx) || within(blockDim) || within(gridDim);
}

}  // namespace

void access(const void* address, size_t bytes, bool write, bool is_volatile) {
  if (!in_kernel() || on_a_stack(address) || built_in(address)) return;
  may_yield();
  if (write && in_shared_memory(address)) wrote_to_shared_memory();
  if (!settings.find_races) return;
  const Access now{place(), true, is_volatile || atomic()};
  // Every block has a shared memory of its own.
  const uint64_t space = in_shared_memory(address) ? (uint64_t{now.place.block} + 1) << 48 : 0;
  const auto first = reinterpret_cast<uint64_t>(address), end = first + bytes;
  for (uint64_t begin = first - first % kBytesPerCell; begin < end; begin += kBytesPerCell) {
    Cell& cell = cell_at(space ^ begin / kBytesPerCell);
    const bool whole = first <= begin && begin + kBytesPerCell <= end;
    if (whole && !cell.apart) {
      look_at(&cell.whole, now, write, address);
      continue;
    }
    if (!cell.apart) {
      cell.apart = std::make_unique<std::array<Byte, kBytesPerCell>>();
      cell.apart->fill(cell.whole);
    }
    for (size_t i = 0; i < kBytesPerCell; ++i) {
      if (first <= begin + i && begin + i < end) look_at(&(*cell.apart)[i], now, write, address);
    }
  }
}

void forget_accesses() {
  pages.clear();
  latest = nullptr;
}

}  // namespace emulation

#define DVFAST_ACCESS(bytes)                                                                \
  void __tsan_read##bytes(void* p) { emulation::access(p, bytes, false, false); }           \
  void __tsan_write##bytes(void* p) { emulation::access(p, bytes, true, false); }           \
  void __tsan_unaligned_read##bytes(void* p) { emulation::access(p, bytes, false, false); } \
  void __tsan_unaligned_write##bytes(void* p) { emulation::access(p, bytes, true, false); } \
  void __tsan_volatile_read##bytes(void* p) { emulation::access(p, bytes, false, true); }   \
  void __tsan_volatile_write##bytes(void* p) { emulation::access(p, bytes, true, true); }

extern "C" {
DVFAST_ACCESS(1)
DVFAST_ACCESS(2)
DVFAST_ACCESS(4)
DVFAST_ACCESS(8)
DVFAST_ACCESS(16)
void __tsan_read_range(void* p, size_t bytes) { emulation::access(p, bytes, false, false); }
void __tsan_write_range(void* p, size_t bytes) { emulation::access(p, bytes, true, false); }
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_init() {}
}

#undef DVFAST_ACCESS
