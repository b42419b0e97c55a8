// Memory that begins with a cache line: vectors of 512 bits then never lie in two of them.
#pragma once

#include <cstdint>
#include <memory>
#include <new>

namespace dvfast {

constexpr std::align_val_t kCacheLine{64};

struct AlignedDelete {
  void operator()(float* numbers) const { ::operator delete[](numbers, kCacheLine); }
};

using AlignedFloats = std::unique_ptr<float[], AlignedDelete>;

inline AlignedFloats aligned_floats(int64_t count) {
  return AlignedFloats(new (kCacheLine) float[count]);
}

}  // namespace dvfast
