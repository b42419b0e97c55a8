// A layer of the trunk: checks and allocation, for any device. Device{features}(params) runs the
// kernel.
#pragma once

#include "network.h"

namespace dvfast::ops {

// What is left of a height or width.
inline int64_t trunk_length(int64_t size, int64_t kernel_size, int64_t dilation,
                            int64_t pool_stride, int64_t pool_dilation) {
  DVFAST_CHECK(kernel_size >= 1 && dilation >= 1 && pool_stride >= 0 && pool_dilation >= 1,
               "kernel_size, dilation and pool_dilation must be at least 1 and pool_stride at "
               "least 0, got ",
               kernel_size, ", ", dilation, ", ", pool_dilation, " and ", pool_stride);
  const int64_t convolved = num_windows(size, reach(kernel_size, dilation), 1);
  return pool_stride ? num_windows(convolved, reach(2, pool_dilation), pool_stride) : convolved;
}

// A pooling keeps so many rows of the convolution for those that come later.
inline void check_kept_rows(int64_t width, int64_t outputs, int64_t pool_stride,
                            int64_t pool_dilation, const Tensor& features) {
  if (pool_stride == 0) return;
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max() / 16;
  DVFAST_CHECK(width <= kMaxGeometry && outputs <= kMaxGeometry &&
                   (width == 0 || pool_dilation + 1 <= kMost / (width * outputs)),
               "pool_dilation must not ask for more rows than memory can hold, got ", pool_dilation,
               " for features of ", describe(features));
}

template <typename Device>
Tensor trunk_layer(const Tensor& features, const Tensor& weight, const Tensor& bias,
                   int64_t kernel_size, int64_t dilation, int64_t pool_stride,
                   int64_t pool_dilation) {
  TrunkLayerParams params{};
  params.input = features_view<const float>(features, "features");
  const int64_t height =
      trunk_length(params.input.height, kernel_size, dilation, pool_stride, pool_dilation);
  const int64_t width =
      trunk_length(params.input.width, kernel_size, dilation, pool_stride, pool_dilation);
  params.layer = packed_layer(weight, bias, kernel_size * kernel_size, params.input.channels,
                              "weight", features);
  check_kept_rows(params.input.width, params.layer.outputs, pool_stride, pool_dilation, features);
  params.kernel_size = kernel_size;
  params.dilation = dilation;
  params.pool_stride = pool_stride;
  params.pool_dilation = pool_dilation;
  Tensor output = allocate(features, {params.input.batch, height, width, params.layer.outputs});
  params.output = features_view<float>(output, "output");
  if (output.numel() > 0) Device{features}(params);
  return output;
}

}  // namespace dvfast::ops
