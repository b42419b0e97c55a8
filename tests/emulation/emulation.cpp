// What only the emulated kernels have: an order of threads, all images of a batch at once, the sum
// of all losses, and a capacity for peaks. The rest goes by the bindings of tests/native; see
// cpu_interface.cpp.
#include <limits>

#include "../../csrc/cuda/find_peaks.h"
#include "../../csrc/cuda/vote_targets.h"
#include "../../csrc/cuda/voting_loss.h"
#include "../native/arrays.h"
#include "launches.h"
#include "wrong_kernels.h"

namespace dvfast::test {
namespace {

template <typename T>
void define_targets(py::module_& m, const std::string& type) {
  m.def(("vote_targets_" + type).c_str(),
        [](const py::array& points, const py::array& splits, const py::array& target,
           const AxisTuple& y_axis, const AxisTuple& x_axis, double r1, double r2, double beta) {
          const auto nuclei = Array<const T>::of(points);
          VoteTargetsDeviceParams<T> params{};
          params.points = nuclei.data();
          params.num_points = points.shape(0);
          params.num_points = points.shape(0);
          params.point_stride = nuclei.stride(0);
          params.axis_stride = nuclei.stride(1);
          params.splits = Array<const int64_t>::of(splits).data();
          params.target = votes_view<T>(target);
          params.y_axis = grid_axis<T>(y_axis);
          params.x_axis = grid_axis<T>(x_axis);
          params.range = {static_cast<T>(r1), static_cast<T>(r2), static_cast<T>(beta)};
          check(launch_vote_targets(params, nullptr));
        });
}

template <typename T>
void define_total(py::module_& m, const std::string& type) {
  m.def(("total_loss_" + type).c_str(), [](const py::array& block_loss) {
    const auto sums = Array<const double>::of(block_loss);
    T total = std::numeric_limits<T>::quiet_NaN();
    check(launch_total_loss(sums.data(), sums.array.size(), &total, nullptr));
    return total;
  });
}

// Filled with noise: a kernel has to write what it reads.
template <typename T>
std::vector<T> noise(int64_t count) {
  std::vector<T> values(static_cast<size_t>(count));
  std::memset(values.data(), 0xa5, values.size() * sizeof(T));
  return values;
}

// density [1, H, W]; returns the number of peaks and writes as many as `points` [capacity, 2] has
// room for.
template <typename T>
void define_peaks(py::module_& m, const std::string& type) {
  m.def(("find_peaks_" + type).c_str(), [](const py::array& density, double threshold,
                                           bool relative, int64_t min_distance,
                                           const py::array& points) {
    FindPeaksDeviceParams<T> params{};
    params.density = map_view<const T>(density);
    params.threshold = threshold;
    params.relative = relative;
    params.min_distance = min_distance;
    const int64_t pixels = params.density.height * params.density.width;
    const int64_t chunks = (pixels + kPixelsPerChunk - 1) / kPixelsPerChunk;
    auto highest = noise<unsigned long long>(1);
    auto parents = noise<int64_t>(pixels);
    auto rejected = noise<unsigned char>(pixels);
    auto offsets = noise<int64_t>(chunks + 1);
    params.workspace = {highest.data(), parents.data(), rejected.data(), offsets.data()};
    check(launch_find_peaks(params, nullptr));
    check(launch_write_peaks(params, Array<int64_t>::of(points).data(), points.shape(0), nullptr));
    return offsets[chunks];
  });
}

}  // namespace

PYBIND11_MODULE(dvfast_emulation, m) {
  define_targets<float>(m, "float32");
  define_targets<double>(m, "float64");
  define_total<float>(m, "float32");
  define_total<double>(m, "float64");
  define_peaks<float>(m, "float32");
  define_peaks<double>(m, "float64");
  m.def("void_votes", [] { return void_votes; });
  m.def(
      "set_order",
      [](uint64_t seed, bool preempt, unsigned int most_blocks, bool find_races) {
        emulation::settings = {seed, preempt, find_races, most_blocks};
      },
      py::arg("seed"), py::arg("preempt") = false, py::arg("most_blocks") = 1u << 30,
      py::arg("find_races") = true);
  m.def("wrong_kernel",
        [](const std::string& flaw, bool right, const py::array& in, const py::array& out) {
          check(launch_wrong_kernel(flaw.c_str(), right, Array<const float>::of(in).data(),
                                    Array<float>::of(out).data(), in.size(), nullptr));
        });
}

}  // namespace dvfast::test
