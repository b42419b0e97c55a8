// Memory for a kernel to work in. It begins with a cache line, so that vectors of 512 bits never
// lie in two of them, and a thread keeps it for its next call: fresh memory costs a page fault for
// every 4 KB, which on small maps is as much as the kernel's own work.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <memory>
#include <new>
#include <utility>

namespace dvfast {

constexpr std::align_val_t kCacheLine{64};

// What a thread does not need at the moment.
class SpareMemory {
 public:
  SpareMemory() = default;
  SpareMemory(const SpareMemory&) = delete;
  SpareMemory& operator=(const SpareMemory&) = delete;
  ~SpareMemory() { release_all(); }

  void release_all() {
    for (Block& block : blocks_) release(std::exchange(block, {}).data);
  }

  static SpareMemory& of_this_thread() {
    thread_local SpareMemory memory;
    return memory;
  }

  // At least so many numbers, at first `count`.
  float* take(int64_t& count) {
    Block* best = nullptr;
    for (Block& block : blocks_)
      if (block.data && block.count >= count && block.count / kMuchLarger <= count &&
          (!best || block.count < best->count))
        best = &block;
    if (!best) return new (kCacheLine) float[count];
    count = best->count;
    return std::exchange(best->data, nullptr);
  }

  void give_back(float* data, int64_t count) {
    if (count > kLargest) return release(data);
    // In place of none, or of the smallest.
    const auto size = [](const Block& block) { return block.data ? block.count : -1; };
    Block* least = std::min_element(std::begin(blocks_), std::end(blocks_),
                                    [&](auto& a, auto& b) { return size(a) < size(b); });
    Block block{data, count};
    if (size(*least) < count) std::swap(*least, block);
    release(block.data);
  }

 private:
  struct Block {
    float* data = nullptr;
    int64_t count = 0;
  };

// A sanitizer would not see who writes beyond the end of what is kept.
#if defined(__SANITIZE_ADDRESS__)
  static constexpr int64_t kLargest = -1;
#else
  static constexpr int64_t kLargest = 1 << 24;
#endif

  // What is large is kept for what needs it.
  static constexpr int64_t kMuchLarger = 8;

  static void release(float* data) { ::operator delete[](data, kCacheLine); }

  Block blocks_[4];
};

struct AlignedDelete {
  int64_t count = 0;
  void operator()(float* data) const { SpareMemory::of_this_thread().give_back(data, count); }
};

using AlignedFloats = std::unique_ptr<float[], AlignedDelete>;

// To be let go by the thread that asks for it.
inline AlignedFloats aligned_floats(int64_t count) {
  float* data = SpareMemory::of_this_thread().take(count);
  return AlignedFloats(data, AlignedDelete{count});
}

}  // namespace dvfast
