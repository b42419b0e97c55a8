// Votes of one image to its density and peaks: what Detector asks for, in as few steps as the
// device can. Checks and allocation for any device; a Device of voting.h also has
//   filter_and_find(map, sigma, window, scale, rules, capacity)   density, points, their number
#pragma once

#include <tuple>

#include "find_peaks.h"
#include "voting.h"

namespace dvfast::ops {

// The density, multiplied by `scale`, is [1, H, W]. A negative capacity makes room for all peaks,
// and waits for the device to know how many they are.
template <typename Device>
std::tuple<Tensor, Tensor, Tensor, Tensor> density_peaks(
    const Tensor& votes, int64_t height, int64_t width, double sigma, int64_t window,
    int64_t stride, double offset_y, double offset_x, double max_offset, int64_t interpolation,
    double scale, double threshold, bool relative, int64_t min_distance, int64_t capacity) {
  check_gaussian(sigma, window);
  const PeakRules rules{threshold, relative, min_distance};
  check_peak_rules(rules);
  DVFAST_CHECK(votes.dim() == 4 && votes.size(0) == 1,
               "votes must be those of one image, [1, 3k, h, w], got ", describe(votes));
  return with_real_type(
      votes, "votes", [&](auto type) -> std::tuple<Tensor, Tensor, Tensor, Tensor> {
        using T = decltype(type);
        const auto voting = voting_rules<T>(votes, stride, offset_y, offset_x, max_offset, 1.0);
        const auto [map, num_void] =
            vote_map<Device>(votes, height, width, voting, check_interpolation(interpolation));
        const Device device{votes};
        const auto [density, points, count] =
            device.template filter_and_find<T>(map, sigma, window, scale, rules, capacity);
        return {density, points, count, num_void};
      });
}

}  // namespace dvfast::ops
