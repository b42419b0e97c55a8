// One output per input element of votes-shaped tensors, the operation depending on whether the
// element is a confidence. Shared by the activation's three kernels and the loss's backward.
#pragma once

#include "../core/half.h"
#include "../core/views.h"
#include "launch.h"
#include "packet_store.h"

namespace dvfast {

template <typename T, int kInputs>
struct PointwiseParams {
  VotesView<const T> inputs[kInputs];
  VotesView<T> output;
};

// 16 bytes: what one thread loads and stores at once.
template <typename T>
struct alignas(16) Packet {
  static constexpr int kSize = 16 / sizeof(T);
  T values[kSize];
};

// Neighbours in memory, from an address that packets can be loaded from.
template <typename T, int kCount>
struct Neighbours {
  static constexpr int kPackets = kCount / Packet<T>::kSize;
  Packet<T> packets[kPackets];

  __device__ __forceinline__ T& operator[](int i) {
    return packets[i / Packet<T>::kSize].values[i % Packet<T>::kSize];
  }
  static __device__ __forceinline__ Neighbours load(const T* from) {
    Neighbours result;
#pragma unroll
    for (int i = 0; i < kPackets; ++i) {
      result.packets[i] = reinterpret_cast<const Packet<T>*>(from)[i];
    }
    return result;
  }
  // To global memory.
  __device__ __forceinline__ void store(T* to) const {
#pragma unroll
    for (int i = 0; i < kPackets; ++i) {
      uint4 words;
      memcpy(&words, &packets[i], sizeof(words));
      store_packet(reinterpret_cast<Packet<T>*>(to) + i, words);
    }
  }
};

template <typename T, int kInputs, typename Operation>
__device__ __forceinline__ T apply(const Operation& operation, bool confidence,
                                   const T (&inputs)[kInputs]) {
  compute_t<T> numbers[kInputs];
  for (int i = 0; i < kInputs; ++i) numbers[i] = to_compute(inputs[i]);
  return FromCompute<T>::convert(operation(confidence, numbers));
}

// All tensors are one run of memory with equal strides: `plane` neighbours share a channel, and
// channels follow one another. [B, 3k, H, W] has planes of H * W, channels_last planes of 1.
// Index is 32 bits wide where that is enough: a 64-bit division costs more than the rest.
template <typename T, int kInputs, typename Operation, typename Index>
__global__ void __launch_bounds__(kThreadsPerBlock)
    pointwise_dense(PointwiseParams<T, kInputs> params, int64_t count, Index plane,
                    Operation operation) {
  constexpr int kSize = Packet<T>::kSize;
  const int64_t packets = count / kSize;
  for (int64_t i = first_item(); i < packets; i += item_stride()) {
    const Index element = static_cast<Index>(i * kSize);
    const Index run = element / plane;
    Index within = element - run * plane;
    unsigned int channel = static_cast<unsigned int>(run % kChannelsPerVote);
    Packet<T> in[kInputs];
    for (int k = 0; k < kInputs; ++k) {
      in[k] = *reinterpret_cast<const Packet<T>*>(params.inputs[k].data + i * kSize);
    }
    Packet<T> out;
#pragma unroll
    for (int j = 0; j < kSize; ++j) {
      T values[kInputs];
      for (int k = 0; k < kInputs; ++k) values[k] = in[k].values[j];
      out.values[j] = apply<T, kInputs>(operation, channel == 0, values);
      if (++within == plane) {
        within = 0;
        channel = channel == 2 ? 0 : channel + 1;
      }
    }
    *reinterpret_cast<Packet<T>*>(params.output.data + i * kSize) = out;
  }
  // What does not fill a packet.
  const int64_t last = packets * kSize + first_item();
  if (last < count) {
    T values[kInputs];
    for (int k = 0; k < kInputs; ++k) values[k] = params.inputs[k].data[last];
    const bool confidence = last / plane % kChannelsPerVote == 0;
    params.output.data[last] = apply<T, kInputs>(operation, confidence, values);
  }
}

// Any strides.
template <typename T, int kInputs, typename Operation>
__global__ void __launch_bounds__(kThreadsPerBlock)
    pointwise_strided(PointwiseParams<T, kInputs> params, int64_t count, Operation operation) {
  const auto& out = params.output;
  const int64_t channels = kChannelsPerVote * out.num_votes;
  for (int64_t i = first_item(); i < count; i += item_stride()) {
    const int64_t x = i % out.width;
    const int64_t y = i / out.width % out.height;
    const int64_t channel = i / (out.width * out.height) % channels;
    const int64_t b = i / (out.width * out.height * channels);
    T values[kInputs];
    for (int k = 0; k < kInputs; ++k) {
      values[k] = *(params.inputs[k].at(b, 0, y, x) + channel * params.inputs[k].channel_stride);
    }
    *(out.at(b, 0, y, x) + channel * out.channel_stride) =
        apply<T, kInputs>(operation, channel % kChannelsPerVote == 0, values);
  }
}

// The length of a plane if the tensor is one run of memory, else 0.
template <typename T>
int64_t dense_plane(const VotesView<T>& view) {
  const int64_t channels = kChannelsPerVote * view.num_votes;
  const bool aligned = reinterpret_cast<uintptr_t>(view.data) % 16 == 0;
  if (!aligned || view.height != 1) return 0;
  if (view.batch == 1 && view.channel_stride == 1 && view.x_stride == channels) return 1;
  const bool planar = view.x_stride == 1 && view.channel_stride == view.width &&
                      (view.batch == 1 || view.batch_stride == channels * view.width);
  return planar ? view.width : 0;
}

// The views' axes should have been merged.
template <typename T, int kInputs, typename Operation>
cudaError_t launch_pointwise(const PointwiseParams<T, kInputs>& params, const Operation& operation,
                             cudaStream_t stream) {
  const auto& out = params.output;
  const int64_t count = out.batch * kChannelsPerVote * out.num_votes * out.height * out.width;
  int64_t plane = dense_plane(out);
  for (const auto& input : params.inputs) plane = dense_plane(input) == plane ? plane : 0;
  if (plane == 0) {
    return launch(pointwise_strided<T, kInputs, Operation>, blocks_for(count, kThreadsPerBlock),
                  kThreadsPerBlock, 0, stream, params, count, operation);
  }
  const unsigned int blocks = blocks_for(count, kThreadsPerBlock * Packet<T>::kSize);
  if (count <= INT32_MAX) {
    return launch(pointwise_dense<T, kInputs, Operation, uint32_t>, blocks, kThreadsPerBlock, 0,
                  stream, params, count, static_cast<uint32_t>(plane), operation);
  }
  return launch(pointwise_dense<T, kInputs, Operation, uint64_t>, blocks, kThreadsPerBlock, 0,
                stream, params, count, static_cast<uint64_t>(plane), operation);
}

}  // namespace dvfast
