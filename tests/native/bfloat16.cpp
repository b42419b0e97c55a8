// Trunk and head in bfloat16, where the CPU has the unit for it. Halves travel as uint16.
#include "../../csrc/cpu/bfloat16_network.h"
#include "maps.h"

namespace dvfast::test {
namespace {

Bfloat16Layer bfloat16_layer(const py::array& weight, const py::array& bias) {
  return {Array<const bfloat16>::of(weight).data(), Array<const float>::of(bias).data(),
          bias.shape(0)};
}

Bfloat16HeadParams head_params(const py::array& features, const Arrays& weights,
                               const Arrays& biases, const py::array& votes, int64_t kernel_size,
                               int64_t dilation, int64_t stride) {
  Bfloat16HeadParams params{};
  params.features = features_view<const bfloat16>(features);
  params.votes = votes_view<float>(votes);
  params.first = bfloat16_layer(weights.at(0), biases.at(0));
  params.last = packed_layer(weights.at(1), biases.at(1), params.first.outputs);
  params.kernel_size = kernel_size;
  params.dilation = dilation;
  params.stride = stride;
  return params;
}

}  // namespace

void define_bfloat16(py::module_& m) {
  m.def("has_matrix_unit", &has_matrix_unit);
  m.def("bfloat16_trunk_layer",
        [](const py::array& input, const py::array& weight, const py::array& bias,
           const py::array& output, int64_t kernel_size, int64_t dilation, int64_t pool_stride,
           int64_t pool_dilation, int64_t begin, int64_t end) {
          Bfloat16TrunkParams params{};
          params.input = features_view<const bfloat16>(input);
          params.output = features_view<bfloat16>(output);
          params.layer = bfloat16_layer(weight, bias);
          params.kernel_size = kernel_size;
          params.dilation = dilation;
          params.pool_stride = pool_stride;
          params.pool_dilation = pool_dilation;
          bfloat16_trunk_layer(params, begin, end);
        });
  m.def("bfloat16_head_groups",
        [](const py::array& features, const Arrays& weights, const Arrays& biases,
           const py::array& votes, int64_t kernel_size, int64_t dilation, int64_t stride) {
          return bfloat16_head_groups(
              head_params(features, weights, biases, votes, kernel_size, dilation, stride));
        });
  m.def("bfloat16_head", [](const py::array& features, const Arrays& weights, const Arrays& biases,
                            const py::array& votes, int64_t kernel_size, int64_t dilation,
                            int64_t stride, int64_t begin, int64_t end) {
    bfloat16_head(head_params(features, weights, biases, votes, kernel_size, dilation, stride),
                  begin, end);
  });
}

}  // namespace dvfast::test
