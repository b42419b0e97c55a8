// What a kernel is told, on any device: views, settings, and where the results go. Plain structs
// that can be copied to a device byte by byte.
#pragma once

#include "gaussian.h"
#include "half.h"
#include "views.h"
#include "vote.h"

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

template <typename T, typename Target>
struct VotingLossParams {
  VotesView<const T> logits;
  VotesView<const Target> target;
  // Of each patch's loss, not yet scaled: a half overflows or vanishes before it comes to that.
  VotesView<compute_t<T>> gradient;  // data == nullptr: not wanted
  compute_t<T>* patch_loss;          // [patches]; nullptr: not wanted
  double* block_loss;                // [blocks]
  double lambda;
};

// grad_input = gradient * grad_output. The upstream gradient is one number, with strides of
// zero, or one per patch.
template <typename T>
struct VotingLossBackwardParams {
  VotesView<const T> gradient;
  VotesView<T> grad_input;
  MapView<const T> grad_output;
};

template <typename T>
struct VoteScatterParams {
  VotesView<const T> votes;
  VotingRules<T> rules;
  Interpolation interpolation;
  int64_t height, width;
  int64_t* sums;  // [batch, height, width], in units of 2^-30
  bool shared;    // other threads add to the same sums: add atomically
};

template <typename T>
struct VoteGatherParams {
  VotesView<const T> votes;
  VotesView<T> grad_votes;
  VotingRules<T> rules;
  Interpolation interpolation;
  MapView<const T> value;             // d loss / d confidence where a vote lands
  MapView<const T> slope_y, slope_x;  // its derivative along y and x; data == nullptr: zero.
                                      // Bilinear votes take it from `value` itself.
};

template <typename T>
struct GaussianFilterParams {
  MapView<const T> input;
  T* output;  // [batch, height, width], contiguous
  const T *taps_y, *taps_x;
  int64_t window;
  T scale = 1;  // of what is written
};

enum class VoterArea : int64_t { kBox = 0, kDisc = 1 };

template <typename T>
struct ParzenParams {
  VotesView<const T> votes;
  VotingRules<T> rules;
  Gaussian<T> gaussian;
  int64_t window;
  VoterArea area;  // B(x): the voters that may vote for a pixel
  T radius;        // of B(x); infinity: everyone
  int64_t height, width;
};

template <typename T>
struct ParzenScatterParams : ParzenParams<T> {
  int64_t* sums;  // [batch, height, width], in units of 2^-30
  bool shared;    // other threads add to the same sums: add atomically
};

template <typename T>
struct ParzenGatherParams : ParzenParams<T> {
  MapView<const T> grad;
  VotesView<T> grad_votes;
};

template <typename T>
struct FindPeaksParams {
  MapView<const T> density;  // of one image
  double lowest;             // threshold in units of the density
  int64_t min_distance;
};

}  // namespace dvfast
