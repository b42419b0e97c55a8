// What only the emulated kernels have: an order of threads, all images of a batch at once, the sum
// of all losses, and a capacity for peaks. The rest goes by the bindings of tests/native; see
// cpu_interface.cpp.
#include <limits>
#include <stdexcept>

#include "../../csrc/cuda/density_peaks.h"
#include "../../csrc/cuda/find_peaks.h"
#include "../../csrc/cuda/trunk_layer_tensor_cores.h"
#include "../../csrc/cuda/vote_head_tensor_cores.h"
#include "../../csrc/cuda/vote_head_warpgroups.h"
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

// What finding peaks works in, no longer than it must be.
struct PeakBuffers {
  explicit PeakBuffers(int64_t pixels)
      : chunks((pixels + kPixelsPerChunk - 1) / kPixelsPerChunk),
        highest(noise<unsigned long long>(1)),
        parents(noise<int64_t>(pixels)),
        marks(noise<Mark>(pixels)),
        offsets(noise<int64_t>(chunks + 1)) {}

  PeakWorkspace workspace() {
    return {highest.data(), parents.data(), marks.data(), offsets.data()};
  }

  int64_t chunks;
  std::vector<unsigned long long> highest;
  std::vector<int64_t> parents;
  std::vector<Mark> marks;
  std::vector<int64_t> offsets;
};

// density [1, H, W]; returns the number of peaks and writes as many as `points` [capacity, 2] has
// room for.
template <typename T>
void define_peaks(py::module_& m, const std::string& type) {
  m.def(("find_peaks_" + type).c_str(), [](const py::array& density, double threshold,
                                           bool relative, int64_t min_distance,
                                           const py::array& points) {
    PeakBuffers buffers(density.size());
    const FindPeaksDeviceParams<T> params{map_view<const T>(density), threshold, relative,
                                          min_distance, buffers.workspace()};
    check(launch_find_peaks(params, nullptr));
    check(launch_write_peaks(params, Array<int64_t>::of(points).data(), points.shape(0), nullptr));
    return buffers.offsets[buffers.chunks];
  });
  // map and density [1, H, W]; also tells whether that was one pass.
  m.def(("density_peaks_" + type).c_str(), [](const py::array& map, const py::array& density,
                                              const py::array& taps, double scale, double threshold,
                                              bool relative, int64_t min_distance,
                                              const py::array& points) {
    PeakBuffers buffers(density.size());
    const T* weights = Array<const T>::of(taps).data();
    const GaussianFilterParams<T> filter{
        map_view<const T>(map), Array<T>::of(density).data(), weights, weights,
        taps.shape(0),          static_cast<T>(scale)};
    const FindPeaksDeviceParams<T> peaks{map_view<const T>(density), threshold, relative,
                                         min_distance, buffers.workspace()};
    check(launch_density_peaks(filter, peaks, nullptr));
    check(launch_write_peaks(peaks, Array<int64_t>::of(points).data(), points.shape(0), nullptr));
    return std::make_tuple(buffers.offsets[buffers.chunks], is_one_pass(filter, peaks));
  });
}

// [B, h, w, C]
template <typename T>
FeaturesView<T> features_view(const py::array& array) {
  const auto map = Array<T>::of(array);
  return {map.data(),     array.shape(0), array.shape(1), array.shape(2),
          array.shape(3), map.stride(0),  map.stride(1),  map.stride(2)};
}

// Weights packed as matrix_precision.h has them; halves travel as uint16.
MatrixTrunkParams matrix_trunk(const py::array& input, const py::array& weight,
                               const py::array& bias, const py::array& output, int64_t kernel_size,
                               int64_t dilation, int64_t pool_stride, int64_t pool_dilation,
                               int64_t precision) {
  MatrixTrunkParams params{};
  params.precision = static_cast<MatrixPrecision>(precision);
  if (params.precision == MatrixPrecision::kBfloat16) {
    params.rounded_input = features_view<const bfloat16>(input);
    params.rounded_output = features_view<bfloat16>(output);
  } else {
    params.trunk.input = features_view<const float>(input);
    params.trunk.output = features_view<float>(output);
  }
  params.trunk.layer = {Array<const float>::of(weight).data(), Array<const float>::of(bias).data(),
                        input.shape(3), bias.shape(0)};
  params.trunk.kernel_size = kernel_size;
  params.trunk.dilation = dilation;
  params.trunk.pool_stride = pool_stride;
  params.trunk.pool_dilation = pool_dilation;
  return params;
}

