// Eq. 2 and its derivatives: checks and allocation, for any device. Device is a class whose
// operator() runs the kernel that a struct of parameters is for.
#pragma once

#include "../core/params.h"
#include "tensors.h"

namespace dvfast::ops {

template <typename Device>
Tensor hybrid_activation_forward(const Tensor& logits) {
  Tensor votes = allocate_like(logits);
  with_floating_type(logits, "logits", [&](auto type) {
    using T = decltype(type);
    HybridActivationParams<T> params{patches_view<const T>(logits, "logits"),
                                     patches_view<T>(votes, "votes")};
    merge_axes(params.input, params.output);
    Device{logits}(params);
  });
  return votes;
}

template <typename Device>
Tensor hybrid_activation_backward(const Tensor& grad_output, const Tensor& output) {
  check_same_shape(grad_output, "grad_output", output, "output");
  check_dtype(grad_output, "grad_output", {output.scalar_type()});
  check_same_device(grad_output, "grad_output", output, "output");
  Tensor grad_input = allocate_like(output);
  with_floating_type(output, "output", [&](auto type) {
    using T = decltype(type);
    HybridBackwardParams<T> params{patches_view<const T>(grad_output, "grad_output"),
                                   patches_view<const T>(output, "output"),
                                   patches_view<T>(grad_input, "grad_input")};
    merge_axes(params.grad_output, params.output, params.grad_input);
    Device{output}(params);
  });
  return grad_input;
}

template <typename Device>
Tensor hybrid_activation_double_backward(const Tensor& grad_grad_input, const Tensor& grad_output,
                                         const Tensor& output) {
  for (const auto& [tensor, name] :
       {std::pair{&grad_grad_input, "grad_grad_input"}, std::pair{&grad_output, "grad_output"}}) {
    check_same_shape(*tensor, name, output, "output");
    check_dtype(*tensor, name, {output.scalar_type()});
    check_same_device(*tensor, name, output, "output");
  }
  Tensor grad = allocate_like(output);
  with_floating_type(output, "output", [&](auto type) {
    using T = decltype(type);
    HybridDoubleBackwardParams<T> params{patches_view<const T>(grad_grad_input, "grad_grad_input"),
                                         patches_view<const T>(grad_output, "grad_output"),
                                         patches_view<const T>(output, "output"),
                                         patches_view<T>(grad, "grad")};
    merge_axes(params.grad_grad_input, params.grad_output, params.output, params.grad);
    Device{output}(params);
  });
  return grad;
}

}  // namespace dvfast::ops
