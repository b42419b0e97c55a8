// Section 2.3, first half: checks and allocation, for any device; see voting.h.
#pragma once

#include <tuple>

#include "voting.h"

namespace dvfast::ops {

template <typename Device>
std::tuple<Tensor, Tensor> vote_map_forward(const Tensor& votes, int64_t height, int64_t width,
                                            int64_t stride, double offset_y, double offset_x,
                                            double max_offset, int64_t interpolation) {
  return with_real_type(votes, "votes", [&](auto type) -> std::tuple<Tensor, Tensor> {
    using T = decltype(type);
    const auto rules = voting_rules<T>(votes, stride, offset_y, offset_x, max_offset, 1.0);
    return vote_map<Device>(votes, height, width, rules, check_interpolation(interpolation));
  });
}

template <typename Device>
Tensor vote_map_backward(const Tensor& grad, const Tensor& votes, int64_t stride, double offset_y,
                         double offset_x, double max_offset, int64_t interpolation) {
  return with_real_type(votes, "votes", [&](auto type) {
    using T = decltype(type);
    const auto rules = voting_rules<T>(votes, stride, offset_y, offset_x, max_offset, 1.0);
    check_gradient(grad, votes);
    return gather<Device>(votes, rules, check_interpolation(interpolation), grad, nullptr, nullptr);
  });
}

}  // namespace dvfast::ops
