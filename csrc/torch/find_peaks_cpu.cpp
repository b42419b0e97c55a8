#include "find_peaks_cpu.h"

#include <torch/csrc/stable/library.h>

#include <tuple>

namespace dvfast {
namespace {

std::vector<Peak> search(const Tensor& density, const PeakRules& rules) {
  check_find_peaks(density, rules);
  return with_real_type(density, "density", [&](auto type) {
    return peaks_of(image_view<decltype(type)>(density), rules);
  });
}

Tensor find_peaks_cpu(const Tensor& density, double threshold, bool relative,
                      int64_t min_distance) {
  const std::vector<Peak> peaks = search(density, {threshold, relative, min_distance});
  return points_of(peaks, static_cast<int64_t>(peaks.size()), density);
}

std::tuple<Tensor, Tensor> find_first_peaks_cpu(const Tensor& density, double threshold,
                                                bool relative, int64_t min_distance,
                                                int64_t capacity) {
  check_capacity(capacity);
  const std::vector<Peak> peaks = search(density, {threshold, relative, min_distance});
  return {points_of(peaks, capacity, density), count_of(peaks, density)};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(dvfast, CPU, m) {
  m.impl("find_peaks", TORCH_BOX(&find_peaks_cpu));
  m.impl("find_first_peaks", TORCH_BOX(&find_first_peaks_cpu));
}

}  // namespace dvfast
