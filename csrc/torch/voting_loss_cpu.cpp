#include <torch/csrc/stable/library.h>

#include <tuple>
#include <vector>

#include "../cpu/patches.h"
#include "../cpu/voting_loss.h"
#include "tensors.h"

namespace dvfast {
namespace {

constexpr int64_t kBlocksPerThread = 4;

template <typename T, typename Target>
double sweep(const Tensor& logits, const Tensor& target, double lambda, Tensor* patch_loss,
             Tensor* gradient) {
  VotingLossParams<T, Target> params{};
  params.logits = patches_view<const T>(logits, "logits");
  params.target = patches_view<const Target>(target, "target");
  params.lambda = lambda;
  if (gradient != nullptr) {
    params.gradient = patches_view<T>(*gradient, "gradient");
    merge_axes(params.logits, params.target, params.gradient);
  } else {
    merge_axes(params.logits, params.target);
  }
  if (patch_loss != nullptr) {
    params.patch_loss = static_cast<compute_t<T>*>(patch_loss->data_ptr());
  }
  const int64_t blocks = num_blocks(num_patches(params.logits));
  std::vector<double> block_loss(static_cast<size_t>(blocks));
  params.block_loss = block_loss.data();
  torch::stable::parallel_for(0, blocks, kBlocksPerThread, [&](int64_t begin, int64_t end) {
    voting_loss<T, Target>(params, begin, end);
  });
  return sum_of_blocks(block_loss.data(), blocks);
}

// The loss is a sum over patches, [], or each patch's own, [N] or [B, H, W]; in float32 for halves.
// The gradient is that of each patch's own loss; empty where it is not wanted.
std::tuple<Tensor, Tensor> forward(const Tensor& logits, const Tensor& target, double lambda,
                                   bool per_patch, bool with_gradient) {
  check_same_shape(target, "target", logits, "logits");
  check_cpu(target, "target");
  STD_TORCH_CHECK(
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
  Tensor loss = torch::stable::new_empty(logits, patch_shape, compute);
  Tensor gradient =
      with_gradient ? torch::stable::empty_like(logits) : torch::stable::new_empty(logits, {0});
  Tensor* patch_loss = per_patch ? &loss : nullptr;
  Tensor* slope = with_gradient ? &gradient : nullptr;

  const double total = with_floating_type(logits, "logits", [&](auto type) {
    using T = decltype(type);
    if (target.scalar_type() == logits.scalar_type()) {
      return sweep<T, T>(logits, target, lambda, patch_loss, slope);
    }
    if constexpr (sizeof(T) == 2) {
      return sweep<T, float>(logits, target, lambda, patch_loss, slope);
    }
    return 0.0;
  });
  if (!per_patch) {
    if (compute == ScalarType::Double) {
      *static_cast<double*>(loss.data_ptr()) = total;
    } else {
      *static_cast<float*>(loss.data_ptr()) = static_cast<float>(total);
    }
  }
  return {loss, gradient};
}

Tensor backward(const Tensor& grad_output, const Tensor& gradient) {
  check_cpu(grad_output, "grad_output");
  Tensor grad_input = torch::stable::empty_like(gradient);
  with_floating_type(gradient, "gradient", [&](auto type) {
    using T = decltype(type);
    VotingLossBackwardParams<T> params{};
    params.gradient = patches_view<const T>(gradient, "gradient");
    params.grad_input = patches_view<T>(grad_input, "grad_input");
    check_dtype(grad_output, "grad_output",
                {sizeof(compute_t<T>) == 8 ? ScalarType::Double : ScalarType::Float});
    auto& upstream = params.grad_output;
    upstream = {static_cast<const compute_t<T>*>(grad_output.data_ptr()),
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
      STD_TORCH_CHECK(fits, "grad_output must have one value, or one per patch of ",
                      describe(gradient), ", got ", describe(grad_output));
      upstream.batch_stride = grad_output.stride(0);
      if (gradient.dim() >= 3) upstream.x_stride = grad_output.stride(grad_output.dim() - 1);
      if (gradient.dim() == 4) upstream.y_stride = grad_output.stride(1);
    }
    merge_axes(params.gradient, params.grad_input, upstream);
    torch::stable::parallel_for(
        0, num_blocks(num_patches(params.gradient)), kBlocksPerThread,
        [&](int64_t begin, int64_t end) { voting_loss_backward<T>(params, begin, end); });
  });
  return grad_input;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(dvfast, CPU, m) {
  m.impl("voting_loss", TORCH_BOX(&forward));
  m.impl("voting_loss_backward", TORCH_BOX(&backward));
}

}  // namespace dvfast
