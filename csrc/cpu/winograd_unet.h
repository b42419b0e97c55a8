// A U-Net by Winograd's algorithm, from top to bottom: what one layer makes the next one takes
// while it is in the cache, no row is made twice, and of no map more rows are kept than are needed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <vector>

#include "../core/winograd.h"
#include "aligned.h"
#include "ordered_work.h"
#include "trunk_layer.h"
#include "vote_head.h"
#include "winograd_convolution.h"

namespace dvfast {

// The rows of a map that are still needed. Row y has the place y modulo their number.
class RowRing {
 public:
  RowRing(int64_t height, int64_t width, int64_t channels)
      : height_(height), row_size_(width * channels), channels_(channels) {}

  int64_t height() const { return height_; }
  int64_t channels() const { return channels_; }
  int64_t made() const { return made_; }
  // Up to here there are all rows, and below each of them the next, if the map has one.
  int64_t with_neighbours() const {
    return made_ == height_ ? made_ : std::max<int64_t>(0, made_ - 1);
  }

  void made_up_to(int64_t row) {
    made_ = row;
    capacity_ = std::max(capacity_, made_ - first_);
  }
  void let_go_up_to(int64_t row) { first_ = std::max(first_, row); }

  // What it takes to go on as before.
  int64_t size() const { return capacity_ * row_size_; }
  void lie_at(float* data) { data_ = data; }
  float* row(int64_t y) const { return data_ + y % capacity_ * row_size_; }

 private:
  int64_t height_, row_size_, channels_;
  int64_t first_ = 0, made_ = 0, capacity_ = 0;
  float* data_ = nullptr;
};

class WinogradUnet {
 public:
  WinogradUnet(const WinogradUnetParams& params, int64_t threads)
      : params_(params), threads_(threads) {
    const PackedLayer* layer = params.layers;
    RowRing* below = nullptr;
    std::vector<RowRing*> skipped;
    for (int64_t level = 0; level < params.levels; ++level) {
      RowRing* inner = add_ring(level, layer->outputs);
      if (level == 0)
        add_step(Step::kFirst, layer++, level, {}, inner, nullptr);
      else
        add_step(Step::kLayer, layer++, level, {{below, 1, params.widths[level - 1]}}, inner,
                 nullptr);
      // Levels that the way up does not come back to are only pooled.
      RowRing* output = level >= params.finest ? add_ring(level, layer->outputs) : nullptr;
      below = level + 1 < params.levels ? add_ring(level + 1, layer->outputs) : nullptr;
      add_step(Step::kLayer, layer++, level, {{inner, 1, params.widths[level]}}, output, below);
      skipped.push_back(output);
    }
    RowRing* features = skipped.back();
    for (int64_t level = params.levels - 2; level >= params.finest; --level) {
      RowRing* inner = add_ring(level, layer->outputs);
      add_step(Step::kLayer, layer++, level,
               {{features, 2, params.widths[level + 1]}, {skipped[level], 1, params.widths[level]}},
               inner, nullptr);
      features = add_ring(level, layer->outputs);
      add_step(Step::kLayer, layer++, level, {{inner, 1, params.widths[level]}}, features, nullptr);
    }
    add_step(Step::kVotes, layer, params.finest, {{features, 1, params.widths[params.finest]}},
             nullptr, nullptr);
    plan(0);
  }

  // Numbers of memory that it takes.
  int64_t workspace() const {
    int64_t size = 0;
    for (const RowRing& ring : rings_) size += filled_up_to_line(ring.size());
    return size;
  }

  // together(f) calls f(thread) for every thread, at once if it can.
  template <typename Together>
  void run(float* workspace, const Together& together) {
    for (RowRing& ring : rings_) {
      ring.lie_at(workspace);
      workspace += filled_up_to_line(ring.size());
    }
    std::vector<int64_t> pieces;
    for (const Task& task : tasks_) pieces.push_back(pieces_of(task));
    OrderedWork work(std::move(pieces), threads_);
    together([&](int64_t thread) {
      work.work(thread, [&](size_t i, const auto& take) {
        const Task& task = tasks_[i];
        if (task.step->kind == Step::kLayer) return make_layer(task, take);
        for (int64_t piece; (piece = take()) >= 0;) {
          const int64_t width = task.step->width;
          const int64_t left = width * piece / threads_, right = width * (piece + 1) / threads_;
          if (left == right) continue;
          if (task.step->kind == Step::kFirst)
            make_first(task, left, right);
          else
            for (int64_t y = task.begin; y < task.end; ++y) make_votes(*task.step, y, left, right);
        }
      });
    });
  }

