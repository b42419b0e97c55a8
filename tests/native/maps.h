// Maps and layers of the network as the views that the kernels take.
#pragma once

#include <vector>

#include "../../csrc/core/network.h"
#include "arrays.h"

namespace dvfast::test {

using Arrays = std::vector<py::array>;

template <typename T>
FeaturesView<T> features_view(const py::array& array) {
  const auto map = Array<T>::of(array);
  if (array.ndim() != 4 || (array.size() > 0 && array.shape(3) > 1 && map.stride(3) != 1)) {
    throw py::value_error("[B, h, w, C] with the channels side by side was expected");
  }
  return {map.data(),     array.shape(0), array.shape(1), array.shape(2),
          array.shape(3), map.stride(0),  map.stride(1),  map.stride(2)};
}

// weight [panels, depth, kPanelWidth], or [3k, inputs] of the last layer
inline PackedLayer packed_layer(const py::array& weight, const py::array& bias, int64_t inputs) {
  return {Array<const float>::of(weight).data(), Array<const float>::of(bias).data(), inputs,
          bias.shape(0)};
}

}  // namespace dvfast::test
