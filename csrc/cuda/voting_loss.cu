#include "../core/reduction.h"
#include "../core/voting_loss.h"
#include "launch.h"
#include "shared_memory.h"
#include "voting_loss.h"

namespace dvfast {
namespace {

// Of sum_patches on a multiprocessor. Left to itself, the compiler hopes for more, and spills.
constexpr unsigned int kBlocksAtOnce = 4;

// The tree of core/reduction.h over kPatchesPerBlock numbers in shared memory; all threads of the
// block take part, and find the sum in tree[0].
__device__ __forceinline__ void sum_tree(double* tree) {
  for (unsigned int half = kPatchesPerBlock / 2; half > 0; half /= 2) {
    __syncthreads();
    for (unsigned int i = threadIdx.x; i < half; i += kThreadsPerBlock) tree[i] += tree[i + half];
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
      T* slope = gradient.at(b, j, y, x);
      slope[0] = FromCompute<T>::convert(vote.confidence_gradient);
      slope[gradient.channel_stride] = FromCompute<T>::convert(vote.offset_y_gradient);
      slope[2 * gradient.channel_stride] = FromCompute<T>::convert(vote.offset_x_gradient);
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
    const compute_t<T> factor = *params.grad_output.at(b, y, x);
    const T* from = in.at(b, 0, y, x);
    T* to = out.at(b, 0, y, x);
    for (int64_t channel = 0; channel < kChannelsPerVote * in.num_votes; ++channel) {
      to[channel * out.channel_stride] =
          FromCompute<T>::convert(to_compute(from[channel * in.channel_stride]) * factor);
    }
  }
}

}  // namespace

template <typename T, typename Target>
cudaError_t launch_voting_loss(const VotingLossParams<T, Target>& params, cudaStream_t stream) {
  const int64_t patches = params.logits.batch * params.logits.height * params.logits.width;
  const size_t bytes = kPatchesPerBlock * sizeof(double);
  const auto kernel = params.gradient.data != nullptr ? sum_patches<true, T, Target>
                                                      : sum_patches<false, T, Target>;
  const cudaError_t error = launch(kernel, blocks_for(num_blocks(patches), 1), kThreadsPerBlock,
                                   bytes, stream, params, patches);
  if (error != cudaSuccess) return error;
  return launch(sum_blocks, 1, kThreadsPerBlock, bytes, stream, params.block_loss,
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
DVFAST_INSTANTIATE(bfloat16)
DVFAST_INSTANTIATE(float16)
#undef DVFAST_INSTANTIATE

template cudaError_t launch_total_loss<float>(const double*, int64_t, float*, cudaStream_t);
template cudaError_t launch_total_loss<double>(const double*, int64_t, double*, cudaStream_t);

}  // namespace dvfast
