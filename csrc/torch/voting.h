// What the density operators share on every device: checks, rules, and which kernel follows which.
// A Device is made of a tensor and runs kernels:
//   scatter(params, num_void)   votes to sums, for either struct of scatter parameters
//   to_map(sums, map, count)    sums to real numbers
//   filter(map, sigma, window, tap_y, tap_x)   a filtered map
//   gather(params)              gradients, for either struct of gather parameters
#pragma once

#include <cmath>
#include <utility>

#include "../core/fixed_point.h"
#include "../core/params.h"
#include "tensors.h"

namespace dvfast {

inline Interpolation check_interpolation(int64_t value) {
  DVFAST_CHECK(value == 0 || value == 1, "interpolation must be 0 (nearest) or 1 (bilinear), got ",
               value);
  return static_cast<Interpolation>(value);
}

inline void check_gaussian(double sigma, int64_t window) {
  DVFAST_CHECK(sigma >= kMinSigma && std::isfinite(sigma), "sigma must be at least ", kMinSigma,
               " and finite, got ", sigma);
  DVFAST_CHECK(window >= 1 && window % 2 == 1 && window <= kMaxWindow,
               "window must be an odd number of pixels from 1 to ", kMaxWindow, ", got ", window);
}

inline void check_size(int64_t height, int64_t width) {
  DVFAST_CHECK(height >= 0 && width >= 0, "size must not be negative, got ", height, " x ", width);
}

// `peak` is the most that one vote of confidence 1 adds to one pixel.
template <typename T>
VotingRules<T> voting_rules(const Tensor& votes, int64_t stride, double offset_y, double offset_x,
                            double max_offset, double peak) {
  DVFAST_CHECK(max_offset >= 0, "max_offset must not be negative, got ", max_offset);
  const auto view = votes_view<const T>(votes, "votes");
  const double limit = confidence_limit(view.num_votes * view.height * view.width, peak);
  return {grid_axis<T>(stride, offset_y, view.height), grid_axis<T>(stride, offset_x, view.width),
          static_cast<T>(max_offset) * static_cast<T>(max_offset), static_cast<T>(limit)};
}

// Votes to a map, [B, H, W], and the number of void votes, [B]. `params` lacks the sums alone.
template <typename Device, typename Params>
std::pair<Tensor, Tensor> vote_sums_to_map(const Tensor& votes, Params params) {
  using T = std::remove_const_t<std::remove_pointer_t<decltype(params.votes.data)>>;
  check_size(params.height, params.width);
  const int64_t batch = votes.size(0);
  const Device device{votes};
  const Tensor sums = allocate_zeros(votes, {batch, params.height, params.width}, ScalarType::Long);
  const Tensor num_void = allocate_zeros(votes, {batch}, ScalarType::Long);
  const Tensor map = allocate(votes, sums.sizes());
  params.sums = static_cast<int64_t*>(sums.data_ptr());
  if (votes.numel() > 0) device.scatter(params, static_cast<int64_t*>(num_void.data_ptr()));
  device.to_map(params.sums, static_cast<T*>(map.data_ptr()), sums.numel());
  return {map, num_void};
}

template <typename Device, typename T>
std::pair<Tensor, Tensor> vote_map(const Tensor& votes, int64_t height, int64_t width,
                                   const VotingRules<T>& rules, Interpolation interpolation) {
  VoteScatterParams<T> params{};
  params.votes = votes_view<const T>(votes, "votes");
  params.rules = rules;
  params.interpolation = interpolation;
  params.height = height;
  params.width = width;
  return vote_sums_to_map<Device>(votes, params);
}

inline void check_gradient(const Tensor& grad, const Tensor& votes) {
  check_same_device(grad, "grad", votes, "votes");
  check_dtype(grad, "grad", {votes.scalar_type()});
  DVFAST_CHECK(grad.dim() == 3 && grad.size(0) == votes.size(0),
               "grad must be [B, H, W] with the batch of votes: got ", describe(grad), " for ",
               describe(votes));
}

template <typename Device, typename T>
Tensor gather(const Tensor& votes, const VotingRules<T>& rules, Interpolation interpolation,
              const Tensor& value, const Tensor* slope_y, const Tensor* slope_x) {
  Tensor grad_votes = allocate_like(votes);
  VoteGatherParams<T> params{};
  params.votes = votes_view<const T>(votes, "votes");
  params.grad_votes = votes_view<T>(grad_votes, "grad_votes");
  params.rules = rules;
  params.interpolation = interpolation;
  params.value = map_view<const T>(value, "grad");
  if (slope_y != nullptr) params.slope_y = map_view<const T>(*slope_y, "grad");
  if (slope_x != nullptr) params.slope_x = map_view<const T>(*slope_x, "grad");
  if (votes.numel() > 0) Device{votes}.gather(params);
  return grad_votes;
}

}  // namespace dvfast
