// Tensors as the kernels see them: a pointer, sizes, and strides in elements. A view never owns and
// never copies, so contiguous, channels_last and sliced tensors all come in as they are.
#pragma once

#include <cstdint>

#include "hybrid.h"

namespace dvfast {

// Votes or logits [batch, 3 * num_votes, height, width].
template <typename T>
struct VotesView {
  T* data;
  int64_t batch, num_votes, height, width;
  int64_t batch_stride, channel_stride, y_stride, x_stride;

  DVFAST_INLINE T* at(int64_t b, int64_t j, int64_t y, int64_t x) const {
    return data + b * batch_stride + j * kChannelsPerVote * channel_stride + y * y_stride +
           x * x_stride;
  }
};

// A map [batch, height, width].
template <typename T>
struct MapView {
  T* data;
  int64_t batch, height, width;
  int64_t batch_stride, y_stride, x_stride;

  DVFAST_INLINE T* at(int64_t b, int64_t y, int64_t x) const {
    return data + b * batch_stride + y * y_stride + x * x_stride;
  }
};

}  // namespace dvfast
