// Maps and packed layers of the network, with the checks that trunk and head share.
#pragma once

#include "../core/network.h"
#include "tensors.h"

namespace dvfast {

template <typename T>
FeaturesView<T> features_view(const Tensor& tensor, const char* name,
                              ScalarType dtype = ScalarType::Float) {
  check_dtype(tensor, name, {dtype});
  DVFAST_CHECK(
      tensor.dim() == 4 && tensor.size(3) > 0 && (tensor.stride(3) == 1 || tensor.size(3) == 1),
      name, " must be [B, h, w, C] with the channels of a pixel side by side, got ",
      describe(tensor));
  return {static_cast<T*>(tensor.data_ptr()),
          tensor.size(0),
          tensor.size(1),
          tensor.size(2),
          tensor.size(3),
          tensor.stride(0),
          tensor.stride(1),
          tensor.stride(2)};
}

// A bias has one number per output, filled up to whole blocks.
inline void check_bias(const Tensor& bias, const char* name, const Tensor& features) {
  check_dtype(bias, name, {ScalarType::Float});
  check_same_device(bias, name, features, "features");
  DVFAST_CHECK(bias.dim() == 1 && bias.is_contiguous(), name,
               " must be contiguous with one dimension, got ", describe(bias));
}

// No map is as wide, and no product of two of them overflows.
constexpr int64_t kMaxGeometry = int64_t{1} << 30;

inline void check_panels(const Tensor& weight, const char* name, int64_t panels, int64_t taps,
                         int64_t inputs) {
  DVFAST_CHECK(taps <= kMaxGeometry && inputs <= kMaxGeometry, name, " must be of at most ",
               kMaxGeometry, " taps and as many input channels, got ", taps, " and ", inputs);
  DVFAST_CHECK(weight.dim() == 3 && weight.is_contiguous() && weight.size(0) == panels &&
                   weight.size(1) == taps * inputs && weight.size(2) == kPanelWidth,
               name, " must be packed as a contiguous [", panels, ", ", taps * inputs, ", ",
               kPanelWidth, "], got ", describe(weight));
}

// A layer of panels [panel, tap * input channel, kPanelWidth].
inline PackedLayer packed_layer(const Tensor& weight, const Tensor& bias, int64_t taps,
                                int64_t inputs, const char* name, const Tensor& features) {
  check_dtype(weight, name, {ScalarType::Float});
  check_same_device(weight, name, features, "features");
  check_bias(bias, "bias", features);
  const int64_t outputs = bias.size(0);
  DVFAST_CHECK(outputs > 0 && outputs % kChannelBlock == 0,
               "bias must be filled up to a multiple of ", kChannelBlock, ", got ", describe(bias));
  const int64_t panels = filled_up(outputs, kPanelWidth) / kPanelWidth;
  check_panels(weight, name, panels, taps, inputs);
  return {static_cast<const float*>(weight.data_ptr()), static_cast<const float*>(bias.data_ptr()),
          inputs, outputs};
}

// How many places a window reaches, and how many of them a row of `size` has.
inline int64_t reach(int64_t kernel_size, int64_t dilation) {
  DVFAST_CHECK(
      kernel_size >= 1 && kernel_size <= kMaxGeometry && dilation >= 1 && dilation <= kMaxGeometry,
      "kernel_size and dilation must be between 1 and ", kMaxGeometry, ", got ", kernel_size,
      " and ", dilation);
  return (kernel_size - 1) * dilation + 1;
}
inline int64_t num_windows(int64_t size, int64_t window, int64_t stride) {
  return size < window ? 0 : (size - window) / stride + 1;
}

}  // namespace dvfast
