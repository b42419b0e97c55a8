#include <torch/csrc/stable/library.h>

#include "density_peaks.h"
#include "find_peaks_cpu.h"
#include "voting_cpu.h"

namespace dvfast {
namespace {

struct Cpu : CpuVoting {
  using CpuVoting::CpuVoting;

  template <typename T>
  std::tuple<Tensor, Tensor, Tensor> filter_and_find(const Tensor& map, double sigma,
                                                     int64_t window, double scale,
                                                     const PeakRules& rules,
                                                     int64_t capacity) const {
    const Tensor density = filter<T>(map, sigma, window, Tap::kValue, Tap::kValue, scale);
    const auto peaks = peaks_of(map_view<const T>(density, "density"), rules);
    const int64_t room = capacity < 0 ? static_cast<int64_t>(peaks.size()) : capacity;
    return {density, points_of(peaks, room, map), count_of(peaks, map)};
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(dvfast, CPU, m) {
  m.impl("density_peaks", TORCH_BOX(&ops::density_peaks<Cpu>));
}

}  // namespace dvfast
