#include "../core/hybrid.h"
#include "hybrid_activation.h"
#include "pointwise.h"

namespace dvfast {
namespace {

struct Forward {
  template <typename Compute>
  __device__ __forceinline__ Compute operator()(bool confidence, const Compute (&x)[1]) const {
    return confidence ? sigmoid(x[0]) : x[0];
  }
};

struct Backward {
  template <typename Compute>  // x: upstream gradient, vote
  __device__ __forceinline__ Compute operator()(bool confidence, const Compute (&x)[2]) const {
    return confidence ? x[0] * sigmoid_gradient(x[1]) : x[0];
  }
};

struct DoubleBackward {
  template <typename Compute>  // x: gradient of the gradient, upstream gradient, vote
  __device__ __forceinline__ Compute operator()(bool confidence, const Compute (&x)[3]) const {
    return confidence ? x[0] * x[1] * sigmoid_gradient_slope(x[2]) : Compute(0);
  }
};

}  // namespace

template <typename T>
cudaError_t launch_hybrid_activation(const HybridActivationParams<T>& params, cudaStream_t stream) {
  return launch_pointwise(PointwiseParams<T, 1>{{params.input}, params.output}, Forward{}, stream);
}

template <typename T>
cudaError_t launch_hybrid_activation_backward(const HybridBackwardParams<T>& params,
                                              cudaStream_t stream) {
  return launch_pointwise(
      PointwiseParams<T, 2>{{params.grad_output, params.output}, params.grad_input}, Backward{},
      stream);
}

template <typename T>
cudaError_t launch_hybrid_activation_double_backward(const HybridDoubleBackwardParams<T>& params,
                                                     cudaStream_t stream) {
  return launch_pointwise(
      PointwiseParams<T, 3>{{params.grad_grad_input, params.grad_output, params.output},
                            params.grad},
      DoubleBackward{}, stream);
}

#define DVFAST_INSTANTIATE(T)                                                               \
  template cudaError_t launch_hybrid_activation<T>(const HybridActivationParams<T>&,        \
                                                   cudaStream_t);                           \
  template cudaError_t launch_hybrid_activation_backward<T>(const HybridBackwardParams<T>&, \
                                                            cudaStream_t);                  \
  template cudaError_t launch_hybrid_activation_double_backward<T>(                         \
      const HybridDoubleBackwardParams<T>&, cudaStream_t);
DVFAST_INSTANTIATE(float)
DVFAST_INSTANTIATE(double)
DVFAST_INSTANTIATE(bfloat16)
DVFAST_INSTANTIATE(float16)
#undef DVFAST_INSTANTIATE

}  // namespace dvfast
