// Section 2.3: checks and allocation, for any device; see voting.h.
#pragma once

#include <tuple>

#include "voting.h"

namespace dvfast::ops {

template <typename Device>
std::tuple<Tensor, Tensor> vote_density_forward(const Tensor& votes, int64_t height, int64_t width,
                                                double sigma, int64_t window, int64_t stride,
                                                double offset_y, double offset_x, double max_offset,
                                                int64_t interpolation) {
  check_gaussian(sigma, window);
  return with_real_type(votes, "votes", [&](auto type) -> std::tuple<Tensor, Tensor> {
    using T = decltype(type);
    const auto rules = voting_rules<T>(votes, stride, offset_y, offset_x, max_offset, 1.0);
    const auto [map, num_void] =
        vote_map<Device>(votes, height, width, rules, check_interpolation(interpolation));
    const Device device{votes};
    return {device.template filter<T>(map, sigma, window, Tap::kValue, Tap::kValue), num_void};
  });
}

// Nearest votes take the slope of the Gaussian centred on the pixel they were rounded to; bilinear
// ones the true derivative.
template <typename Device>
Tensor vote_density_backward(const Tensor& grad, const Tensor& votes, double sigma, int64_t window,
                             int64_t stride, double offset_y, double offset_x, double max_offset,
                             int64_t interpolation) {
  check_gaussian(sigma, window);
  return with_real_type(votes, "votes", [&](auto type) {
    using T = decltype(type);
    const auto rules = voting_rules<T>(votes, stride, offset_y, offset_x, max_offset, 1.0);
    check_gradient(grad, votes);
    const Interpolation how = check_interpolation(interpolation);
    const Device device{votes};
    const auto filtered = [&](Tap tap_y, Tap tap_x) {
      return device.template filter<T>(grad, sigma, window, tap_y, tap_x);
    };
    const Tensor value = filtered(Tap::kValue, Tap::kValue);
    if (how == Interpolation::kBilinear) {
      return gather<Device>(votes, rules, how, value, nullptr, nullptr);
    }
    const Tensor slope_y = filtered(Tap::kDerivative, Tap::kValue);
    const Tensor slope_x = filtered(Tap::kValue, Tap::kDerivative);
    return gather<Device>(votes, rules, how, value, &slope_y, &slope_x);
  });
}

}  // namespace dvfast::ops
