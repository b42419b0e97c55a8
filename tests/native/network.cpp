// The kernels of the network. Maps are [B, h, w, C], layers come packed.
#include "../../csrc/cpu/trunk_layer.h"
#include "../../csrc/cpu/vote_head.h"
#include "maps.h"

namespace dvfast::test {
namespace {

VoteHeadParams head_params(const py::array& features, const Arrays& weights, const Arrays& biases,
                           const py::array& votes, int64_t kernel_size, int64_t dilation,
                           int64_t stride) {
  VoteHeadParams params{};
  params.features = features_view<const float>(features);
  params.votes = votes_view<float>(votes);
  params.num_layers = static_cast<int64_t>(weights.size());
  if (params.num_layers > kMaxHeadLayers) throw py::value_error("too many layers");
  int64_t inputs = features.shape(3);
  for (size_t i = 0; i < weights.size(); ++i) {
    params.layers[i] = packed_layer(weights[i], biases.at(i), inputs);
    inputs = params.layers[i].outputs;
  }
  params.kernel_size = kernel_size;
  params.dilation = dilation;
  params.stride = stride;
  return params;
}

}  // namespace

void define_network(py::module_& m) {
  m.def("trunk_layer", [](const py::array& input, const py::array& weight, const py::array& bias,
                          const py::array& output, int64_t kernel_size, int64_t dilation,
                          int64_t pool_stride, int64_t pool_dilation, int64_t begin, int64_t end) {
    TrunkLayerParams params{};
    params.input = features_view<const float>(input);
    params.output = features_view<float>(output);
    params.layer = packed_layer(weight, bias, input.shape(3));
    params.kernel_size = kernel_size;
    params.dilation = dilation;
    params.pool_stride = pool_stride;
    params.pool_dilation = pool_dilation;
    trunk_layer(params, begin, end);
  });
  m.def("vote_head_runs",
        [](const py::array& features, const Arrays& weights, const Arrays& biases,
           const py::array& votes, int64_t kernel_size, int64_t dilation, int64_t stride) {
          return vote_head_runs(
              head_params(features, weights, biases, votes, kernel_size, dilation, stride));
        });
  m.def("vote_head", [](const py::array& features, const Arrays& weights, const Arrays& biases,
                        const py::array& votes, int64_t kernel_size, int64_t dilation,
                        int64_t stride, int64_t begin, int64_t end) {
    vote_head(head_params(features, weights, biases, votes, kernel_size, dilation, stride), begin,
              end);
  });
  // All runs of it.
  m.def("vote_head",
        [](const py::array& features, const Arrays& weights, const Arrays& biases,
           const py::array& votes, int64_t kernel_size, int64_t dilation, int64_t stride) {
          const VoteHeadParams params =
              head_params(features, weights, biases, votes, kernel_size, dilation, stride);
          vote_head(params, 0, vote_head_runs(params));
        });
}

}  // namespace dvfast::test
