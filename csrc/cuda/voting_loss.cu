#include "../core/reduction.h"
#include "../core/voting_loss.h"
#include "async_copy.h"
#include "launch.h"
#include "pointwise.h"
#include "shared_memory.h"
#include "voting_loss.h"

namespace dvfast {
namespace {

// On a multiprocessor. Left to itself, the compiler hopes for more, and spills.
constexpr unsigned int kBlocksAtOnce = 4;

// What every architecture gives a block without being asked.
constexpr int64_t kMostSharedBytes = 48 * 1024;
constexpr int64_t kTreeBytes = kPatchesPerBlock * sizeof(double);

// Patches that a thread of sum_planes takes at a time, and threads that take a block's.
template <typename T>
constexpr int kNeighbours = Packet<T>::kSize;
template <typename T>
constexpr unsigned int kThreadsOfPlanes =
    kPatchesPerBlock / kNeighbours<T> < kThreadsPerBlock ? kPatchesPerBlock / kNeighbours<T>
                                                         : kThreadsPerBlock;

// The tree of core/reduction.h over kPatchesPerBlock numbers in shared memory; all threads of the
// block take part, and find the sum in tree[0].
template <unsigned int kThreads = kThreadsPerBlock>
__device__ __forceinline__ void sum_tree(double* tree) {
  for (unsigned int half = kPatchesPerBlock / 2; half > 0; half /= 2) {
    __syncthreads();
    for (unsigned int i = threadIdx.x; i < half; i += kThreads) tree[i] += tree[i + half];
  }
  __syncthreads();
}

template <bool kGradient, typename T, typename Target>
__device__ __forceinline__ compute_t<T> patch_loss(const VotingLossParams<T, Target>& params,
                                                   int64_t patch) {
  using Compute = compute_t<T>;
  const auto& logits = params.logits;
  const auto& target = params.target;
  const auto& gradient = params.gradient;
  const int64_t x = patch % logits.width;
  const int64_t row = patch / logits.width;
  const int64_t y = row % logits.height;
  const int64_t b = row / logits.height;
  Compute loss = 0;
  for (int64_t j = 0; j < logits.num_votes; ++j) {
    const T* logit = logits.at(b, j, y, x);
    const Target* wanted = target.at(b, j, y, x);
    const VoteLoss<Compute> vote = vote_loss<Compute>(
        to_compute(logit[0]), to_compute(logit[logits.channel_stride]),
        to_compute(logit[2 * logits.channel_stride]), to_compute(wanted[0]),
        to_compute(wanted[target.channel_stride]), to_compute(wanted[2 * target.channel_stride]),
        static_cast<Compute>(params.lambda));
    loss += vote.loss;
    if (kGradient) {
      Compute* slope = gradient.at(b, j, y, x);
      slope[0] = vote.confidence_gradient;
      slope[gradient.channel_stride] = vote.offset_y_gradient;
      slope[2 * gradient.channel_stride] = vote.offset_x_gradient;
    }
  }
  return loss;
}

template <bool kGradient, typename T, typename Target>
__global__ void __launch_bounds__(kThreadsPerBlock, kBlocksAtOnce)
    sum_patches(VotingLossParams<T, Target> params, int64_t patches) {
  double* tree = shared_array<double>();
  for (int64_t block = blockIdx.x; block < num_blocks(patches); block += gridDim.x) {
    for (unsigned int i = threadIdx.x; i < kPatchesPerBlock; i += kThreadsPerBlock) {
      const int64_t patch = block * kPatchesPerBlock + i;
      const bool exists = patch < patches;
      const auto loss = exists ? patch_loss<kGradient>(params, patch) : compute_t<T>(0);
      if (exists && params.patch_loss != nullptr) params.patch_loss[patch] = loss;
      tree[i] = loss;
    }
    sum_tree(tree);
    if (threadIdx.x == 0) params.block_loss[block] = tree[0];
    __syncthreads();
  }
}

// All tensors are runs of memory, and neighbouring patches are neighbours in the plane of each
// channel: a packet holds one channel of several. `params` as launch_planes wants them.
template <bool kGradient, typename T, typename Target>
__global__ void __launch_bounds__(kThreadsOfPlanes<T>)
    sum_planes(VotingLossParams<T, Target> params, int64_t patches) {
  using Compute = compute_t<T>;
  constexpr int kCount = kNeighbours<T>;
  constexpr int kAtOnce = Packet<Compute>::kSize;  // whose gradients are in registers
  constexpr unsigned int kThreads = kThreadsOfPlanes<T>;
  const auto& logits = params.logits;
  const int64_t plane = logits.width;
  double* tree = shared_array<double>();
  for (int64_t block = blockIdx.x; block < num_blocks(patches); block += gridDim.x) {
    for (unsigned int i = threadIdx.x * kCount; i < kPatchesPerBlock; i += kThreads * kCount) {
      const int64_t patch = block * kPatchesPerBlock + i;
      Neighbours<Compute, kCount> losses{};
      if (patch < patches) {
        const int64_t b = logits.batch == 1 ? 0 : patch / plane;
        int64_t at = b * kChannelsPerVote * logits.num_votes * plane + patch - b * plane;
        for (int64_t j = 0; j < logits.num_votes; ++j, at += kChannelsPerVote * plane) {
          auto confidence = Neighbours<T, kCount>::load(logits.data + at);
          auto offset_y = Neighbours<T, kCount>::load(logits.data + at + plane);
          auto offset_x = Neighbours<T, kCount>::load(logits.data + at + 2 * plane);
          auto wanted = Neighbours<Target, kCount>::load(params.target.data + at);
          auto wanted_y = Neighbours<Target, kCount>::load(params.target.data + at + plane);
          auto wanted_x = Neighbours<Target, kCount>::load(params.target.data + at + 2 * plane);
#pragma unroll
          for (int first = 0; first < kCount; first += kAtOnce) {
            Neighbours<Compute, kAtOnce> slope, slope_y, slope_x;
#pragma unroll
            for (int k = 0; k < kAtOnce; ++k) {
              const int n = first + k;
              const VoteLoss<Compute> vote = vote_loss<Compute>(
                  to_compute(confidence[n]), to_compute(offset_y[n]), to_compute(offset_x[n]),
                  to_compute(wanted[n]), to_compute(wanted_y[n]), to_compute(wanted_x[n]),
                  static_cast<Compute>(params.lambda));
              losses[n] += vote.loss;
              slope[k] = vote.confidence_gradient;
              slope_y[k] = vote.offset_y_gradient;
              slope_x[k] = vote.offset_x_gradient;
            }
            if (kGradient) {
              Compute* gradient = params.gradient.data + at + first;
              slope.store(gradient);
              slope_y.store(gradient + plane);
              slope_x.store(gradient + 2 * plane);
            }
          }
        }
        if (params.patch_loss != nullptr) losses.store(params.patch_loss + patch);
      }
      Neighbours<double, kCount> leaves;
#pragma unroll
      for (int n = 0; n < kCount; ++n) leaves[n] = losses[n];
      auto* packets = reinterpret_cast<Packet<double>*>(tree + i);
#pragma unroll
      for (int n = 0; n < leaves.kPackets; ++n) packets[n] = leaves.packets[n];
    }
    sum_tree<kThreads>(tree);
    if (threadIdx.x == 0) params.block_loss[block] = tree[0];
    __syncthreads();
  }
}

// Starts copying a run of memory into shared memory.
template <typename T>
__device__ __forceinline__ void stage(T* to, const T* from, int count) {
  constexpr int kSize = Packet<T>::kSize;
  for (int i = threadIdx.x * kSize; i + kSize <= count; i += kThreadsPerBlock * kSize) {
    stream_async(to + i, from + i);
  }
  const int last = count / kSize * kSize + static_cast<int>(threadIdx.x);
  if (last < count) to[last] = from[last];
}

template <typename T>
__device__ __forceinline__ void unstage(T* to, const T* from, int count) {
  constexpr int kSize = Packet<T>::kSize;
  for (int i = threadIdx.x * kSize; i + kSize <= count; i += kThreadsPerBlock * kSize) {
    *reinterpret_cast<Packet<T>*>(to + i) = *reinterpret_cast<const Packet<T>*>(from + i);
  }
  const int last = count / kSize * kSize + static_cast<int>(threadIdx.x);
  if (last < count) to[last] = from[last];
}

// The gradient of halves is of another dtype and cannot take the place of the logits.
template <bool kGradient, typename T>
constexpr bool kGradientApart = kGradient && sizeof(T) != sizeof(compute_t<T>);

// Of shared memory, for every channel of a patch.
template <bool kGradient, typename T, typename Target>
constexpr int64_t kStagedBytes =
    sizeof(T) + sizeof(Target) + (kGradientApart<kGradient, T> ? sizeof(compute_t<T>) : 0);

// All tensors are runs of memory, patch after patch with its channels side by side. Packets know no
// patches, so that they go through shared memory, those of `at_once` patches at a time.
template <bool kGradient, typename T, typename Target>
__global__ void __launch_bounds__(kThreadsPerBlock, kBlocksAtOnce)
    sum_interleaved(VotingLossParams<T, Target> params, int64_t patches, int at_once) {
  using Compute = compute_t<T>;
  const int channels = static_cast<int>(kChannelsPerVote * params.logits.num_votes);
  double* tree = shared_array<double>();
  T* logits = shared_array<T>(kTreeBytes);
  Target* targets = reinterpret_cast<Target*>(logits + at_once * channels);
  Compute* slopes = kGradientApart<kGradient, T>
                        ? reinterpret_cast<Compute*>(targets + at_once * channels)
                        : reinterpret_cast<Compute*>(logits);
  for (int64_t block = blockIdx.x; block < num_blocks(patches); block += gridDim.x) {
    for (int first = 0; first < kPatchesPerBlock; first += at_once) {
      const int64_t start = block * kPatchesPerBlock + first;
      const int64_t left = patches > start ? patches - start : 0;
      const int count = static_cast<int>(left < at_once ? left : at_once);
      __syncthreads();
      stage(logits, params.logits.data + start * channels, count * channels);
      stage(targets, params.target.data + start * channels, count * channels);
      commit_copies();
      wait_for_copies<0>();
      __syncthreads();
      const int i = static_cast<int>(threadIdx.x);
      if (i < at_once) {
        Compute loss = 0;
        const T* logit = logits + i * channels;
        Compute* slope = slopes + i * channels;
        const Target* wanted = targets + i * channels;
        for (int j = 0; i < count && j < channels; j += kChannelsPerVote) {
          const VoteLoss<Compute> vote = vote_loss<Compute>(
              to_compute(logit[j]), to_compute(logit[j + 1]), to_compute(logit[j + 2]),
              to_compute(wanted[j]), to_compute(wanted[j + 1]), to_compute(wanted[j + 2]),
              static_cast<Compute>(params.lambda));
          loss += vote.loss;
          if (kGradient) {
            slope[j] = vote.confidence_gradient;
            slope[j + 1] = vote.offset_y_gradient;
            slope[j + 2] = vote.offset_x_gradient;
          }
        }
        if (i < count && params.patch_loss != nullptr) params.patch_loss[start + i] = loss;
        tree[first + i] = loss;
      }
      if (kGradient) {
        __syncthreads();
        unstage(params.gradient.data + start * channels, slopes, count * channels);
      }
    }
    sum_tree(tree);
    if (threadIdx.x == 0) params.block_loss[block] = tree[0];
    __syncthreads();
  }
}

// One block of threads: every level of blocks in turn, until one number is left.
__global__ void __launch_bounds__(kThreadsPerBlock) sum_blocks(double* block_loss, int64_t blocks) {
  double* tree = shared_array<double>();
  for (; blocks > 1; blocks = num_blocks(blocks)) {
    for (int64_t block = 0; block < num_blocks(blocks); ++block) {
      for (unsigned int i = threadIdx.x; i < kPatchesPerBlock; i += kThreadsPerBlock) {
        const int64_t from = block * kPatchesPerBlock + i;
        tree[i] = from < blocks ? block_loss[from] : 0.0;
      }
      sum_tree(tree);
      if (threadIdx.x == 0) block_loss[block] = tree[0];
      __syncthreads();
    }
  }
}

template <typename T>
__global__ void store_total(const double* block_loss, int64_t blocks, T* total) {
  if (first_item() == 0) *total = blocks > 0 ? static_cast<T>(block_loss[0]) : T(0);
}

template <typename T>
__global__ void __launch_bounds__(kThreadsPerBlock)
    scale_gradient(VotingLossBackwardParams<T> params, int64_t patches) {
  const auto& in = params.gradient;
  const auto& out = params.grad_input;
  for (int64_t patch = first_item(); patch < patches; patch += item_stride()) {
    const int64_t x = patch % in.width;
    const int64_t row = patch / in.width;
    const int64_t y = row % in.height;
    const int64_t b = row / in.height;
    const T factor = *params.grad_output.at(b, y, x);
    const T* from = in.at(b, 0, y, x);
    T* to = out.at(b, 0, y, x);
    for (int64_t channel = 0; channel < kChannelsPerVote * in.num_votes; ++channel) {
      to[channel * out.channel_stride] = from[channel * in.channel_stride] * factor;
    }
  }
}

// Patches at a time whose logits and targets fit into shared memory beside the tree, or 0.
template <bool kGradient, typename T, typename Target>
int patches_at_once(int64_t channels) {
  constexpr int kFewest = 32;
  const auto fit = [&](int64_t patches) {
    return patches * channels * kStagedBytes<kGradient, T, Target> <= kMostSharedBytes - kTreeBytes;
  };
  for (int patches = kThreadsPerBlock; patches >= kFewest; patches /= 2) {
    if (fit(patches)) return patches;
  }
  return 0;
}

template <bool kGradient, typename T, typename Target>
cudaError_t launch_sweep(const VotingLossParams<T, Target>& params, int64_t patches,
                         cudaStream_t stream) {
  const auto& logits = params.logits;
  const unsigned int blocks = blocks_for(num_blocks(patches), 1);
  const int64_t plane = dense_plane(logits);
  const bool alike = dense_plane(params.target) == plane &&
                     (!kGradient || dense_plane(params.gradient) == plane) &&
                     is_aligned(params.patch_loss);
  const int64_t channels = kChannelsPerVote * logits.num_votes;
  const int at_once = patches_at_once<kGradient, T, Target>(channels);
  if (alike && plane == 1 && at_once > 0) {
    const int64_t staged = at_once * channels * kStagedBytes<kGradient, T, Target>;
    return launch(sum_interleaved<kGradient, T, Target>, blocks, kThreadsPerBlock,
                  kTreeBytes + staged, stream, params, patches, at_once);
  }
  if (alike && plane > 1 && plane % kNeighbours<T> == 0) {
    return launch(sum_planes<kGradient, T, Target>, blocks, kThreadsOfPlanes<T>, kTreeBytes, stream,
                  params, patches);
  }
  return launch(sum_patches<kGradient, T, Target>, blocks, kThreadsPerBlock, kTreeBytes, stream,
                params, patches);
}

// One upstream gradient for all patches.
template <typename T>
struct Scale {
  const T* factor;

