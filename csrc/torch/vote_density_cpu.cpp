#include <torch/csrc/stable/library.h>

#include "voting_cpu.h"

namespace dvfast {
namespace {

std::tuple<Tensor, Tensor> forward(const Tensor& votes, int64_t height, int64_t width, double sigma,
                                   int64_t window, int64_t stride, double offset_y, double offset_x,
                                   double max_offset, int64_t interpolation) {
  check_gaussian(sigma, window);
  return with_real_type(votes, "votes", [&](auto type) -> std::tuple<Tensor, Tensor> {
    using T = decltype(type);
    const auto rules = voting_rules<T>(votes, stride, offset_y, offset_x, max_offset, 1.0);
    const auto [sums, num_void] =
        vote_sums<T>(votes, height, width, rules, check_interpolation(interpolation));
    const Tensor map = map_of_sums<T>(sums, votes);
    return {filter_map<T>(map, sigma, window, Tap::kValue, Tap::kValue), num_void};
  });
}

// Nearest votes take the slope of the Gaussian centred on the pixel they were rounded to; bilinear
// ones the true derivative.
Tensor backward(const Tensor& grad, const Tensor& votes, double sigma, int64_t window,
                int64_t stride, double offset_y, double offset_x, double max_offset,
                int64_t interpolation) {
  check_gaussian(sigma, window);
  return with_real_type(votes, "votes", [&](auto type) {
    using T = decltype(type);
    const auto rules = voting_rules<T>(votes, stride, offset_y, offset_x, max_offset, 1.0);
    check_gradient(grad, votes);
    const Interpolation how = check_interpolation(interpolation);
    const Tensor value = filter_map<T>(grad, sigma, window, Tap::kValue, Tap::kValue);
    if (how == Interpolation::kBilinear) {
      return gather<T>(votes, rules, how, value, nullptr, nullptr);
    }
    const Tensor slope_y = filter_map<T>(grad, sigma, window, Tap::kDerivative, Tap::kValue);
    const Tensor slope_x = filter_map<T>(grad, sigma, window, Tap::kValue, Tap::kDerivative);
    return gather<T>(votes, rules, how, value, &slope_y, &slope_x);
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(dvfast, CPU, m) {
  m.impl("vote_density", TORCH_BOX(&forward));
  m.impl("vote_density_backward", TORCH_BOX(&backward));
}

}  // namespace dvfast
