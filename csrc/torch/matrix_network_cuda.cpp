// Trunk and head by matrix instructions: checks, allocation and launch. There is no other device
// that has them in this form; cpu/bfloat16_network.h is the CPU's.
#include <torch/csrc/stable/library.h>

#include "../cuda/trunk_layer_tensor_cores.h"
#include "../cuda/vote_head_tensor_cores.h"
#include "../cuda/vote_head_warpgroups.h"
#include "cuda.h"
#include "trunk_layer.h"
#include "vote_head.h"

namespace dvfast {
namespace {

constexpr const char* kNeeds =
    ": needs compute capability 8.0, of the device and of what dvfast was built for, whole "
    "multiples of 16 channels, and at most five votes";

MatrixPrecision matrix_precision(int64_t precision) {
  DVFAST_CHECK(precision >= 0 && precision <= 2,
               "precision must be 0 (bfloat16), 1 (tf32) or 2 (float32), got ", precision);
  return static_cast<MatrixPrecision>(precision);
}

// Of packed weights: outputs and bytes of the depth, of which there are whole multiples.
struct Packing {
  int64_t outputs, bytes;
};
constexpr Packing kForWarps{kPanelWidth, 64};  // csrc/cuda/matrix_precision.h

PackedLayer matrix_layer(const Tensor& weight, const Tensor& bias, int64_t taps, int64_t inputs,
                         MatrixPrecision precision, const Tensor& features,
                         const Packing& packing = kForWarps) {
  check_dtype(weight, "weight", {ScalarType::Float});
  check_same_device(weight, "weight", features, "features");
  check_bias(bias, "bias", features);
  const int64_t outputs = bias.size(0);
  DVFAST_CHECK(outputs > 0 && outputs % kChannelBlock == 0,
               "bias must be filled up to a multiple of ", kChannelBlock, ", got ", describe(bias));
  const int64_t bytes = taps * inputs * (precision == MatrixPrecision::kBfloat16 ? 2 : 4);
  const int64_t parts = precision == MatrixPrecision::kFloat32 ? 2 : 1;
  const int64_t words =
      parts * filled_up(outputs, packing.outputs) * filled_up(bytes, packing.bytes) / 4;
  DVFAST_CHECK(weight.is_contiguous() && weight.numel() == words,
               "weight must be packed for tensor cores in ", words, " contiguous words, got ",
               describe(weight));
  return {static_cast<const float*>(weight.data_ptr()), static_cast<const float*>(bias.data_ptr()),
          inputs, outputs};
}

PackedLayer last_matrix(const Tensor& weight, const Tensor& bias, int64_t num_votes, int64_t inputs,
                        const Tensor& features) {
  check_dtype(weight, "last_weight", {ScalarType::Float});
  check_same_device(weight, "last_weight", features, "features");
  check_bias(bias, "last_bias", features);
  const int64_t outputs = kChannelsPerVote * num_votes;
  const int64_t words = filled_up(inputs, kPanelWidth) * filled_up(outputs, 8);
  DVFAST_CHECK(weight.is_contiguous() && weight.numel() == words && bias.size(0) == outputs,
               "last_weight must be packed for tensor cores in ", words,
               " contiguous numbers, with ", outputs, " in last_bias, got ", describe(weight),
               " and ", describe(bias));
  return {static_cast<const float*>(weight.data_ptr()), static_cast<const float*>(bias.data_ptr()),
          inputs, outputs};
}

// A view of bfloat16 maps as if they were float32: where there are sizes and strides to be known,
// but no numbers to be read.
FeaturesView<const float> without_data(const FeaturesView<const bfloat16>& view) {
  return {nullptr,       view.batch,        view.height,   view.width,
          view.channels, view.batch_stride, view.y_stride, view.x_stride};
}

Tensor matrix_trunk_layer(const Tensor& features, const Tensor& weight, const Tensor& bias,
                          int64_t kernel_size, int64_t dilation, int64_t pool_stride,
                          int64_t pool_dilation, int64_t precision) {
  MatrixTrunkParams params{};
  params.precision = matrix_precision(precision);
  const bool half = params.precision == MatrixPrecision::kBfloat16;
  if (half) {
    params.rounded_input =
        features_view<const bfloat16>(features, "features", ScalarType::BFloat16);
    params.trunk.input = without_data(params.rounded_input);
  } else {
    params.trunk.input = features_view<const float>(features, "features");
  }
  const auto length = [&](int64_t size) {
    return ops::trunk_length(size, kernel_size, dilation, pool_stride, pool_dilation);
  };
  const int64_t height = length(params.trunk.input.height);
  const int64_t width = length(params.trunk.input.width);
  params.trunk.layer = matrix_layer(weight, bias, kernel_size * kernel_size,
                                    params.trunk.input.channels, params.precision, features);
  params.trunk.kernel_size = kernel_size;
  params.trunk.dilation = dilation;
  params.trunk.pool_stride = pool_stride;
  params.trunk.pool_dilation = pool_dilation;
  Tensor output =
      allocate(features, {params.trunk.input.batch, height, width, params.trunk.layer.outputs});
  if (half) {
    params.rounded_output = features_view<bfloat16>(output, "output", ScalarType::BFloat16);
    const auto& view = params.rounded_output;
    params.trunk.output = {nullptr,       view.batch,        view.height,   view.width,
                           view.channels, view.batch_stride, view.y_stride, view.x_stride};
  } else {
    params.trunk.output = features_view<float>(output, "output");
  }
  if (output.numel() == 0) return output;
  const CudaScope scope(features);
  DVFAST_CHECK(has_matrix_trunk_layer(params), "matrix_trunk_layer", kNeeds);
  CudaScope::check(launch_matrix_trunk_layer(params, scope.stream()), "matrix_trunk_layer");
  return output;
}

using Has = bool (*)(const MatrixHeadParams&);
using Launch = cudaError_t (*)(const MatrixHeadParams&, cudaStream_t);

Tensor cast_votes(const char* name, const char* needs, Has has, Launch launch,
                  const Packing& packing, const Tensor& features, const Tensor& weight,
                  const Tensor& bias, const Tensor& last_weight, const Tensor& last_bias,
                  int64_t num_votes, int64_t kernel_size, int64_t dilation, int64_t stride,
                  int64_t precision) {
  MatrixHeadParams params{};
  params.precision = matrix_precision(precision);
  if (params.precision == MatrixPrecision::kBfloat16) {
    params.rounded = features_view<const bfloat16>(features, "features", ScalarType::BFloat16);
    params.head.features = without_data(params.rounded);
  } else {
    params.head.features = features_view<const float>(features, "features");
  }
  Tensor votes = ops::empty_votes(features, num_votes, kernel_size, dilation, stride);
  params.head.votes = votes_view<float>(votes, "votes");
  params.head.num_layers = 2;
  params.head.layers[0] =
      matrix_layer(weight, bias, kernel_size * kernel_size, params.head.features.channels,
                   params.precision, features, packing);
  params.head.layers[1] =
      last_matrix(last_weight, last_bias, num_votes, params.head.layers[0].outputs, features);
  params.head.kernel_size = kernel_size;
  params.head.dilation = dilation;
  params.head.stride = stride;
  if (votes.numel() == 0) return votes;
  const CudaScope scope(features);
  DVFAST_CHECK(has(params), name, needs);
  CudaScope::check(launch(params, scope.stream()), name);
  return votes;
}

Tensor matrix_vote_head(const Tensor& features, const Tensor& weight, const Tensor& bias,
                        const Tensor& last_weight, const Tensor& last_bias, int64_t num_votes,
                        int64_t kernel_size, int64_t dilation, int64_t stride, int64_t precision) {
  return cast_votes("matrix_vote_head", kNeeds, has_matrix_vote_head, launch_matrix_vote_head,
                    kForWarps, features, weight, bias, last_weight, last_bias, num_votes,
                    kernel_size, dilation, stride, precision);
}

Tensor warpgroup_vote_head(const Tensor& features, const Tensor& weight, const Tensor& bias,
                           const Tensor& last_weight, const Tensor& last_bias, int64_t num_votes,
                           int64_t kernel_size, int64_t dilation, int64_t precision) {
  // csrc/cuda/vote_head_warpgroups.h
  const Packing packing{kWarpgroupUnits, 32 * steps_of_chunk(matrix_precision(precision))};
  return cast_votes(
      "warpgroup_vote_head",
      ": needs compute capability 9.0, of the device and of what dvfast was built for, whole "
      "multiples of 16 channels, as many as shared memory holds, and at most five votes",
      has_warpgroup_vote_head, launch_warpgroup_vote_head, packing, features, weight, bias,
      last_weight, last_bias, num_votes, kernel_size, dilation, 1, precision);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(dvfast, CUDA, m) {
  m.impl("matrix_trunk_layer", TORCH_BOX(&matrix_trunk_layer));
  m.impl("matrix_vote_head", TORCH_BOX(&matrix_vote_head));
  m.impl("warpgroup_vote_head", TORCH_BOX(&warpgroup_vote_head));
}

}  // namespace dvfast