 private:
  struct Input {
    RowRing* rows;
    int64_t factor;  // by which it is enlarged
    int64_t channels;
  };

  struct Step {
    enum Kind { kFirst, kLayer, kVotes } kind;
    const PackedLayer* layer;
    std::vector<Input> inputs;
    RowRing *output, *pooled;
    int64_t height, width;
    int64_t at_a_time;  // rows
    int64_t made;       // as planned so far
  };

  // Some rows of a step.
  struct Task {
    const Step* step;
    int64_t begin, end;
  };

  // Tiles that are multiplied together, and how many such groups a layer makes at a time, for every
  // thread: with more than one, threads can help another that was held up. The coarser the level,
  // the more rows of the finer ones wait until it has enough; there fewer do.
  static constexpr int64_t kTilesInGroup = 28, kGroupsAtATime = 6;
  static constexpr int64_t kCoarseTilesAtATime = 14, kMostCoarseTiles = 112;
  static constexpr int64_t kFirstCoarseLevel = 2;

  static int64_t num_tiles(int64_t height, int64_t width) {
    WinogradConvolutionParams params{};
    params.batch = 1;
    params.height = height;
    params.width = width;
    return winograd_convolution_tiles(params);
  }

  static int64_t filled_up_to_line(int64_t numbers) { return filled_up(numbers, 16); }

  RowRing* add_ring(int64_t level, int64_t channels) {
    rings_.emplace_back(params_.height >> level, params_.width >> level, channels);
    return &rings_.back();
  }

  void add_step(typename Step::Kind kind, const PackedLayer* layer, int64_t level,
                std::vector<Input> inputs, RowRing* output, RowRing* pooled) {
    const int64_t width = params_.width >> level;
    const int64_t tiles = level < kFirstCoarseLevel
                              ? threads_ * kTilesInGroup * kGroupsAtATime
                              : std::min(threads_ * kCoarseTilesAtATime, kMostCoarseTiles);
    const int64_t tiles_in_row = num_tiles(kUnetOutputs, width);
    const int64_t rows = divide_up(tiles, tiles_in_row);
    steps_.push_back({kind, layer, std::move(inputs), output, pooled, params_.height >> level,
                      width, rows * kUnetOutputs, 0});
  }

  // The later steps go first: what was made last is in the cache.
  void plan(size_t index) {
    if (index < steps_.size())
      while (go_on(steps_[index])) plan(index + 1);
  }

  // Plans some of the rows that can be made, if there are enough; whether there were.
  bool go_on(Step& step) {
    int64_t end = step.height;
    for (const Input& input : step.inputs) {
      const bool alone = step.kind == Step::kVotes;
      end = std::min(end,
                     input.factor * (alone ? input.rows->made() : input.rows->with_neighbours()));
    }
    if (end < step.height || end > step.made + step.at_a_time) {
      // Whole tiles, and an even number of rows for pooling.
      end = std::min(end / kUnetOutputs * kUnetOutputs, step.made + step.at_a_time);
      if (end < step.made + step.at_a_time) return false;
    }
    if (end == step.made) return false;
    tasks_.push_back({&step, step.made, end});
    if (step.output) step.output->made_up_to(end);
    if (step.pooled) step.pooled->made_up_to(end / 2);
    for (const Input& input : step.inputs) input.rows->let_go_up_to(end / input.factor - 1);
    step.made = end;
    return true;
  }

  // As many for every thread, and of a layer none that ends with a few tiles.
  int64_t pieces_of(const Task& task) const {
    if (task.step->kind != Step::kLayer) return threads_;
    const int64_t groups = divide_up(tiles_of(task), kTilesInGroup);
    return filled_up(groups, threads_);
  }

  static int64_t tiles_of(const Task& task) {
    return num_tiles(task.end - task.begin, task.step->width);
  }