  __device__ __forceinline__ T operator()(bool, const T (&x)[1]) const { return x[0] * *factor; }
};

}  // namespace

template <typename T, typename Target>
cudaError_t launch_voting_loss(const VotingLossParams<T, Target>& params, cudaStream_t stream) {
  const int64_t patches = params.logits.batch * params.logits.height * params.logits.width;
  const cudaError_t error = params.gradient.data != nullptr
                                ? launch_sweep<true>(params, patches, stream)
                                : launch_sweep<false>(params, patches, stream);
  if (error != cudaSuccess) return error;
  return launch(sum_blocks, 1, kThreadsPerBlock, kTreeBytes, stream, params.block_loss,
                num_blocks(patches));
}

template <typename T>
cudaError_t launch_total_loss(const double* block_loss, int64_t blocks, T* total,
                              cudaStream_t stream) {
  return launch(store_total<T>, 1, 1, 0, stream, block_loss, blocks, total);
}

template <typename T>
cudaError_t launch_voting_loss_backward(const VotingLossBackwardParams<T>& params,
                                        cudaStream_t stream) {
  const auto& in = params.gradient;
  const auto& upstream = params.grad_output;
  if (upstream.batch_stride == 0 && upstream.y_stride == 0 && upstream.x_stride == 0) {
    return launch_pointwise(PointwiseParams<T, 1>{{in}, params.grad_input}, Scale<T>{upstream.data},
                            stream);
  }
  const int64_t patches = in.batch * in.height * in.width;
  return launch(scale_gradient<T>, blocks_for(patches, kThreadsPerBlock), kThreadsPerBlock, 0,
                stream, params, patches);
}

#define DVFAST_INSTANTIATE(T, Target)                                                    \
  template cudaError_t launch_voting_loss<T, Target>(const VotingLossParams<T, Target>&, \
                                                     cudaStream_t);
DVFAST_INSTANTIATE(float, float)
DVFAST_INSTANTIATE(double, double)
DVFAST_INSTANTIATE(bfloat16, bfloat16)
DVFAST_INSTANTIATE(bfloat16, float)
DVFAST_INSTANTIATE(float16, float16)
DVFAST_INSTANTIATE(float16, float)
#undef DVFAST_INSTANTIATE

#define DVFAST_INSTANTIATE(T)                                                             \
  template cudaError_t launch_voting_loss_backward<T>(const VotingLossBackwardParams<T>&, \
                                                      cudaStream_t);
DVFAST_INSTANTIATE(float)
DVFAST_INSTANTIATE(double)
#undef DVFAST_INSTANTIATE

template cudaError_t launch_total_loss<float>(const double*, int64_t, float*, cudaStream_t);
template cudaError_t launch_total_loss<double>(const double*, int64_t, double*, cudaStream_t);

}  // namespace dvfast
