// One thread per vote: which vote a thread has, and how it adds to sums that others add to as well.
#pragma once

#include "../core/views.h"
#include "launch.h"

namespace dvfast {

// A 64-bit integer reduction in the L2 cache: native on every architecture, and free of order.
struct AtomicAdd {
  __device__ __forceinline__ void operator()(int64_t* sum, int64_t value) const {
    atomicAdd(reinterpret_cast<unsigned long long*>(sum), static_cast<unsigned long long>(value));
  }
};

struct VoteIndex {
  int64_t b, j, y, x;
};

template <typename T>
int64_t count_votes(const VotesView<T>& votes) {
  return votes.batch * votes.num_votes * votes.height * votes.width;
}

// Neighbouring threads take votes that are neighbours in memory.
template <typename T>
__device__ __forceinline__ VoteIndex vote_index(const VotesView<T>& votes, int64_t i) {
  if (votes.channel_stride < votes.x_stride) {
    const int64_t j = i % votes.num_votes;
    i /= votes.num_votes;
    return {i / votes.width / votes.height, j, i / votes.width % votes.height, i % votes.width};
  }
  const int64_t x = i % votes.width;
  i /= votes.width;
  const int64_t y = i % votes.height;
  i /= votes.height;
  return {i / votes.num_votes, i % votes.num_votes, y, x};
}

}  // namespace dvfast
