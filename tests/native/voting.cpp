// The kernels that sum votes, their gradients, the Gaussian filter, and those that take points or
// find them.
#include <limits>

#include "../../csrc/cpu/find_peaks.h"
#include "../../csrc/cpu/gaussian_filter.h"
#include "../../csrc/cpu/parzen_density.h"
#include "../../csrc/cpu/vote_map.h"
#include "../../csrc/cpu/vote_targets.h"
#include "arrays.h"

namespace dvfast::test {
namespace {

template <typename T>
VotingRules<T> voting_rules(const AxisTuple& y_axis, const AxisTuple& x_axis, double max_offset,
                            double limit) {
  const T longest = static_cast<T>(max_offset);
  return {grid_axis<T>(y_axis), grid_axis<T>(x_axis), longest * longest, static_cast<T>(limit)};
}

// [B, H, W] int64, contiguous
int64_t* sums_of(const py::array& sums) {
  if (sums.ndim() != 3) throw py::value_error("[B, H, W] was expected");
  return Array<int64_t>::of(sums).data();
}

template <typename T>
void define_map(py::module_& m, const std::string& type) {
  m.def(("scatter_votes_" + type).c_str(),
        [](const py::array& votes, const py::array& sums, const AxisTuple& y_axis,
           const AxisTuple& x_axis, double max_offset, double limit, int64_t interpolation,
           bool shared, int64_t begin, int64_t end) {
          VoteScatterParams<T> params{};
          params.votes = votes_view<const T>(votes);
          params.rules = voting_rules<T>(y_axis, x_axis, max_offset, limit);
          params.interpolation = static_cast<Interpolation>(interpolation);
          params.height = sums.shape(1);
          params.width = sums.shape(2);
          params.sums = sums_of(sums);
          params.shared = shared;
          return scatter_votes<T>(params, begin, end);
        });
  m.def(("gather_votes_" + type).c_str(),
        [](const py::array& votes, const py::array& grad_votes, const py::array& value,
           const std::optional<py::array>& slope_y, const std::optional<py::array>& slope_x,
           const AxisTuple& y_axis, const AxisTuple& x_axis, double max_offset, double limit,
           int64_t interpolation, int64_t begin, int64_t end) {
          VoteGatherParams<T> params{};
          params.votes = votes_view<const T>(votes);
          params.grad_votes = votes_view<T>(grad_votes);
          params.rules = voting_rules<T>(y_axis, x_axis, max_offset, limit);
          params.interpolation = static_cast<Interpolation>(interpolation);
          params.value = map_view<const T>(value);
          if (slope_y) params.slope_y = map_view<const T>(*slope_y);
          if (slope_x) params.slope_x = map_view<const T>(*slope_x);
          gather_votes<T>(params, begin, end);
        });
  m.def(("sums_to_map_" + type).c_str(),
        [](const py::array& sums, const py::array& map, int64_t begin, int64_t end) {
          sums_to_map<T>(sums_of(sums), Array<T>::of(map).data(), begin, end);
        });
}

template <typename T>
void fill(ParzenParams<T>* params, const py::array& votes, double sigma, int64_t window,
          const AxisTuple& y_axis, const AxisTuple& x_axis, double limit, double radius,
          int64_t area) {
  params->votes = votes_view<const T>(votes);
  params->rules = voting_rules<T>(y_axis, x_axis, std::numeric_limits<double>::infinity(), limit);
  params->gaussian = make_gaussian<T>(sigma);
  params->window = window;
  params->area = static_cast<VoterArea>(area);
  params->radius = static_cast<T>(radius);
}

template <typename T>
void define_parzen(py::module_& m, const std::string& type) {
  m.def(("parzen_scatter_" + type).c_str(),
        [](const py::array& votes, const py::array& sums, double sigma, int64_t window,
           const AxisTuple& y_axis, const AxisTuple& x_axis, double limit, double radius,
           int64_t area, bool shared, int64_t begin, int64_t end) {
          ParzenScatterParams<T> params{};
          fill<T>(&params, votes, sigma, window, y_axis, x_axis, limit, radius, area);
          params.height = sums.shape(1);
          params.width = sums.shape(2);
          params.sums = sums_of(sums);
          params.shared = shared;
          return parzen_scatter<T>(params, begin, end);
        });
  m.def(("parzen_gather_" + type).c_str(),
        [](const py::array& votes, const py::array& grad_votes, const py::array& grad, double sigma,
           int64_t window, const AxisTuple& y_axis, const AxisTuple& x_axis, double limit,
           double radius, int64_t area, int64_t begin, int64_t end) {
          ParzenGatherParams<T> params{};
          fill<T>(&params, votes, sigma, window, y_axis, x_axis, limit, radius, area);
          params.grad = map_view<const T>(grad);
          params.height = params.grad.height;
          params.width = params.grad.width;
          params.grad_votes = votes_view<T>(grad_votes);
          parzen_gather<T>(params, begin, end);
        });
}

template <typename T>
void define_filter(py::module_& m, const std::string& type) {
  m.def(("gaussian_taps_" + type).c_str(), [](double sigma, int64_t window, bool derivative) {
    return gaussian_taps<T>(sigma, window, derivative ? Tap::kDerivative : Tap::kValue);
  });
  m.def(("gaussian_filter_" + type).c_str(), [](const py::array& input, const py::array& output,
                                                const py::array& taps_y, const py::array& taps_x,
                                                int64_t begin, int64_t end) {
    const GaussianFilterParams<T> params{map_view<const T>(input), Array<T>::of(output).data(),
                                         Array<const T>::of(taps_y).data(),
                                         Array<const T>::of(taps_x).data(), taps_x.shape(0)};
    gaussian_filter<T>(params, begin, end);
  });
}

using PeakTuple = std::tuple<int64_t, int64_t, bool>;

template <typename T>
FindPeaksParams<T> peaks_params(const py::array& density, double lowest, int64_t min_distance) {
  return {map_view<const T>(density), lowest, min_distance};
}

template <typename T>
void define_points(py::module_& m, const std::string& type) {
  // points [n, 2] of one image
  m.def(("vote_targets_" + type).c_str(),
        [](const py::array& points, const py::array& target, const AxisTuple& y_axis,
           const AxisTuple& x_axis, double r1, double r2, double beta, int64_t begin, int64_t end) {
          const auto nuclei = Array<const T>::of(points);
          const NucleusBins<T> bins(nuclei.data(), points.shape(0), nuclei.stride(0),
                                    nuclei.stride(1));
          VoteTargetsParams<T> params{};
          params.bins = &bins;
          params.target = votes_view<T>(target);
          params.y_axis = grid_axis<T>(y_axis);
          params.x_axis = grid_axis<T>(x_axis);
          params.range = {static_cast<T>(r1), static_cast<T>(r2), static_cast<T>(beta)};
          vote_targets<T>(params, begin, end);
        });
  // density [1, H, W]
  m.def(("highest_value_" + type).c_str(),
        [](const py::array& density, int64_t begin, int64_t end) {
          return highest_value<T>(map_view<const T>(density), begin, end);
        });
  m.def(("find_peaks_" + type).c_str(), [](const py::array& density, double lowest,
                                           int64_t min_distance, int64_t begin, int64_t end) {
    std::vector<PeakTuple> found;
    for (const Peak& peak :
         find_peaks<T>(peaks_params<T>(density, lowest, min_distance), begin, end)) {
      found.emplace_back(peak.y, peak.x, peak.tied);
    }
    return found;
  });
  m.def(("merge_plateaus_" + type).c_str(),
        [](const py::array& density, int64_t min_distance, const std::vector<PeakTuple>& found) {
          std::vector<Peak> peaks;
          for (const auto& [y, x, tied] : found) peaks.push_back({y, x, tied});
          merge_plateaus<T>(peaks_params<T>(density, 0, min_distance), &peaks);
          std::vector<std::pair<int64_t, int64_t>> kept;
          for (const Peak& peak : peaks) kept.emplace_back(peak.y, peak.x);
          return kept;
        });
}

}  // namespace

void define_votes(py::module_& m) {
  define_map<float>(m, "float32");
  define_map<double>(m, "float64");
  define_parzen<float>(m, "float32");
  define_parzen<double>(m, "float64");
  define_filter<float>(m, "float32");
  define_filter<double>(m, "float64");
  define_points<float>(m, "float32");
  define_points<double>(m, "float64");
}

}  // namespace dvfast::test
