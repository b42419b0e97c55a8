#include "find_peaks_cuda.h"

#include <torch/csrc/stable/library.h>

#include <tuple>

namespace dvfast {
namespace {

template <typename T>
PeakSearch<T> search(const Tensor& density, const PeakRules& rules, const CudaScope& scope) {
  return {density, image_view<T>(density), rules, scope, launch_find_peaks<T>};
}

Tensor find_peaks_cuda(const Tensor& density, double threshold, bool relative,
                       int64_t min_distance) {
  const PeakRules rules{threshold, relative, min_distance};
  check_find_peaks(density, rules);
  const CudaScope scope(density);
  return with_real_type(density, "density", [&](auto type) {
    return search<decltype(type)>(density, rules, scope).all();
  });
}

std::tuple<Tensor, Tensor> find_first_peaks_cuda(const Tensor& density, double threshold,
                                                 bool relative, int64_t min_distance,
                                                 int64_t capacity) {
  const PeakRules rules{threshold, relative, min_distance};
  check_find_peaks(density, rules);
  check_capacity(capacity);
  const CudaScope scope(density);
  return with_real_type(density, "density", [&](auto type) -> std::tuple<Tensor, Tensor> {
    const auto found = search<decltype(type)>(density, rules, scope);
    return {found.first(capacity), found.count()};
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(dvfast, CUDA, m) {
  m.impl("find_peaks", TORCH_BOX(&find_peaks_cuda));
  m.impl("find_first_peaks", TORCH_BOX(&find_first_peaks_cuda));
}

}  // namespace dvfast
