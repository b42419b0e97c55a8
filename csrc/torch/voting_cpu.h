// What the density operators share on the CPU: rules, sums in fixed point, and walking over voters.
#pragma once

#include <atomic>
#include <cmath>
#include <vector>

#include "../core/fixed_point.h"
#include "../core/gaussian.h"
#include "../cpu/gaussian_filter.h"
#include "../cpu/vote_map.h"
#include "tensors.h"

namespace dvfast {

constexpr int64_t kVoterRowsPerThread = 8;
constexpr int64_t kMapRowsPerThread = 8;

inline Interpolation check_interpolation(int64_t value) {
  STD_TORCH_CHECK(value == 0 || value == 1,
                  "interpolation must be 0 (nearest) or 1 (bilinear), got ", value);
  return static_cast<Interpolation>(value);
}

inline void check_gaussian(double sigma, int64_t window) {
  STD_TORCH_CHECK(sigma >= kMinSigma && std::isfinite(sigma), "sigma must be at least ", kMinSigma,
                  " and finite, got ", sigma);
  STD_TORCH_CHECK(window >= 1 && window % 2 == 1 && window <= kMaxWindow,
                  "window must be an odd number of pixels from 1 to ", kMaxWindow, ", got ",
                  window);
}

inline void check_size(int64_t height, int64_t width) {
  STD_TORCH_CHECK(height >= 0 && width >= 0, "size must not be negative, got ", height, " x ",
                  width);
}

// `peak` is the most that one vote of confidence 1 adds to one pixel.
template <typename T>
VotingRules<T> voting_rules(const Tensor& votes, int64_t stride, double offset_y, double offset_x,
                            double max_offset, double peak) {
  STD_TORCH_CHECK(max_offset >= 0, "max_offset must not be negative, got ", max_offset);
  const auto view = votes_view<const T>(votes, "votes");
  const double limit = confidence_limit(view.num_votes * view.height * view.width, peak);
  return {grid_axis<T>(stride, offset_y), grid_axis<T>(stride, offset_x),
          static_cast<T>(max_offset) * static_cast<T>(max_offset), static_cast<T>(limit)};
}

// Runs scatter(begin, end, shared) over all rows of voters and counts the void votes per image.
template <typename Scatter>
Tensor count_void(const Tensor& votes, const Scatter& scatter) {
  const int64_t batch = votes.size(0);
  const int64_t height = votes.size(2);
  Tensor num_void = torch::stable::new_zeros(votes, {batch}, ScalarType::Long);
  int64_t* counts = static_cast<int64_t*>(num_void.data_ptr());
  const bool shared = torch::stable::get_num_threads() > 1;
  torch::stable::parallel_for(
      0, batch * height, kVoterRowsPerThread, [&](int64_t begin, int64_t end) {
        while (begin < end) {
          const int64_t b = begin / height;
          const int64_t stop = std::min(end, (b + 1) * height);
          __atomic_fetch_add(counts + b, scatter(begin, stop, shared), __ATOMIC_RELAXED);
          begin = stop;
        }
      });
  return num_void;
}

template <typename T>
Tensor map_of_sums(const Tensor& sums, const Tensor& votes) {
  Tensor map = torch::stable::new_empty(votes, sums.sizes());
  const int64_t* from = static_cast<const int64_t*>(sums.data_ptr());
  T* to = static_cast<T*>(map.data_ptr());
  torch::stable::parallel_for(0, sums.numel(), 1 << 15, [&](int64_t begin, int64_t end) {
    sums_to_map<T>(from, to, begin, end);
  });
  return map;
}

template <typename T>
Tensor filter_map(const Tensor& map, double sigma, int64_t window, Tap tap_y, Tap tap_x) {
  const std::vector<T> taps_y = gaussian_taps<T>(sigma, window, tap_y);
  const std::vector<T> taps_x = gaussian_taps<T>(sigma, window, tap_x);
  Tensor filtered = torch::stable::new_empty(map, map.sizes());
  const GaussianFilterParams<T> params{map_view<const T>(map, "map"),
                                       static_cast<T*>(filtered.data_ptr()), taps_y.data(),
                                       taps_x.data(), window};
  torch::stable::parallel_for(
      0, params.input.batch * params.input.height, kMapRowsPerThread,
      [&](int64_t begin, int64_t end) { gaussian_filter<T>(params, begin, end); });
  return filtered;
}

// The votes' shape with the gradient's batch, checked.
inline void check_gradient(const Tensor& grad, const Tensor& votes) {
  check_cpu(grad, "grad");
  check_dtype(grad, "grad", {votes.scalar_type()});
  STD_TORCH_CHECK(grad.dim() == 3 && grad.size(0) == votes.size(0),
                  "grad must be [B, H, W] with the batch of votes: got ", describe(grad), " for ",
                  describe(votes));
}

template <typename T>
Tensor gather(const Tensor& votes, const VotingRules<T>& rules, Interpolation interpolation,
              const Tensor& value, const Tensor* slope_y, const Tensor* slope_x) {
  Tensor grad_votes = torch::stable::empty_like(votes);
  VoteGatherParams<T> params{};
  params.votes = votes_view<const T>(votes, "votes");
  params.grad_votes = votes_view<T>(grad_votes, "grad_votes");
  params.rules = rules;
  params.interpolation = interpolation;
  params.value = map_view<const T>(value, "grad");
  if (slope_y != nullptr) params.slope_y = map_view<const T>(*slope_y, "grad");
  if (slope_x != nullptr) params.slope_x = map_view<const T>(*slope_x, "grad");
  torch::stable::parallel_for(
      0, params.votes.batch * params.votes.height, kVoterRowsPerThread,
      [&](int64_t begin, int64_t end) { gather_votes<T>(params, begin, end); });
  return grad_votes;
}

// The vote map in fixed point, [B, H, W] int64, and the number of void votes, [B].
template <typename T>
std::pair<Tensor, Tensor> vote_sums(const Tensor& votes, int64_t height, int64_t width,
                                    const VotingRules<T>& rules, Interpolation interpolation) {
  check_size(height, width);
  VoteScatterParams<T> params{};
  params.votes = votes_view<const T>(votes, "votes");
  params.rules = rules;
  params.interpolation = interpolation;
  params.height = height;
  params.width = width;
  Tensor sums = torch::stable::new_zeros(votes, {votes.size(0), height, width}, ScalarType::Long);
  params.sums = static_cast<int64_t*>(sums.data_ptr());
  Tensor num_void = count_void(votes, [&](int64_t begin, int64_t end, bool shared) {
    VoteScatterParams<T> mine = params;
    mine.shared = shared;
    return scatter_votes<T>(mine, begin, end);
  });
  return {sums, num_void};
}

}  // namespace dvfast
