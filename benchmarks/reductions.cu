// How fast a device adds at an index, and what votes cost that are added in another way than ours.
// Not part of the library: reductions.py compiles this together with csrc/cuda/vote_map.cu and
// calls it by ctypes. Every function returns a cudaError_t.
#include "../csrc/core/voting.h"
#include "../csrc/cuda/vote_map.h"
#include "../csrc/cuda/voters.h"

namespace dvfast {
namespace {

template <typename T>
__global__ void __launch_bounds__(kThreadsPerBlock)
    add_ones(T* sums, const int32_t* index, int64_t count) {
  for (int64_t i = first_item(); i < count; i += item_stride()) atomicAdd(sums + index[i], T(1));
}

template <typename T>
int launch_add_ones(void* sums, const int32_t* index, int64_t count, void* stream) {
  return launch(add_ones<T>, blocks_for(count, kThreadsPerBlock), kThreadsPerBlock, 0,
                static_cast<cudaStream_t>(stream), static_cast<T*>(sums), index, count);
}

// Votes to the nearest pixel of a map of floats: the sums depend on the order.
__global__ void __launch_bounds__(kThreadsPerBlock)
    scatter_floats(VoteScatterParams<float> params, float* sums, int64_t count) {
  const auto& votes = params.votes;
  const auto& rules = params.rules;
  for (int64_t i = first_item(); i < count; i += item_stride()) {
    const VoteIndex at = vote_index(votes, i);
    Vote<float> vote;
    if (read_vote(votes.at(at.b, at.j, at.y, at.x), votes.channel_stride, rules, &vote) !=
        VoteStatus::kCounts) {
      continue;
    }
    const int64_t y = nearest_pixel(rules.y_axis.voter(at.y), vote.y);
    const int64_t x = nearest_pixel(rules.x_axis.voter(at.x), vote.x);
    if (inside(y, x, params.height, params.width)) {
      atomicAdd(sums + y * params.width + x, vote.confidence);
    }
  }
}

// Votes [3k, height, width] of every pixel of a map.
VoteScatterParams<float> scatter_params(const float* votes, int64_t num_votes, int64_t height,
                                        int64_t width) {
  const int64_t plane = height * width;
  VoteScatterParams<float> params{};
  params.votes = {votes, 1, num_votes, height, width, 0, plane, width, 1};
  params.rules.y_axis.stride = params.rules.x_axis.stride = 1;
  params.rules.max_offset_squared = INFINITY;
  params.rules.confidence_limit =
      static_cast<float>(confidence_limit(num_votes * height * width, 1.0));
  params.height = height;
  params.width = width;
  return params;
}

}  // namespace
}  // namespace dvfast

#define DVFAST_ADD(name, T)                                                \
  extern "C" __attribute__((visibility("default"))) int dvfast_add_##name( \
      void* sums, const int32_t* index, int64_t count, void* stream) {     \
    return dvfast::launch_add_ones<T>(sums, index, count, stream);         \
  }
DVFAST_ADD(int32, unsigned int)
DVFAST_ADD(int64, unsigned long long)
DVFAST_ADD(float32, float)
DVFAST_ADD(float64, double)
#undef DVFAST_ADD

// Both add to `sums`; num_void is one number.
extern "C" __attribute__((visibility("default"))) int dvfast_scatter_fixed(
    const float* votes, int64_t num_votes, int64_t height, int64_t width, int64_t* sums,
    int64_t* num_void, void* stream) {
  auto params = dvfast::scatter_params(votes, num_votes, height, width);
  params.sums = sums;
  return dvfast::launch_scatter_votes(params, num_void, static_cast<cudaStream_t>(stream));
}

extern "C" __attribute__((visibility("default"))) int dvfast_scatter_floats(
    const float* votes, int64_t num_votes, int64_t height, int64_t width, float* sums,
    void* stream) {
  const auto params = dvfast::scatter_params(votes, num_votes, height, width);
  const int64_t count = dvfast::count_votes(params.votes);
  return dvfast::launch(dvfast::scatter_floats, dvfast::blocks_for(count, dvfast::kThreadsPerBlock),
                        dvfast::kThreadsPerBlock, 0, static_cast<cudaStream_t>(stream), params,
                        sums, count);
}
