// Eq. 2 over blocks of patches [begin, end); see cpu/patches.h. Input and output may be laid out
// differently. T is float, double, bfloat16 or float16; halves are computed in float.
#pragma once

#include "../core/views.h"

namespace dvfast {

template <typename T>
struct HybridActivationParams {
  VotesView<const T> input;  // logits
  VotesView<T> output;       // votes
};

template <typename T>
struct HybridBackwardParams {
  VotesView<const T> grad_output;
  VotesView<const T> output;  // votes, as the forward pass returned them
  VotesView<T> grad_input;
};

template <typename T>
struct HybridDoubleBackwardParams {
  VotesView<const T> grad_grad_input;
  VotesView<const T> grad_output;
  VotesView<const T> output;
  VotesView<T> grad;  // with respect to `output`
};

template <typename T>
void hybrid_activation(const HybridActivationParams<T>& params, int64_t begin, int64_t end);

template <typename T>
void hybrid_activation_backward(const HybridBackwardParams<T>& params, int64_t begin, int64_t end);

template <typename T>
void hybrid_activation_double_backward(const HybridDoubleBackwardParams<T>& params, int64_t begin,
                                       int64_t end);

}  // namespace dvfast
