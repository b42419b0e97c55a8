// The convolution of a U-Net by Winograd's algorithm. Maps are [B, h, w, C], layers come packed.
#include "../../csrc/cpu/winograd_convolution.h"

#include "maps.h"

namespace dvfast::test {
namespace {

using Wanted = std::optional<py::array>;

FeaturesView<float> view_if_wanted(const Wanted& map) {
  return map ? features_view<float>(*map) : FeaturesView<float>{};
}

// A map is enlarged if it is narrower than the last. At least one of the results is wanted.
WinogradConvolutionParams convolution_params(const Arrays& maps, const py::array& weight,
                                             const py::array& bias, int64_t first_row,
                                             const Wanted& output, const Wanted& pooled) {
  WinogradConvolutionParams params{};
  params.num_maps = static_cast<int64_t>(maps.size());
  if (params.num_maps > kMaxUnetMaps) throw py::value_error("too many maps");
  params.batch = maps.back().shape(0);
  params.width = maps.back().shape(2);
  params.first_row = first_row;
  params.height = output ? output->shape(1) : 2 * pooled->shape(1);
  int64_t channels = 0;
  for (size_t m = 0; m < maps.size(); ++m) {
    params.maps[m] = {features_view<const float>(maps[m]), maps[m].shape(2) < params.width};
    channels += maps[m].shape(3);
  }
  params.output = view_if_wanted(output);
  params.pooled = view_if_wanted(pooled);
  params.layer = packed_layer(weight, bias, channels);
  return params;
}

}  // namespace

void define_winograd_convolution(py::module_& m) {
  m.def("winograd_convolution_tiles",
        [](const Arrays& maps, const py::array& weight, const py::array& bias, int64_t first_row,
           const Wanted& output, const Wanted& pooled) {
          return winograd_convolution_tiles(
              convolution_params(maps, weight, bias, first_row, output, pooled));
        });
  m.def("winograd_convolution",
        [](const Arrays& maps, const py::array& weight, const py::array& bias, int64_t first_row,
           const Wanted& output, const Wanted& pooled, int64_t begin, int64_t end) {
          winograd_convolution(convolution_params(maps, weight, bias, first_row, output, pooled),
                               begin, end);
        });
}

}  // namespace dvfast::test
