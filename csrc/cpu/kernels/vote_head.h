// No include guard; see ../each_instruction_set.h.
#include "convolve.h"
#include "vote_layer.h"

// So many runs go through a layer together.
constexpr int64_t kRunsPerBlock = 8;
// So many hidden units at a time, their weights in the second cache (0.8 MB of the default
// network), while all blocks go by; so few pixels that their partial sums do not crowd it.
constexpr int64_t kHiddenPerPass = 256;
constexpr int64_t kPartsPerPass = 1 << 17;
// Keeps the pixels of a block from falling into the same lines of a cache.
constexpr int64_t kPadding = 16;

// Who votes, in runs of neighbours. Single votes of many patches are neighbours too.
struct Voters {
  const float* features;
  VotesView<float> votes;
  int64_t batch_step, y_step, x_step;  // in the features, from vote to vote

  explicit Voters(const VoteHeadParams& params)
      : features(params.features.data),
        votes(params.votes),
        batch_step(params.features.batch_stride),
        y_step(params.stride * params.features.y_stride),
        x_step(params.stride * params.features.x_stride) {
    if (votes.height != 1 || votes.width != 1) return;
    votes.width = votes.batch;
    votes.x_stride = votes.batch_stride;
    votes.batch = 1;
    x_step = batch_step;
  }

  int64_t num_runs() const { return votes.batch * votes.height * runs_in_row(votes.width); }

  PixelRun run(int64_t index) const {
    const int64_t row = index / runs_in_row(votes.width);
    return run_of_row(features + row / votes.height * batch_step + row % votes.height * y_step,
                      votes.width, x_step, index % runs_in_row(votes.width));
  }

  // Where the first vote of a run belongs.
  float* destination(int64_t index) const {
    const int64_t row = index / runs_in_row(votes.width);
    const int64_t x = begin_of_run(votes.width, index % runs_in_row(votes.width));
    return votes.data + row / votes.height * votes.batch_stride +
           row % votes.height * votes.y_stride + x * votes.x_stride;
  }
};

inline int64_t vote_head_runs(const VoteHeadParams& params) { return Voters(params).num_runs(); }

// Memory for the pixels of one block, and the way through the hidden layers.
class HiddenBlock {
 public:
  // `width`: units of the first hidden layer that are wanted at a time.
  HiddenBlock(const VoteHeadParams& params, const Voters& voters, int64_t width)
      : params_(params),
        voters_(voters),
        taps_(taps_of(params.features, params.kernel_size, params.dilation)) {
    for (int64_t l = 1; l + 1 < params.num_layers; ++l)
      width = std::max(width, params.layers[l].outputs);
    step_ = width + kPadding;
    const int64_t size = kRunsPerBlock * Simd::kMaxPixels * step_;
    memory_ = aligned_floats(2 * size);
    units_ = memory_.get();
    other_ = units_ + size;
  }

  // Units [first, last) of the first layer.
  void run_first_layer(int64_t begin, int64_t end, int64_t first, int64_t last, bool rectified) {
    num_runs_ = end - begin;
    num_pixels_ = 0;
    for (int64_t r = 0; r < num_runs_; ++r) {
      runs_[r] = voters_.run(begin + r);
      num_pixels_ += runs_[r].count;
    }
    convolve(runs_, num_runs_, voters_.x_step, taps_, params_.layers[0], first, last,
             {units_, step_}, rectified);
  }

  void run_layer(int64_t index) {
    const float* pixel = units_;
    for (int64_t r = 0; r < num_runs_; ++r) {
      runs_[r].first = pixel;
      pixel += runs_[r].count * step_;
    }
    const PackedLayer& layer = params_.layers[index];
    convolve(runs_, num_runs_, step_, {1, 0, 1, 0, layer.inputs}, layer, 0, layer.outputs,
             {other_, step_}, true);
    std::swap(units_, other_);
  }

  const float* units() const { return units_; }
  int64_t step() const { return step_; }
  int64_t num_pixels() const { return num_pixels_; }

 private:
  const VoteHeadParams& params_;
  const Voters& voters_;
  Taps taps_;
  int64_t step_;
  AlignedFloats memory_;
  float *units_, *other_;  // of this layer and of the next
  PixelRun runs_[kRunsPerBlock];
  int64_t num_runs_, num_pixels_;
};

// A head without hidden layers: the convolution gives the logits.
inline void vote_without_hidden_layer(const VoteHeadParams& params, const Voters& voters,
                                      int64_t begin, int64_t end) {
  HiddenBlock block(params, voters, params.layers[0].outputs);
  for (int64_t run = begin; run < end; run += kRunsPerBlock) {
    const int64_t stop = std::min(end, run + kRunsPerBlock);
    block.run_first_layer(run, stop, 0, params.layers[0].outputs, false);
    const float* logits = block.units();
    for (int64_t r = run; r < stop; ++r) {
      float* vote = voters.destination(r);
      for (int64_t p = voters.run(r).count; p > 0; --p) {
        for (int64_t o = 0; o < voters.votes.num_votes * kChannelsPerVote; ++o)
          vote[o * voters.votes.channel_stride] = activate_vote(logits[o], o);
        logits += block.step();
        vote += voters.votes.x_stride;
      }
    }
  }
}

inline void vote_head(const VoteHeadParams& params, int64_t begin, int64_t end) {
  const Voters voters(params);
  if (params.num_layers == 1) return vote_without_hidden_layer(params, voters, begin, end);
  const PackedLayer& last = params.layers[params.num_layers - 1];
  // Deeper heads need all units of one hidden layer for the next.
  const bool one_hidden_layer = params.num_layers == 2;
  const int64_t num_hidden = params.layers[0].outputs;
  const int64_t hidden_per_pass =
      one_hidden_layer ? std::min(kHiddenPerPass, num_hidden) : num_hidden;
  const int64_t parts_step = last.outputs * kPartialSums;
  const int64_t pixels_per_pass = std::max<int64_t>(1, kPartsPerPass / parts_step);
  const int64_t runs_per_pass =
      std::max(kRunsPerBlock, pixels_per_pass / Simd::kMaxPixels / kRunsPerBlock * kRunsPerBlock);
  HiddenBlock block(params, voters, hidden_per_pass);
  const AlignedFloats parts =
      aligned_floats(std::min(runs_per_pass, end - begin) * Simd::kMaxPixels * parts_step);

  for (int64_t pass = begin; pass < end; pass += runs_per_pass) {
    const int64_t pass_end = std::min(end, pass + runs_per_pass);
    for (int64_t first = 0; first < num_hidden; first += hidden_per_pass) {
      float* to = parts.get();
      for (int64_t run = pass; run < pass_end; run += kRunsPerBlock) {
        const int64_t stop = std::min(num_hidden, first + hidden_per_pass);
        block.run_first_layer(run, std::min(pass_end, run + kRunsPerBlock), first, stop, true);
        for (int64_t l = 1; l + 1 < params.num_layers; ++l) block.run_layer(l);
        const int64_t size = block.num_pixels() * parts_step;
        if (first == 0) std::fill(to, to + size, 0.0f);
        add_to_votes(block.units(), block.step(), block.num_pixels(), first,
                     one_hidden_layer ? stop - first : last.inputs, last, to);
        to += size;
      }
    }
    const float* from = parts.get();
    for (int64_t run = pass; run < pass_end; ++run) {
      float* vote = voters.destination(run);
      for (int64_t p = voters.run(run).count; p > 0; --p) {
        finish_votes(from, last, vote, voters.votes.channel_stride);
        from += parts_step;
        vote += voters.votes.x_stride;
      }
    }
  }
}
