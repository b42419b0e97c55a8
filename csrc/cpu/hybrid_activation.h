// Eq. 2 over blocks of patches [begin, end); see cpu/patches.h. Input and output may be laid out
// differently. T is float, double, bfloat16 or float16; halves are computed in float.
#pragma once

#include "../core/params.h"

namespace dvfast {

template <typename T>
void hybrid_activation(const HybridActivationParams<T>& params, int64_t begin, int64_t end);

template <typename T>
void hybrid_activation_backward(const HybridBackwardParams<T>& params, int64_t begin, int64_t end);

template <typename T>
void hybrid_activation_double_backward(const HybridDoubleBackwardParams<T>& params, int64_t begin,
                                       int64_t end);

}  // namespace dvfast
