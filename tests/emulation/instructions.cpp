#include <cstring>
#include <deque>
#include <string>

#include "emulated_instructions.h"
#include "fibres.h"
#include "races.h"
#include "tensor_core.h"

namespace emulation {
namespace {

bool aligned(const void* address, size_t bytes) {
  return reinterpret_cast<uintptr_t>(address) % bytes == 0;
}

constexpr unsigned int kEveryone = 0xffffffffu;

float as_float(uint32_t bits) { return from_bits<float>(bits); }

// sums [16, 8] += a [16, k] * b [k, 8] for operands of 32 bits that hold `kNumbers` numbers each.
// Lane l has rows l / 4 (first of a pair) and l / 4 + 8 (second) of `a`, lane 4 n + t column n of
// b.
template <int kNumbers, typename Number>
void multiply(const uint32_t (&a)[4], uint32_t b0, uint32_t b1, float (&sums)[4], Number number) {
  Operands& mine = next_operands();
  mine = {{a[0], a[1], a[2], a[3]}, {b0, b1}};
  const uint64_t* lanes = exchange_in_warp(kEveryone, reinterpret_cast<uint64_t>(&mine));
  const auto of_lane = [lanes](unsigned int i) -> const Operands& {
    return *reinterpret_cast<const Operands*>(lanes[i]);
  };
  const unsigned int row = lane() / 4;
  for (unsigned int i = 0; i < 4; ++i) {
    const unsigned int column = lane() % 4 * 2 + i % 2;
    for (unsigned int half = 0; half < 2; ++half) {
      Factors terms[4 * kNumbers];
      for (unsigned int t = 0; t < 4; ++t) {
        const uint32_t left = of_lane(4 * row + t).a[2 * half + i / 2];
        const uint32_t right = of_lane(4 * column + t).b[half];
        for (int j = 0; j < kNumbers; ++j) {
          terms[t * kNumbers + j] = {number(left, j), number(right, j)};
        }
      }
      sums[i] = sum_of_products(sums[i], terms);
    }
  }
}

}  // namespace

void load_matrices(const void* row, uint32_t (&result)[4]) {
  if (!aligned(row, 16)) fail("a row of a matrix at a misaligned address");
  if (!in_shared_memory(row)) fail("a matrix from elsewhere than shared memory");
  access(row, 16, false);
  const uint64_t* rows = exchange_in_warp(kEveryone, reinterpret_cast<uint64_t>(row));
  for (unsigned int i = 0; i < 4; ++i) {
    const auto* words = reinterpret_cast<const unsigned char*>(rows[8 * i + lane() / 4]);
    std::memcpy(&result[i], words + lane() % 4 * 4, sizeof(uint32_t));
  }
}

void multiply_bfloat16(const uint32_t (&a)[4], uint32_t b0, uint32_t b1, float (&sums)[4]) {
  multiply<2>(a, b0, b1, sums, [](uint32_t pair, int i) {
    return as_float(i == 0 ? pair << 16 : pair & 0xffff0000u);
  });
}

void multiply_tf32(const uint32_t (&a)[4], uint32_t b0, uint32_t b1, float (&sums)[4]) {
  multiply<1>(a, b0, b1, sums, [](uint32_t bits, int) { return as_float(bits & ~0x1fffu); });
}

uint32_t to_tf32(float value) {
  const auto bits = static_cast<uint32_t>(to_bits(value));
  const bool finite = (bits & 0x7f800000u) != 0x7f800000u;
  return (finite ? bits + 0x1000u : bits) & ~0x1fffu;
}

void copy_later(void* to, const void* from, size_t bytes) {
  if (!aligned(to, bytes) || !aligned(from, bytes)) fail("an asynchronous copy to or from between");
  if (!in_shared_memory(to)) fail("an asynchronous copy to elsewhere than shared memory");
  access(to, bytes, true);
  for (size_t i = 0; i < bytes; ++i) static_cast<unsigned char*>(to)[i] = noise();
  copies().waiting.push_back({to, from, bytes, copies().open});
}

void close_copies() { ++copies().open; }

void make_copies(size_t groups_left) {
  Copies& mine = copies();
  while (!mine.waiting.empty() && mine.waiting.front().group + groups_left < mine.open) {
    const Copy copy = mine.waiting.front();
    mine.waiting.pop_front();
    access(copy.to, copy.bytes, true);
    if (copy.from == nullptr) {
      std::memset(copy.to, 0, copy.bytes);
    } else {
      access(copy.from, copy.bytes, false);
      std::memcpy(copy.to, copy.from, copy.bytes);
    }
  }
}

}  // namespace emulation
