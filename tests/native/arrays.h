// NumPy arrays as the views that the kernels take: their own memory and strides, nothing copied.
// Halves travel as uint16.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <tuple>
#include <type_traits>

#include "../../csrc/core/half.h"
#include "../../csrc/core/landing.h"
#include "../../csrc/core/views.h"

namespace dvfast::test {

namespace py = pybind11;

template <typename T>
using Storage = std::conditional_t<sizeof(T) == 2, uint16_t, T>;

// Of exactly this dtype: pybind11 would otherwise convert, into a copy.
template <typename T>
struct Array {
  py::array array;

  static Array of(const py::array& array) {
    if (!py::isinstance<py::array_t<Storage<std::remove_const_t<T>>>>(array)) {
      throw py::type_error("an array of another dtype was expected");
    }
    return {array};
  }
  T* data() const {
    if constexpr (std::is_const_v<T>)
      return static_cast<T*>(array.data());
    else
      return static_cast<T*>(const_cast<py::array&>(array).mutable_data());
  }
  int64_t stride(int axis) const { return array.strides(axis) / int64_t(sizeof(T)); }
};

template <typename T>
T* data_or_null(const std::optional<py::array>& array) {
  return array ? Array<T>::of(*array).data() : nullptr;
}

// [B, 3k, h, w]
template <typename T>
VotesView<T> votes_view(const py::array& array) {
  const auto votes = Array<T>::of(array);
  if (array.ndim() != 4 || array.shape(1) % 3) throw py::value_error("[B, 3k, h, w] was expected");
  return {votes.data(),    array.shape(0),  array.shape(1) / 3, array.shape(2), array.shape(3),
          votes.stride(0), votes.stride(1), votes.stride(2),    votes.stride(3)};
}

// [B, H, W]
template <typename T>
MapView<T> map_view(const py::array& array) {
  const auto map = Array<T>::of(array);
  if (array.ndim() != 3) throw py::value_error("[B, H, W] was expected");
  return {map.data(),    array.shape(0), array.shape(1), array.shape(2),
          map.stride(0), map.stride(1),  map.stride(2)};
}

// (stride, base, fraction)
using AxisTuple = std::tuple<int64_t, int64_t, double>;

template <typename T>
GridAxis<T> grid_axis(const AxisTuple& axis) {
  return {std::get<0>(axis), std::get<1>(axis), static_cast<T>(std::get<2>(axis))};
}

void define_votes(py::module_& m);
void define_network(py::module_& m);
void define_winograd(py::module_& m);
void define_winograd_convolution(py::module_& m);
void define_winograd_unet(py::module_& m);
void define_bfloat16(py::module_& m);
void define_ordered_work(py::module_& m);

}  // namespace dvfast::test
