// Eq. 6 and 7: checks and allocation, for any device; see voting.h.
#pragma once

#include <limits>
#include <tuple>

#include "voting.h"

namespace dvfast::ops {

template <typename T>
void fill_parzen(ParzenParams<T>* params, const Tensor& votes, int64_t height, int64_t width,
                 double sigma, int64_t window, int64_t stride, double offset_y, double offset_x,
                 double radius, int64_t area) {
  check_gaussian(sigma, window);
  check_size(height, width);
  DVFAST_CHECK(radius >= 0, "radius must not be negative, got ", radius);
  DVFAST_CHECK(area == 0 || area == 1, "area must be 0 (box) or 1 (disc), got ", area);
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

template <typename Device>
std::tuple<Tensor, Tensor> parzen_density_forward(const Tensor& votes, int64_t height,
                                                  int64_t width, double sigma, int64_t window,
                                                  int64_t stride, double offset_y, double offset_x,
                                                  double radius, int64_t area) {
  return with_real_type(votes, "votes", [&](auto type) -> std::tuple<Tensor, Tensor> {
    using T = decltype(type);
    ParzenScatterParams<T> params{};
    fill_parzen<T>(&params, votes, height, width, sigma, window, stride, offset_y, offset_x, radius,
                   area);
    return vote_sums_to_map<Device>(votes, params);
  });
}

template <typename Device>
Tensor parzen_density_backward(const Tensor& grad, const Tensor& votes, double sigma,
                               int64_t window, int64_t stride, double offset_y, double offset_x,
                               double radius, int64_t area) {
  return with_real_type(votes, "votes", [&](auto type) {
    using T = decltype(type);
    ParzenGatherParams<T> params{};
    check_gradient(grad, votes);
    fill_parzen<T>(&params, votes, grad.size(1), grad.size(2), sigma, window, stride, offset_y,
                   offset_x, radius, area);
    Tensor grad_votes = allocate_like(votes);
    params.grad = map_view<const T>(grad, "grad");
    params.grad_votes = votes_view<T>(grad_votes, "grad_votes");
    if (votes.numel() > 0) Device{votes}.gather(params);
    return grad_votes;
  });
}

}  // namespace dvfast::ops
