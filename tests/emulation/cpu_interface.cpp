// The interface of csrc/cpu, answered by the emulated kernels of csrc/cuda: the bindings of
// tests/native then serve both. A kernel does all of the work at once, whatever range is asked for.
#include <memory>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "../../csrc/cpu/gaussian_filter.h"
#include "../../csrc/cpu/hybrid_activation.h"
#include "../../csrc/cpu/parzen_density.h"
#include "../../csrc/cpu/trunk_layer.h"
#include "../../csrc/cpu/vote_head.h"
#include "../../csrc/cpu/vote_map.h"
#include "../../csrc/cpu/voting_loss.h"
#include "../../csrc/cuda/gaussian_filter.h"
#include "../../csrc/cuda/hybrid_activation.h"
#include "../../csrc/cuda/parzen_density.h"
#include "../../csrc/cuda/trunk_layer.h"
#include "../../csrc/cuda/vote_head.h"
#include "../../csrc/cuda/vote_map.h"
#include "../../csrc/cuda/voting_loss.h"
#include "launches.h"

namespace dvfast {

namespace test {

std::vector<int64_t> void_votes;

void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  const std::string message = emulation::failure;
  emulation::failure.clear();
  throw std::runtime_error(message);
}

}  // namespace test

using test::check;

template <typename T>
void hybrid_activation(const HybridActivationParams<T>& params, int64_t, int64_t) {
  check(launch_hybrid_activation(params, nullptr));
}

template <typename T>
void hybrid_activation_backward(const HybridBackwardParams<T>& params, int64_t, int64_t) {
  check(launch_hybrid_activation_backward(params, nullptr));
}

template <typename T>
void hybrid_activation_double_backward(const HybridDoubleBackwardParams<T>& params, int64_t,
                                       int64_t) {
  check(launch_hybrid_activation_double_backward(params, nullptr));
}

template <typename T, typename Target>
void voting_loss(const VotingLossParams<T, Target>& params, int64_t, int64_t) {
  check(launch_voting_loss(params, nullptr));
}

template <typename T>
void voting_loss_backward(const VotingLossBackwardParams<T>& params, int64_t, int64_t) {
  check(launch_voting_loss_backward(params, nullptr));
}

template <typename T>
int64_t scatter_votes(const VoteScatterParams<T>& params, int64_t, int64_t) {
  test::void_votes.assign(params.votes.batch, 0);
  check(launch_scatter_votes(params, test::void_votes.data(), nullptr));
  return std::accumulate(test::void_votes.begin(), test::void_votes.end(), int64_t{0});
}

template <typename T>
void sums_to_map(const int64_t* sums, T* map, int64_t begin, int64_t end) {
  check(launch_sums_to_map(sums + begin, map + begin, end - begin, nullptr));
}

template <typename T>
void gather_votes(const VoteGatherParams<T>& params, int64_t, int64_t) {
  check(launch_gather_votes(params, nullptr));
}

template <typename T>
int64_t parzen_scatter(const ParzenScatterParams<T>& params, int64_t, int64_t) {
  test::void_votes.assign(params.votes.batch, 0);
  check(launch_parzen_scatter(params, test::void_votes.data(), nullptr));
  return std::accumulate(test::void_votes.begin(), test::void_votes.end(), int64_t{0});
}

template <typename T>
void parzen_gather(const ParzenGatherParams<T>& params, int64_t, int64_t) {
  check(launch_parzen_gather(params, nullptr));
}

template <typename T>
std::vector<T> gaussian_taps(double sigma, int64_t window, Tap tap) {
  std::vector<T> taps(static_cast<size_t>(window));
  check(launch_gaussian_taps(taps.data(), sigma, window, tap, nullptr));
  return taps;
}

template <typename T>
void gaussian_filter(const GaussianFilterParams<T>& params, int64_t, int64_t) {
  check(launch_gaussian_filter(params, nullptr));
}

void trunk_layer(const TrunkLayerParams& params, int64_t, int64_t) {
  check(launch_trunk_layer(params, nullptr));
}

int64_t vote_head_runs(const VoteHeadParams&) { return 1; }

void vote_head(const VoteHeadParams& params, int64_t, int64_t) {
  // Filled with noise, and no longer than it must be.
  const size_t size = static_cast<size_t>(vote_head_scratch(params));
  const std::unique_ptr<float[]> scratch(new float[size]);
  std::memset(scratch.get(), 0xa5, size * sizeof(float));
  check(launch_vote_head(params, scratch.get(), nullptr));
}

#define DVFAST_INSTANTIATE(T)                                                                    \
  template void hybrid_activation<T>(const HybridActivationParams<T>&, int64_t, int64_t);        \
  template void hybrid_activation_backward<T>(const HybridBackwardParams<T>&, int64_t, int64_t); \
  template void hybrid_activation_double_backward<T>(const HybridDoubleBackwardParams<T>&,       \
                                                     int64_t, int64_t);
DVFAST_INSTANTIATE(float)
DVFAST_INSTANTIATE(double)
DVFAST_INSTANTIATE(bfloat16)
DVFAST_INSTANTIATE(float16)
#undef DVFAST_INSTANTIATE

#define DVFAST_INSTANTIATE(T, Target) \
  template void voting_loss<T, Target>(const VotingLossParams<T, Target>&, int64_t, int64_t);
DVFAST_INSTANTIATE(float, float)
DVFAST_INSTANTIATE(double, double)
DVFAST_INSTANTIATE(bfloat16, bfloat16)
DVFAST_INSTANTIATE(bfloat16, float)
DVFAST_INSTANTIATE(float16, float16)
DVFAST_INSTANTIATE(float16, float)
#undef DVFAST_INSTANTIATE

#define DVFAST_INSTANTIATE(T)                                                                  \
  template void voting_loss_backward<T>(const VotingLossBackwardParams<T>&, int64_t, int64_t); \
  template int64_t scatter_votes<T>(const VoteScatterParams<T>&, int64_t, int64_t);            \
  template void sums_to_map<T>(const int64_t*, T*, int64_t, int64_t);                          \
  template void gather_votes<T>(const VoteGatherParams<T>&, int64_t, int64_t);                 \
  template int64_t parzen_scatter<T>(const ParzenScatterParams<T>&, int64_t, int64_t);         \
  template void parzen_gather<T>(const ParzenGatherParams<T>&, int64_t, int64_t);              \
  template std::vector<T> gaussian_taps<T>(double, int64_t, Tap);                              \
  template void gaussian_filter<T>(const GaussianFilterParams<T>&, int64_t, int64_t);
DVFAST_INSTANTIATE(float)
DVFAST_INSTANTIATE(double)
#undef DVFAST_INSTANTIATE

}  // namespace dvfast
