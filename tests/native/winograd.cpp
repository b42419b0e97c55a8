// The head by Winograd's algorithm. Maps are [B, h, w, C], layers come packed.
#include "../../csrc/cpu/winograd_head.h"
#include "maps.h"

namespace dvfast::test {
namespace {

WinogradHeadParams winograd_params(const py::array& features, const Arrays& weights,
                                   const Arrays& biases, const py::array& votes, int64_t dilation) {
  WinogradHeadParams params{};
  params.features = features_view<const float>(features);
  params.votes = votes_view<float>(votes);
  params.first = packed_layer(weights.at(0), biases.at(0), features.shape(3));
  params.last = packed_layer(weights.at(1), biases.at(1), params.first.outputs);
  params.dilation = dilation;
  return params;
}

}  // namespace

void define_winograd(py::module_& m) {
  m.def("winograd_head_tiles", [](const py::array& features, const Arrays& weights,
                                  const Arrays& biases, const py::array& votes, int64_t dilation) {
    return winograd_head_tiles(winograd_params(features, weights, biases, votes, dilation));
  });
  m.def("winograd_head", [](const py::array& features, const Arrays& weights, const Arrays& biases,
                            const py::array& votes, int64_t dilation, int64_t begin, int64_t end) {
    winograd_head(winograd_params(features, weights, biases, votes, dilation), begin, end);
  });
}

}  // namespace dvfast::test
