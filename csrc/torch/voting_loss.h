// Eq. 3, 4 and 5: checks and allocation, for any device. Device{tensor}(params, total) runs the
// sweep and writes the sum over patches to `total`, unless that is null; Device{tensor}(params)
// scales the gradient.
#pragma once

#include <tuple>
#include <vector>

#include "../core/params.h"
#include "../core/reduction.h"
#include "tensors.h"

namespace dvfast::ops {

template <typename Device, typename T, typename Target>
void sweep_voting_loss(const Tensor& logits, const Tensor& target, double lambda, Tensor* loss,
                       bool per_patch, Tensor* gradient) {
  VotingLossParams<T, Target> params{};
  params.logits = patches_view<const T>(logits, "logits");
  params.target = patches_view<const Target>(target, "target");
  params.lambda = lambda;
  if (gradient != nullptr) {
    params.gradient = patches_view<compute_t<T>>(*gradient, "gradient");
    merge_axes(params.logits, params.target, params.gradient);
  } else {
    merge_axes(params.logits, params.target);
  }
  if (per_patch) params.patch_loss = static_cast<compute_t<T>*>(loss->data_ptr());
  const auto& view = params.logits;
  const int64_t blocks = num_blocks(view.batch * view.height * view.width);
  Tensor block_loss = allocate(logits, {blocks}, ScalarType::Double);
  params.block_loss = static_cast<double*>(block_loss.data_ptr());
  Device{logits}(params, per_patch ? nullptr : static_cast<compute_t<T>*>(loss->data_ptr()));
}

// The loss is a sum over patches, [], or each patch's own, [N] or [B, H, W]; in float32 for halves.
// The gradient is that of each patch's own loss, in the dtype of the loss; empty where it is not
// wanted.
template <typename Device>
std::tuple<Tensor, Tensor> voting_loss_forward(const Tensor& logits, const Tensor& target,
                                               double lambda, bool per_patch, bool with_gradient) {
  check_same_shape(target, "target", logits, "logits");
  check_same_device(target, "target", logits, "logits");
  DVFAST_CHECK(
      target.scalar_type() == logits.scalar_type() ||
          (target.scalar_type() == ScalarType::Float && logits.scalar_type() != ScalarType::Double),
      "target must have the dtype of logits, or be float32 beside half-precision "
      "logits: got ",
      describe(target), " for ", describe(logits));
  const ScalarType compute =
      logits.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  std::vector<int64_t> patch_shape;
  for (int64_t i = 0; per_patch && i < logits.dim(); ++i) {
    if (i != 1) patch_shape.push_back(logits.size(i));
  }
  Tensor loss = allocate(logits, patch_shape, compute);
  Tensor gradient = with_gradient ? allocate_like(logits, compute) : allocate(logits, {0}, compute);
  Tensor* slope = with_gradient ? &gradient : nullptr;
  with_floating_type(logits, "logits", [&](auto type) {
    using T = decltype(type);
    if (target.scalar_type() == logits.scalar_type()) {
      sweep_voting_loss<Device, T, T>(logits, target, lambda, &loss, per_patch, slope);
    } else if constexpr (sizeof(T) == 2) {
      sweep_voting_loss<Device, T, float>(logits, target, lambda, &loss, per_patch, slope);
    }
  });
  return {loss, gradient};
}

// grad_output is one number, or one per patch.
template <typename Device>
Tensor voting_loss_backward(const Tensor& grad_output, const Tensor& gradient) {
  check_same_device(grad_output, "grad_output", gradient, "gradient");
  Tensor grad_input = allocate_like(gradient);
  with_real_type(gradient, "gradient", [&](auto type) {
    using T = decltype(type);
    VotingLossBackwardParams<T> params{};
    params.gradient = patches_view<const T>(gradient, "gradient");
    params.grad_input = patches_view<T>(grad_input, "grad_input");
    check_dtype(grad_output, "grad_output", {gradient.scalar_type()});
    auto& upstream = params.grad_output;
    upstream = {static_cast<const T*>(grad_output.data_ptr()),
                params.gradient.batch,
                params.gradient.height,
                params.gradient.width,
                0,
                0,
                0};
    if (grad_output.dim() > 0) {
      bool fits = grad_output.dim() == gradient.dim() - 1;
      for (int64_t i = 0; fits && i < grad_output.dim(); ++i) {
        fits = grad_output.size(i) == gradient.size(i == 0 ? 0 : i + 1);
      }
      DVFAST_CHECK(fits, "grad_output must have one value, or one per patch of ",
                   describe(gradient), ", got ", describe(grad_output));
      upstream.batch_stride = grad_output.stride(0);
      if (gradient.dim() >= 3) upstream.x_stride = grad_output.stride(grad_output.dim() - 1);
      if (gradient.dim() == 4) upstream.y_stride = grad_output.stride(1);
    }
    merge_axes(params.gradient, params.grad_input, upstream);
    Device{gradient}(params);
  });
  return grad_input;
}

}  // namespace dvfast::ops
