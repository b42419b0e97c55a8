// Matrix instructions of four warps, and barriers in shared memory.
#include "../../csrc/cuda/warpgroup.h"

#include <cuda_runtime.h>

#include <cstring>

#include "fibres.h"
#include "races.h"
#include "tensor_core.h"

namespace dvfast {
extern unsigned char shared[];
}

namespace emulation {
namespace {

// A barrier is one word: how many arrivals and bytes its phase still waits for, how many arrivals
// each phase takes, and its parity.
struct Barrier {
  uint32_t bytes;
  uint16_t left;
  uint8_t arrivals, parity;
};
static_assert(sizeof(Barrier) == sizeof(uint64_t));

Barrier read(uint64_t word) { return from_bits<Barrier>(word); }

void write(uint64_t* word, Barrier barrier) {
  if (barrier.left == 0 && barrier.bytes == 0) {
    barrier.left = barrier.arrivals;
    barrier.parity ^= 1;
  }
  *word = to_bits(barrier);
}

bool aligned(const void* address, size_t bytes) {
  return reinterpret_cast<uintptr_t>(address) % bytes == 0;
}

constexpr int kColumns = dvfast::kColumnsOfWarpgroup;

// Where the sixteen bytes of a row lie; nullptr if not in shared memory.
const unsigned char* piece_of(uint64_t matrix, unsigned int row, unsigned int piece) {
  const auto field = [matrix](int first) { return (matrix >> first & 0x3fff) * 16; };
  const size_t offset = field(0) + row / 8 * field(32) + row % 8 * 16 + piece * field(16);
  return offset + 16 <= kSharedBytes ? dvfast::shared + offset : nullptr;
}

// The numbers of sixteen bytes; of those that shared memory does not have, noise.
void numbers_of(const unsigned char* bytes, bool bfloat16, float* numbers) {
  for (int i = 0; i < (bfloat16 ? 8 : 4); ++i) {
    uint32_t bits = 0;
    if (bfloat16) {
      std::memcpy(reinterpret_cast<unsigned char*>(&bits) + 2, bytes + 2 * i, 2);
    } else {
      std::memcpy(&bits, bytes + 4 * i, 4);
      bits &= ~0x1fffu;
    }
    numbers[i] = from_bits<float>(bits);
  }
}

template <int kTerms>
void multiply(const Product& product, float* sums) {
  const unsigned int warp = threadIdx.x / kWarpSize % 4;
  float left[2][2][kTerms];
  for (unsigned int row = 0; row < 2; ++row) {
    for (unsigned int piece = 0; piece < 2; ++piece) {
      const auto* bytes = piece_of(product.a, 16 * warp + 8 * row + lane() / 4, piece);
      if (bytes == nullptr) return fail("a matrix from elsewhere than shared memory");
      numbers_of(bytes, product.bfloat16, left[row][piece]);
    }
  }
  for (unsigned int column = 0; column < kColumns; ++column) {
    if (column % 8 / 2 != lane() % 4) continue;
    float right[2][kTerms];
    for (unsigned int piece = 0; piece < 2; ++piece) {
      const auto* bytes = piece_of(product.b, column, piece);
      if (bytes == nullptr) return fail("a matrix from elsewhere than shared memory");
      numbers_of(bytes, product.bfloat16, right[piece]);
    }
    for (unsigned int row = 0; row < 2; ++row) {
      float& sum = sums[column / 8 * 4 + row * 2 + column % 2];
      if (!product.add) sum = 0.0f;
      for (unsigned int piece = 0; piece < 2; ++piece) {
        Factors terms[kTerms];
        for (int i = 0; i < kTerms; ++i) terms[i] = {left[row][piece][i], right[piece][i]};
        sum = sum_of_products(sum, terms);
      }
    }
  }
}

// One lane of a warp for all: what the warp reads of the places, which threads wrote themselves.
void look_at_places(const Product& product) {
  if (lane() != 0) return;
  for (unsigned int row = 0; row < 16; ++row) {
    for (unsigned int piece = 0; piece < 2; ++piece) {
      const auto* bytes = piece_of(product.a, threadIdx.x / kWarpSize % 4 * 16 + row, piece);
      if (bytes != nullptr) access(bytes, 16, false);
    }
  }
}

}  // namespace

uint64_t describe_matrix(const void* first, int to_next_rows, int to_next_piece) {
  if (!in_shared_memory(first)) fail("a matrix from elsewhere than shared memory");
  if (!aligned(first, 16) || to_next_rows % 16 != 0 || to_next_piece % 16 != 0 ||
      to_next_rows >= 1 << 18 || to_next_piece >= 1 << 18) {
    fail("a matrix that no descriptor describes");
  }
  const auto offset =
      static_cast<uint64_t>(static_cast<const unsigned char*>(first) - dvfast::shared);
  return offset >> 4 | static_cast<uint64_t>(to_next_piece >> 4) << 16 |
         static_cast<uint64_t>(to_next_rows >> 4) << 32;
}

bool phase_is_over(uint64_t barrier, uint32_t parity) { return read(barrier).parity != parity; }

void init_barrier(uint64_t* barrier, int arrivals) {
  if (!aligned(barrier, 8) || !in_shared_memory(barrier)) fail("a barrier at a wrong address");
  *barrier =
      to_bits(Barrier{0, static_cast<uint16_t>(arrivals), static_cast<uint8_t>(arrivals), 0});
}

void arrive(uint64_t* barrier, int bytes) {
  Barrier state = read(*barrier);
  if (state.left == 0) fail("more arrivals at a barrier than it waits for");
  state.bytes += static_cast<uint32_t>(bytes);
  --state.left;
  write(barrier, state);
}

void wait_for(const uint64_t* barrier, uint32_t parity) { wait_for_phase(barrier, parity); }

void copy_counted(void* to, const void* from, int bytes, uint64_t* barrier) {
  if (!aligned(to, 16) || !aligned(from, 16) || bytes % 16 != 0) {
    fail("an asynchronous copy to or from between");
  }
  if (!in_shared_memory(to)) fail("an asynchronous copy to elsewhere than shared memory");
  for (int i = 0; i < bytes; ++i) static_cast<unsigned char*>(to)[i] = noise();
  copy_some_time({to, from, static_cast<size_t>(bytes), barrier});
}

void make_copy(const CountedCopy& copy) {
  std::memcpy(copy.to, copy.from, copy.bytes);
  Barrier state = read(*copy.barrier);
  state.bytes -= static_cast<uint32_t>(copy.bytes);
  write(copy.barrier, state);
}

void sync_warpgroup() { wait_for_warpgroup(); }

void show_to_instructions() { showed_to_instructions(); }

void begin_products() { products().begun = true; }

void multiply_matrices(float (*sums)[4], uint64_t a, uint64_t b, bool add, bool bfloat16) {
  Products& mine = products();
  if (!mine.begun) fail("products that nobody began");
  if (!all_is_shown()) fail("a matrix that was not shown to instructions");
  auto [stored, is_new] = mine.sums.try_emplace(sums);
  if (is_new) {
    stored->second.assign(&sums[0][0], &sums[0][0] + kColumns / 8 * 4);
    for (int i = 0; i < kColumns / 8 * 4; ++i) {
      sums[i / 4][i % 4] = static_cast<float>(noise()) * 1e20f;
    }
  }
  mine.waiting.push_back({sums, a, b, add, bfloat16, mine.open});
}

void commit_products() { ++products().open; }

void make_products(size_t groups_left) {
  Products& mine = products();
  while (!mine.waiting.empty() && mine.waiting.front().group + groups_left < mine.open) {
    const Product product = mine.waiting.front();
    mine.waiting.pop_front();
    look_at_places(product);
    float* sums = mine.sums.at(product.sums).data();
    product.bfloat16 ? multiply<8>(product, sums) : multiply<4>(product, sums);
  }
  // All lanes wait at once: when one goes on, the others have their products too.
  exchange_in_warp(0xffffffffu, 0);
  if (!mine.waiting.empty()) return;
  mine.begun = false;
  for (const auto& [sums, values] : mine.sums) {
    std::memcpy(&sums[0][0], values.data(), values.size() * sizeof(float));
  }
  mine.sums.clear();
}

}  // namespace emulation