  template <typename Take>
  void make_layer(const Task& task, const Take& take) const {
    const Step& step = *task.step;
    WinogradConvolutionParams params{};
    params.num_maps = static_cast<int64_t>(step.inputs.size());
    params.batch = 1;
    params.height = task.end - task.begin;
    params.width = step.width;
    params.above = std::min<int64_t>(1, task.begin);
    params.below = std::min<int64_t>(1, step.height - task.end);
    params.layer = *step.layer;
    params.layer.inputs = 0;
    std::vector<const float*> rows[kMaxUnetMaps];
    for (int64_t m = 0; m < params.num_maps; ++m) {
      const Input& input = step.inputs[m];
      const int64_t last = task.end / input.factor + params.below;
      for (int64_t y = task.begin / input.factor - params.above; y < last; ++y)
        rows[m].push_back(input.rows->row(y));
      const auto height = static_cast<int64_t>(rows[m].size());
      params.maps[m] = {{rows[m].data(), height, input.rows->channels()},
                        input.channels,
                        input.factor * params.above,
                        input.factor > 1};
      params.layer.inputs += input.channels;
    }
    std::vector<float*> output, pooled;
    params.output = rows_of(step.output, task.begin, task.end, output);
    params.pooled = rows_of(step.pooled, task.begin / 2, task.end / 2, pooled);
    const int64_t tiles = tiles_of(task), pieces = pieces_of(task);
    for (int64_t piece; (piece = take()) >= 0;)
      winograd_convolution(params, tiles * piece / pieces, tiles * (piece + 1) / pieces);
  }

  static RowsView<float> rows_of(const RowRing* ring, int64_t begin, int64_t end,
                                 std::vector<float*>& rows) {
    if (!ring) return {};
    for (int64_t y = begin; y < end; ++y) rows.push_back(ring->row(y));
    return {rows.data(), end - begin, ring->channels()};
  }

  // A part of the first layer, which sees the image itself.
  void make_first(const Task& task, int64_t left, int64_t right) const {
    const Step& step = *task.step;
    const int64_t top = task.begin, bottom = task.end;
    const int64_t channels = params_.image.channels, width = right - left;
    const int64_t row_size = (width + 2) * channels;
    const AlignedFloats seen = aligned_floats((bottom - top + 2) * row_size);
    for (int64_t y = top - 1; y <= bottom; ++y)
      read_image(y, left - 1, right + 1, seen.get() + (y - top + 1) * row_size);
    for (int64_t y = top; y < bottom; ++y) {
      TrunkLayerParams params{};
      params.input = {seen.get() + (y - top) * row_size,
                      1,
                      kUnetKernel,
                      width + 2,
                      channels,
                      0,
                      row_size,
                      channels};
      params.output = {step.output->row(y) + left * step.layer->outputs,
                       1,
                       1,
                       width,
                       step.layer->outputs,
                       0,
                       0,
                       step.layer->outputs};
      params.layer = *step.layer;
      params.kernel_size = kUnetKernel;
      params.dilation = 1;
      params.pool_dilation = 1;
      trunk_layer(params, 0, 1);
    }
  }

  // Some pixels of a row of the image, [x, channel], with zeros around it.
  void read_image(int64_t y, int64_t left, int64_t right, float* to) const {
    const auto& image = params_.image;
    std::fill(to, to + (right - left) * image.channels, 0.0f);
    if (y < 0 || y >= params_.height) return;
    const bool row_exists = image.rows[y] >= 0;
    const float* row = row_exists ? image.data + image.rows[y] * image.y_stride : nullptr;
    for (int64_t c = 0; c < image.channels; ++c)
      for (int64_t x = std::max<int64_t>(0, left); x < std::min(right, params_.width); ++x) {
        const bool exists = row_exists && image.columns[x] >= 0;
        const float value =
            exists ? row[c * image.channel_stride + image.columns[x] * image.x_stride] : 0.0f;
        to[(x - left) * image.channels + c] = value - kImageCentre;
      }
  }

  void make_votes(const Step& step, int64_t y, int64_t left, int64_t right) const {
    const RowRing& features = *step.inputs[0].rows;
    VoteHeadParams params{};
    params.features = {features.row(y) + left * features.channels(),
                       1,
                       1,
                       right - left,
                       features.channels(),
                       0,
                       0,
                       features.channels()};
    params.votes = params_.votes;
    params.votes.data = params_.votes.at(0, 0, y, left);
    params.votes.height = 1;
    params.votes.width = right - left;
    params.layers[0] = *step.layer;
    params.num_layers = 1;
    params.kernel_size = params.dilation = params.stride = 1;
    vote_head(params, 0, vote_head_runs(params));
  }

  const WinogradUnetParams& params_;
  const int64_t threads_;
  std::deque<RowRing> rings_;  // steps hold addresses of them
  std::deque<Step> steps_;     // tasks hold theirs
  std::vector<Task> tasks_;
};

}  // namespace dvfast