MatrixHeadParams matrix_head(const py::array& features, const std::vector<py::array>& weights,
                             const std::vector<py::array>& biases, const py::array& votes,
                             int64_t kernel_size, int64_t dilation, int64_t stride,
                             int64_t precision) {
  MatrixHeadParams params{};
  params.precision = static_cast<MatrixPrecision>(precision);
  VoteHeadParams& head = params.head;
  if (params.precision == MatrixPrecision::kBfloat16) {
    params.rounded = features_view<const bfloat16>(features);
  } else {
    head.features = features_view<const float>(features);
  }
  head.votes = votes_view<float>(votes);
  head.num_layers = static_cast<int64_t>(weights.size());
  int64_t inputs = features.shape(3);
  for (size_t i = 0; i < weights.size(); ++i) {
    head.layers[i] = {Array<const float>::of(weights[i]).data(),
                      Array<const float>::of(biases[i]).data(), inputs, biases[i].shape(0)};
    inputs = head.layers[i].outputs;
  }
  head.kernel_size = kernel_size;
  head.dilation = dilation;
  head.stride = stride;
  return params;
}

// False where a kernel leaves the work to another, as `has_kernel` has to have said.
bool launched(cudaError_t error, bool has_kernel) {
  if (error == cudaErrorNotSupported) {
    if (has_kernel) throw std::logic_error("a kernel that is there was not launched");
    return false;
  }
  check(error);
  return true;
}

}  // namespace

PYBIND11_MODULE(dvfast_emulation, m) {
  define_targets<float>(m, "float32");
  define_targets<double>(m, "float64");
  define_total<float>(m, "float32");
  define_total<double>(m, "float64");
  define_peaks<float>(m, "float32");
  define_peaks<double>(m, "float64");
  m.def("matrix_trunk_layer", [](const py::array& input, const py::array& weight,
                                 const py::array& bias, const py::array& output,
                                 int64_t kernel_size, int64_t dilation, int64_t pool_stride,
                                 int64_t pool_dilation, int64_t precision, int major) {
    emulation::settings.major = major;
    const MatrixTrunkParams params = matrix_trunk(input, weight, bias, output, kernel_size,
                                                  dilation, pool_stride, pool_dilation, precision);
    return launched(launch_matrix_trunk_layer(params, nullptr), has_matrix_trunk_layer(params));
  });
  m.def("matrix_vote_head", [](const py::array& features, const std::vector<py::array>& weights,
                               const std::vector<py::array>& biases, const py::array& votes,
                               int64_t kernel_size, int64_t dilation, int64_t stride,
                               int64_t precision, int major) {
    emulation::settings.major = major;
    const MatrixHeadParams params =
        matrix_head(features, weights, biases, votes, kernel_size, dilation, stride, precision);
    return launched(launch_matrix_vote_head(params, nullptr), has_matrix_vote_head(params));
  });
  m.def("warpgroup_vote_head", [](const py::array& features, const std::vector<py::array>& weights,
                                  const std::vector<py::array>& biases, const py::array& votes,
                                  int64_t kernel_size, int64_t dilation, int64_t stride,
                                  int64_t precision, int major) {
    emulation::settings.major = major;
    const MatrixHeadParams params =
        matrix_head(features, weights, biases, votes, kernel_size, dilation, stride, precision);
    return launched(launch_warpgroup_vote_head(params, nullptr), has_warpgroup_vote_head(params));
  });
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
