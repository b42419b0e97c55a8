#include <torch/csrc/stable/library.h>

#include "../cpu/parzen_density.h"
#include "voting_cpu.h"

namespace dvfast {
namespace {

template <typename T>
void fill(ParzenParams<T>* params, const Tensor& votes, int64_t height, int64_t width, double sigma,
          int64_t window, int64_t stride, double offset_y, double offset_x, double radius,
          int64_t area) {
  check_gaussian(sigma, window);
  check_size(height, width);
  STD_TORCH_CHECK(radius >= 0, "radius must not be negative, got ", radius);
  STD_TORCH_CHECK(area == 0 || area == 1, "area must be 0 (box) or 1 (disc), got ", area);
  params->votes = votes_view<const T>(votes, "votes");
  params->gaussian = make_gaussian<T>(sigma);
  const double peak = params->gaussian(T(0)) * params->gaussian(T(0));
  params->rules = voting_rules<T>(votes, stride, offset_y, offset_x,
                                  std::numeric_limits<double>::infinity(), peak);
  params->window = window;
  params->area = static_cast<VoterArea>(area);
  params->radius = static_cast<T>(radius);
  params->height = height;
  params->width = width;
}

std::tuple<Tensor, Tensor> forward(const Tensor& votes, int64_t height, int64_t width, double sigma,
                                   int64_t window, int64_t stride, double offset_y, double offset_x,
                                   double radius, int64_t area) {
  return with_real_type(votes, "votes", [&](auto type) -> std::tuple<Tensor, Tensor> {
    using T = decltype(type);
    ParzenScatterParams<T> params{};
    fill<T>(&params, votes, height, width, sigma, window, stride, offset_y, offset_x, radius, area);
    Tensor sums = torch::stable::new_zeros(votes, {votes.size(0), height, width}, ScalarType::Long);
    params.sums = static_cast<int64_t*>(sums.data_ptr());
    const Tensor num_void = count_void(votes, [&](int64_t begin, int64_t end, bool shared) {
      ParzenScatterParams<T> mine = params;
      mine.shared = shared;
      return parzen_scatter<T>(mine, begin, end);
    });
    return {map_of_sums<T>(sums, votes), num_void};
  });
}

Tensor backward(const Tensor& grad, const Tensor& votes, double sigma, int64_t window,
                int64_t stride, double offset_y, double offset_x, double radius, int64_t area) {
  return with_real_type(votes, "votes", [&](auto type) {
    using T = decltype(type);
    ParzenGatherParams<T> params{};
    check_gradient(grad, votes);
    fill<T>(&params, votes, grad.size(1), grad.size(2), sigma, window, stride, offset_y, offset_x,
            radius, area);
    Tensor grad_votes = torch::stable::empty_like(votes);
    params.grad = map_view<const T>(grad, "grad");
    params.grad_votes = votes_view<T>(grad_votes, "grad_votes");
    torch::stable::parallel_for(
        0, params.votes.batch * params.votes.height, kVoterRowsPerThread,
        [&](int64_t begin, int64_t end) { parzen_gather<T>(params, begin, end); });
    return grad_votes;
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(dvfast, CPU, m) {
  m.impl("parzen_density", TORCH_BOX(&forward));
  m.impl("parzen_density_backward", TORCH_BOX(&backward));
}

}  // namespace dvfast
