// The convolution of a U-Net by Winograd's algorithm. Maps are [B, h, w, C], layers come packed.
#include "../../csrc/cpu/winograd_convolution.h"

#include "maps.h"

namespace dvfast::test {
namespace {

using Wanted = std::optional<py::array>;

// Parameters with the rows that they point to.
class Convolution {
 public:
  // A map is enlarged if it is narrower than the last. At least one of the results is wanted.
  Convolution(const Arrays& maps, const py::array& weight, const py::array& bias,
              const std::vector<int64_t>& channels, int64_t above, const Wanted& output,
              const Wanted& pooled) {
    params_.num_maps = static_cast<int64_t>(maps.size());
    if (params_.num_maps > kMaxUnetMaps) throw py::value_error("too many maps");
    params_.batch = maps.back().shape(0);
    params_.width = maps.back().shape(2);
    params_.height = output ? output->shape(1) : 2 * pooled->shape(1);
    params_.above = above;
    params_.below = maps.back().shape(1) - above - params_.height;
    int64_t inputs = 0;
    for (size_t m = 0; m < maps.size(); ++m) {
      const bool enlarged = maps[m].shape(2) < params_.width;
      const auto view = rows_view(features_view<const float>(maps[m]), seen_[m]);
      params_.maps[m] = {view, channels[m], enlarged ? (above + 1) / 2 * 2 : above, enlarged};
      inputs += channels[m];
    }
    if (output) params_.output = rows_view(features_view<float>(*output), output_);
    if (pooled) params_.pooled = rows_view(features_view<float>(*pooled), pooled_);
    params_.layer = packed_layer(weight, bias, inputs);
  }

  const WinogradConvolutionParams& params() const { return params_; }

 private:
  template <typename T>
  static RowsView<T> rows_view(const FeaturesView<T>& map, std::vector<T*>& rows) {
    for (int64_t b = 0; b < map.batch; ++b)
      for (int64_t y = 0; y < map.height; ++y)
        rows.push_back(map.data + b * map.batch_stride + y * map.y_stride);
    return {rows.data(), map.height, map.x_stride};
  }

  WinogradConvolutionParams params_{};
  std::vector<const float*> seen_[kMaxUnetMaps];
  std::vector<float*> output_, pooled_;
};

}  // namespace

void define_winograd_convolution(py::module_& m) {
  m.def("winograd_convolution_tiles",
        [](const Arrays& maps, const py::array& weight, const py::array& bias,
           const std::vector<int64_t>& channels, int64_t above, const Wanted& output,
           const Wanted& pooled) {
          const Convolution convolution(maps, weight, bias, channels, above, output, pooled);
          return winograd_convolution_tiles(convolution.params());
        });
  m.def("winograd_convolution",
        [](const Arrays& maps, const py::array& weight, const py::array& bias,
           const std::vector<int64_t>& channels, int64_t above, const Wanted& output,
           const Wanted& pooled, int64_t begin, int64_t end) {
          const Convolution convolution(maps, weight, bias, channels, above, output, pooled);
          winograd_convolution(convolution.params(), begin, end);
        });
}

}  // namespace dvfast::test
