#include "voting_loss.h"

#include "../core/voting_loss.h"
#include "multiversion.h"
#include "patches.h"

namespace dvfast {
namespace {

DVFAST_INLINE double sum_tree(double* tree) {
  for (int64_t half = kPatchesPerBlock / 2; half > 0; half /= 2) {
    for (int64_t i = 0; i < half; ++i) tree[i] += tree[i + half];
  }
  return tree[0];
}

// Vote j of a run of patches: adds its losses to patch_loss and writes its gradients.
template <bool kGradient, bool kUnit, typename T, typename Target>
DVFAST_INLINE void vote_of_run(const VotingLossParams<T, Target>& params, const Run& run, int64_t j,
                               compute_t<T>* __restrict patch_loss) {
  using Compute = compute_t<T>;
  const Compute lambda = static_cast<Compute>(params.lambda);
  const auto& logits = params.logits;
  const auto& target = params.target;
  const auto& slopes = params.gradient;
  const T* __restrict logit = logits.at(run.b, j, run.y, run.x);
  const Target* __restrict wanted = target.at(run.b, j, run.y, run.x);
  Compute* __restrict gradient = kGradient ? slopes.at(run.b, j, run.y, run.x) : nullptr;
  for (int64_t i = 0; i < run.length; ++i) {
    const int64_t l = at<kUnit>(i, logits.x_stride);
    const int64_t t = at<kUnit>(i, target.x_stride);
    const VoteLoss<Compute> vote =
        vote_loss<Compute>(to_compute(logit[l]), to_compute(logit[l + logits.channel_stride]),
                           to_compute(logit[l + 2 * logits.channel_stride]), to_compute(wanted[t]),
                           to_compute(wanted[t + target.channel_stride]),
                           to_compute(wanted[t + 2 * target.channel_stride]), lambda);
    patch_loss[i] += vote.loss;
    if constexpr (kGradient) {
      const int64_t g = at<kUnit>(i, slopes.x_stride);
      gradient[g] = vote.confidence_gradient;
      gradient[g + slopes.channel_stride] = vote.offset_y_gradient;
      gradient[g + 2 * slopes.channel_stride] = vote.offset_x_gradient;
    }
  }
}

template <bool kGradient, bool kUnit, typename T, typename Target>
DVFAST_INLINE void patches_of_block(const VotingLossParams<T, Target>& params, int64_t first,
                                    int64_t last, compute_t<T>* patch_loss) {
  for (int64_t patch = first; patch < last;) {
    const Run run = run_at(params.logits, patch, last);
    for (int64_t j = 0; j < params.logits.num_votes; ++j) {
      vote_of_run<kGradient, kUnit>(params, run, j, patch_loss + (patch - first));
    }
    patch += run.length;
  }
}

}  // namespace

template <typename T, typename Target>
DVFAST_MULTIVERSION void voting_loss(const VotingLossParams<T, Target>& params, int64_t begin,
                                     int64_t end) {
  const bool gradient = params.gradient.data != nullptr;
  const bool unit = params.logits.x_stride == 1 && params.target.x_stride == 1 &&
                    (!gradient || params.gradient.x_stride == 1);
  for (int64_t block = begin; block < end; ++block) {
    compute_t<T> patch_loss[kPatchesPerBlock] = {};
    double tree[kPatchesPerBlock];
    const int64_t first = block * kPatchesPerBlock;
    const int64_t last = std::min(first + kPatchesPerBlock, num_patches(params.logits));
    if (gradient) {
      unit ? patches_of_block<true, true>(params, first, last, patch_loss)
           : patches_of_block<true, false>(params, first, last, patch_loss);
    } else {
      unit ? patches_of_block<false, true>(params, first, last, patch_loss)
           : patches_of_block<false, false>(params, first, last, patch_loss);
    }
    for (int64_t i = 0; i < kPatchesPerBlock; ++i) tree[i] = patch_loss[i];
    params.block_loss[block] = sum_tree(tree);
    if (params.patch_loss != nullptr) {
      for (int64_t i = 0; i < last - first; ++i) params.patch_loss[first + i] = patch_loss[i];
    }
  }
}

double sum_of_blocks(double* block_loss, int64_t blocks) {
  for (; blocks > 1; blocks = num_blocks(blocks)) {
    for (int64_t block = 0; block < num_blocks(blocks); ++block) {
      const int64_t first = block * kPatchesPerBlock;
      double tree[kPatchesPerBlock] = {};
      std::copy(block_loss + first, block_loss + std::min(first + kPatchesPerBlock, blocks), tree);
      block_loss[block] = sum_tree(tree);
    }
  }
  return blocks == 1 ? block_loss[0] : 0.0;
}

template <typename T>
DVFAST_MULTIVERSION void voting_loss_backward(const VotingLossBackwardParams<T>& params,
                                              int64_t begin, int64_t end) {
  const auto& in = params.gradient;
  const auto& out = params.grad_input;
  const auto& upstream = params.grad_output;
  const bool uniform = in.x_stride == 1 && out.x_stride == 1 && upstream.x_stride == 0;
  const int64_t last = std::min(end * kPatchesPerBlock, num_patches(in));
  for (int64_t patch = begin * kPatchesPerBlock; patch < last;) {
    const Run run = run_at(in, patch, last);
    const T* grad = upstream.at(run.b, run.y, run.x);
    for (int64_t channel = 0; channel < kChannelsPerVote * in.num_votes; ++channel) {
      const T* __restrict from = in.at(run.b, 0, run.y, run.x) + channel * in.channel_stride;
      T* __restrict to = out.at(run.b, 0, run.y, run.x) + channel * out.channel_stride;
      if (uniform) {
        const T factor = *grad;
        for (int64_t i = 0; i < run.length; ++i) to[i] = from[i] * factor;
      } else {
        for (int64_t i = 0; i < run.length; ++i) {
          to[i * out.x_stride] = from[i * in.x_stride] * grad[i * upstream.x_stride];
        }
      }
    }
    patch += run.length;
  }
}

#define DVFAST_INSTANTIATE(T, Target) \
  template void voting_loss<T, Target>(const VotingLossParams<T, Target>&, int64_t, int64_t);
DVFAST_INSTANTIATE(float, float)
DVFAST_INSTANTIATE(double, double)
DVFAST_INSTANTIATE(bfloat16, bfloat16)
DVFAST_INSTANTIATE(bfloat16, float)
DVFAST_INSTANTIATE(float16, float16)
DVFAST_INSTANTIATE(float16, float)
#undef DVFAST_INSTANTIATE

#define DVFAST_INSTANTIATE(T) \
  template void voting_loss_backward<T>(const VotingLossBackwardParams<T>&, int64_t, int64_t);
DVFAST_INSTANTIATE(float)
DVFAST_INSTANTIATE(double)
#undef DVFAST_INSTANTIATE

}  // namespace dvfast
