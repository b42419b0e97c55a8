#include "hybrid_activation.h"

#include "../core/half.h"
#include "../core/hybrid.h"
#include "multiversion.h"
#include "patches.h"

namespace dvfast {
namespace {

// The two offset channels of a vote pass through, forwards and backwards alike.
template <bool kUnit, typename T>
DVFAST_INLINE void copy_offsets(const VotesView<const T>& source, const T* from,
                                const VotesView<T>& target, T* to, int64_t n) {
  for (int64_t axis = 1; axis < kChannelsPerVote; ++axis) {
    const T* __restrict read = from + axis * source.channel_stride;
    T* __restrict write = to + axis * target.channel_stride;
    for (int64_t i = 0; i < n; ++i) {
      write[at<kUnit>(i, target.x_stride)] = read[at<kUnit>(i, source.x_stride)];
    }
  }
}

template <bool kUnit, typename T>
DVFAST_INLINE void forward_run(const HybridActivationParams<T>& params, const Run& run, int64_t j) {
  const auto& [in, out] = params;
  const T* __restrict logit = in.at(run.b, j, run.y, run.x);
  T* __restrict vote = out.at(run.b, j, run.y, run.x);
  for (int64_t i = 0; i < run.length; ++i) {
    const auto w = sigmoid(to_compute(logit[at<kUnit>(i, in.x_stride)]));
    vote[at<kUnit>(i, out.x_stride)] = FromCompute<T>::convert(w);
  }
  copy_offsets<kUnit>(in, logit, out, vote, run.length);
}

template <bool kUnit, typename T>
DVFAST_INLINE void backward_run(const HybridBackwardParams<T>& params, const Run& run, int64_t j) {
  const auto& [upstream, votes, out] = params;
  const T* __restrict grad = upstream.at(run.b, j, run.y, run.x);
  const T* __restrict vote = votes.at(run.b, j, run.y, run.x);
  T* __restrict result = out.at(run.b, j, run.y, run.x);
  for (int64_t i = 0; i < run.length; ++i) {
    const auto slope = sigmoid_gradient(to_compute(vote[at<kUnit>(i, votes.x_stride)]));
    const auto g = to_compute(grad[at<kUnit>(i, upstream.x_stride)]);
    result[at<kUnit>(i, out.x_stride)] = FromCompute<T>::convert(g * slope);
  }
  copy_offsets<kUnit>(upstream, grad, out, result, run.length);
}

}  // namespace

template <typename T>
DVFAST_MULTIVERSION void hybrid_activation(const HybridActivationParams<T>& params, int64_t begin,
                                           int64_t end) {
  const auto& in = params.input;
  const bool unit = in.x_stride == 1 && params.output.x_stride == 1;
  const int64_t last = std::min(end * kPatchesPerBlock, num_patches(in));
  for (int64_t patch = begin * kPatchesPerBlock; patch < last;) {
    const Run run = run_at(in, patch, last);
    for (int64_t j = 0; j < in.num_votes; ++j) {
      unit ? forward_run<true>(params, run, j) : forward_run<false>(params, run, j);
    }
    patch += run.length;
  }
}

template <typename T>
DVFAST_MULTIVERSION void hybrid_activation_backward(const HybridBackwardParams<T>& params,
                                                    int64_t begin, int64_t end) {
  const auto& [upstream, votes, out] = params;
  const bool unit = upstream.x_stride == 1 && votes.x_stride == 1 && out.x_stride == 1;
  const int64_t last = std::min(end * kPatchesPerBlock, num_patches(votes));
  for (int64_t patch = begin * kPatchesPerBlock; patch < last;) {
    const Run run = run_at(votes, patch, last);
    for (int64_t j = 0; j < votes.num_votes; ++j) {
      unit ? backward_run<true>(params, run, j) : backward_run<false>(params, run, j);
    }
    patch += run.length;
  }
}

template <typename T>
DVFAST_MULTIVERSION void hybrid_activation_double_backward(
    const HybridDoubleBackwardParams<T>& params, int64_t begin, int64_t end) {
  const auto& [outer, upstream, votes, out] = params;
  const int64_t last = std::min(end * kPatchesPerBlock, num_patches(votes));
  for (int64_t patch = begin * kPatchesPerBlock; patch < last;) {
    const Run run = run_at(votes, patch, last);
    for (int64_t j = 0; j < votes.num_votes; ++j) {
      const T* __restrict gg = outer.at(run.b, j, run.y, run.x);
      const T* __restrict g = upstream.at(run.b, j, run.y, run.x);
      const T* __restrict vote = votes.at(run.b, j, run.y, run.x);
      T* __restrict result = out.at(run.b, j, run.y, run.x);
      for (int64_t i = 0; i < run.length; ++i) {
        const auto slope = sigmoid_gradient_slope(to_compute(vote[i * votes.x_stride]));
        result[i * out.x_stride] = FromCompute<T>::convert(
            to_compute(gg[i * outer.x_stride]) * to_compute(g[i * upstream.x_stride]) * slope);
        result[i * out.x_stride + out.channel_stride] = T{};
        result[i * out.x_stride + 2 * out.channel_stride] = T{};
      }
    }
    patch += run.length;
  }
}

#define DVFAST_INSTANTIATE(T)                                                                    \
  template void hybrid_activation<T>(const HybridActivationParams<T>&, int64_t, int64_t);        \
  template void hybrid_activation_backward<T>(const HybridBackwardParams<T>&, int64_t, int64_t); \
  template void hybrid_activation_double_backward<T>(const HybridDoubleBackwardParams<T>&,       \
                                                     int64_t, int64_t);
DVFAST_INSTANTIATE(float)
DVFAST_INSTANTIATE(double)
DVFAST_INSTANTIATE(bfloat16)
DVFAST_INSTANTIATE(float16)
#undef DVFAST_INSTANTIATE

}  // namespace dvfast
