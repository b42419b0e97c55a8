#include <torch/csrc/stable/library.h>

#include "../cuda/hybrid_activation.h"
#include "cuda.h"
#include "hybrid_activation.h"

namespace dvfast {
namespace {

struct Cuda : CudaScope {
  using CudaScope::CudaScope;

  template <typename T>
  void operator()(const HybridActivationParams<T>& params) const {
    check(launch_hybrid_activation(params, stream()), "hybrid_activation");
  }
  template <typename T>
  void operator()(const HybridBackwardParams<T>& params) const {
    check(launch_hybrid_activation_backward(params, stream()), "hybrid_activation_backward");
  }
  template <typename T>
  void operator()(const HybridDoubleBackwardParams<T>& params) const {
    check(launch_hybrid_activation_double_backward(params, stream()),
          "hybrid_activation_double_backward");
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(dvfast, CUDA, m) {
  m.impl("hybrid_activation", TORCH_BOX(&ops::hybrid_activation_forward<Cuda>));
  m.impl("hybrid_activation_backward", TORCH_BOX(&ops::hybrid_activation_backward<Cuda>));
  m.impl("hybrid_activation_double_backward",
         TORCH_BOX(&ops::hybrid_activation_double_backward<Cuda>));
}

}  // namespace dvfast
