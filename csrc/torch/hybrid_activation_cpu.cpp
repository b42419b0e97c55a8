#include <torch/csrc/stable/library.h>

#include "../cpu/hybrid_activation.h"
#include "../cpu/patches.h"
#include "tensors.h"

namespace dvfast {
namespace {

constexpr int64_t kBlocksPerThread = 8;

template <typename T>
void run(void (*kernel)(const T&, int64_t, int64_t), const T& params, int64_t patches) {
  torch::stable::parallel_for(0, num_blocks(patches), kBlocksPerThread,
                              [&](int64_t begin, int64_t end) { kernel(params, begin, end); });
}

Tensor forward(const Tensor& logits) {
  Tensor votes = torch::stable::empty_like(logits);
  with_floating_type(logits, "logits", [&](auto type) {
    using T = decltype(type);
    HybridActivationParams<T> params{patches_view<const T>(logits, "logits"),
                                     patches_view<T>(votes, "votes")};
    merge_axes(params.input, params.output);
    run(hybrid_activation<T>, params, num_patches(params.input));
  });
  return votes;
}

Tensor backward(const Tensor& grad_output, const Tensor& output) {
  check_same_shape(grad_output, "grad_output", output, "output");
  check_dtype(grad_output, "grad_output", {output.scalar_type()});
  check_cpu(grad_output, "grad_output");
  Tensor grad_input = torch::stable::empty_like(output);
  with_floating_type(output, "output", [&](auto type) {
    using T = decltype(type);
    HybridBackwardParams<T> params{patches_view<const T>(grad_output, "grad_output"),
                                   patches_view<const T>(output, "output"),
                                   patches_view<T>(grad_input, "grad_input")};
    merge_axes(params.grad_output, params.output, params.grad_input);
    run(hybrid_activation_backward<T>, params, num_patches(params.output));
  });
  return grad_input;
}

Tensor double_backward(const Tensor& grad_grad_input, const Tensor& grad_output,
                       const Tensor& output) {
  for (const auto& [tensor, name] :
       {std::pair{&grad_grad_input, "grad_grad_input"}, std::pair{&grad_output, "grad_output"}}) {
    check_same_shape(*tensor, name, output, "output");
    check_dtype(*tensor, name, {output.scalar_type()});
    check_cpu(*tensor, name);
  }
  Tensor grad = torch::stable::empty_like(output);
  with_floating_type(output, "output", [&](auto type) {
    using T = decltype(type);
    HybridDoubleBackwardParams<T> params{patches_view<const T>(grad_grad_input, "grad_grad_input"),
                                         patches_view<const T>(grad_output, "grad_output"),
                                         patches_view<const T>(output, "output"),
                                         patches_view<T>(grad, "grad")};
    merge_axes(params.grad_grad_input, params.grad_output, params.output, params.grad);
    run(hybrid_activation_double_backward<T>, params, num_patches(params.output));
  });
  return grad;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(dvfast, CPU, m) {
  m.impl("hybrid_activation", TORCH_BOX(&forward));
  m.impl("hybrid_activation_backward", TORCH_BOX(&backward));
  m.impl("hybrid_activation_double_backward", TORCH_BOX(&double_backward));
}

}  // namespace dvfast
