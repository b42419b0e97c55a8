#include <torch/csrc/stable/library.h>

#include "voting_cpu.h"

namespace dvfast {
namespace {

std::tuple<Tensor, Tensor> forward(const Tensor& votes, int64_t height, int64_t width,
                                   int64_t stride, double offset_y, double offset_x,
                                   double max_offset, int64_t interpolation) {
  return with_real_type(votes, "votes", [&](auto type) -> std::tuple<Tensor, Tensor> {
    using T = decltype(type);
    const auto rules = voting_rules<T>(votes, stride, offset_y, offset_x, max_offset, 1.0);
    const auto [sums, num_void] =
        vote_sums<T>(votes, height, width, rules, check_interpolation(interpolation));
    return {map_of_sums<T>(sums, votes), num_void};
  });
}

Tensor backward(const Tensor& grad, const Tensor& votes, int64_t stride, double offset_y,
                double offset_x, double max_offset, int64_t interpolation) {
  return with_real_type(votes, "votes", [&](auto type) {
    using T = decltype(type);
    const auto rules = voting_rules<T>(votes, stride, offset_y, offset_x, max_offset, 1.0);
    check_gradient(grad, votes);
    return gather<T>(votes, rules, check_interpolation(interpolation), grad, nullptr, nullptr);
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(dvfast, CPU, m) {
  m.impl("vote_map", TORCH_BOX(&forward));
  m.impl("vote_map_backward", TORCH_BOX(&backward));
}

}  // namespace dvfast
