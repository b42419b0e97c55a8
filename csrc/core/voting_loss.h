// Eq. 4, the loss of one vote, and eq. 5, its gradient with respect to the logits.
#pragma once

#include "hybrid.h"

namespace dvfast {

template <typename T>
struct VoteLoss {
  T loss;
  T confidence_gradient;  // with respect to the confidence's logit
  T offset_y_gradient;
  T offset_x_gradient;
};

// l = 1/2 (alpha w |d - v|^2 + lambda (w - alpha)^2) with w = sigm(logit).
// The paper prints the derivative of the sigmoid as Iw (1 - Iw); it is w (1 - w).
template <typename T>
DVFAST_INLINE VoteLoss<T> vote_loss(T logit, T offset_y, T offset_x, T target_confidence,
                                    T target_y, T target_x, T lambda) {
  const T w = sigmoid(logit);
  const T error_y = offset_y - target_y;
  const T error_x = offset_x - target_x;
  const T distance = squared_length(error_y, error_x);
  const T error_w = w - target_confidence;
  const T pull = T(0.5) * target_confidence * distance;
  const T offset_weight = target_confidence * w;
  VoteLoss<T> result;
  result.loss = fused_multiply_add(pull, w, T(0.5) * lambda * error_w * error_w);
  result.confidence_gradient = fused_multiply_add(lambda, error_w, pull) * sigmoid_gradient(w);
  result.offset_y_gradient = offset_weight * error_y;
  result.offset_x_gradient = offset_weight * error_x;
  return result;
}

}  // namespace dvfast
