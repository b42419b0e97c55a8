// A U-Net by Winograd's algorithm: checks and allocation, for any device. Device{image}(params)
// runs it over one image.
#pragma once

#include <vector>

#include "../core/winograd.h"
#include "network.h"

namespace dvfast::ops {

// Which rows or columns of an image stand at the places of a larger one; -1 for zeros.
inline const int64_t* places(const Tensor& tensor, const char* name, int64_t size,
                             const Tensor& image) {
  check_dtype(tensor, name, {ScalarType::Long});
  check_same_device(tensor, name, image, "image");
  DVFAST_CHECK(tensor.dim() == 1 && tensor.is_contiguous(), name,
               " must be contiguous with one dimension, got ", describe(tensor));
  const auto* numbers = static_cast<const int64_t*>(tensor.data_ptr());
  for (int64_t i = 0; i < tensor.size(0); ++i)
    DVFAST_CHECK(numbers[i] >= -1 && numbers[i] < size, name, " must be -1 to ", size - 1, ", got ",
                 numbers[i], " at ", i);
  return numbers;
}

inline WinogradUnetParams::Image image_of(const Tensor& image, const Tensor& rows,
                                          const Tensor& columns) {
  check_dtype(image, "image", {ScalarType::Float});
  DVFAST_CHECK(image.dim() == 4 && image.size(3) > 0, "image must be [B, h, w, C], got ",
               describe(image));
  return {static_cast<const float*>(image.data_ptr()),
          image.size(3),
          image.stride(3),
          image.stride(1),
          image.stride(2),
          places(rows, "rows", image.size(1), image),
          places(columns, "columns", image.size(2), image)};
}

inline void set_levels(WinogradUnetParams& params, const std::vector<int64_t>& widths,
                       int64_t finest) {
  params.levels = static_cast<int64_t>(widths.size());
  DVFAST_CHECK(params.levels >= 2 && params.levels <= kMaxUnetLevels, "widths must be of 2 to ",
               kMaxUnetLevels, " levels, got ", params.levels);
  DVFAST_CHECK(finest >= 0 && finest < params.levels, "finest must be 0 to ", params.levels - 1,
               ", got ", finest);
  params.finest = finest;
  for (int64_t level = 0; level < params.levels; ++level) {
    DVFAST_CHECK(widths[level] >= 1 && widths[level] <= kMaxGeometry,
                 "widths must be between 1 and ", kMaxGeometry, ", got ", widths[level]);
    params.widths[level] = widths[level];
  }
  const int64_t coarsest = int64_t{1} << (params.levels - 1);
  DVFAST_CHECK(params.height % coarsest == 0 && params.width % coarsest == 0,
               "rows and columns must be multiples of ", coarsest, ", got ", params.height, " and ",
               params.width);
}

inline void set_layers(WinogradUnetParams& params, const std::vector<Tensor>& weights,
                       const std::vector<Tensor>& biases, int64_t num_votes, const Tensor& image) {
  const auto num_layers = 2 * params.levels + 2 * (params.levels - 1 - params.finest) + 1;
  DVFAST_CHECK(
      static_cast<int64_t>(weights.size()) == num_layers && weights.size() == biases.size(),
      "weights and biases must be of ", num_layers, " layers, got ", weights.size(), " and ",
      biases.size());
  size_t i = 0;
  const auto add = [&](int64_t taps, int64_t inputs, int64_t outputs) {
    params.layers[i] = packed_layer(weights[i], biases[i], taps, inputs, "weight", image);
    DVFAST_CHECK(params.layers[i].outputs == filled_up(outputs, kChannelBlock),
                 "bias must be filled up to ", filled_up(outputs, kChannelBlock), ", got ",
                 describe(biases[i]));
    ++i;
  };
  const int64_t* widths = params.widths;
  for (int64_t level = 0; level < params.levels; ++level) {
    if (level == 0)
      add(kUnetKernel * kUnetKernel, params.image.channels, widths[0]);
    else
      add(kWinogradProducts, widths[level - 1], widths[level]);
    add(kWinogradProducts, widths[level], widths[level]);
  }
  for (int64_t level = params.levels - 2; level >= params.finest; --level) {
    add(kWinogradProducts, widths[level + 1] + widths[level], widths[level]);
    add(kWinogradProducts, widths[level], widths[level]);
  }
  add(1, filled_up(widths[params.finest], kChannelBlock), kChannelsPerVote * num_votes);
}

template <typename Device>
Tensor winograd_unet(const Tensor& image, const Tensor& rows, const Tensor& columns,
                     std::vector<Tensor> weights, std::vector<Tensor> biases,
                     std::vector<int64_t> widths, int64_t finest, int64_t num_votes) {
  WinogradUnetParams params{};
  params.image = image_of(image, rows, columns);
  params.height = rows.size(0);
  params.width = columns.size(0);
  set_levels(params, widths, finest);
  DVFAST_CHECK(num_votes >= 1 && num_votes <= kMaxGeometry, "num_votes must be between 1 and ",
               kMaxGeometry, ", got ", num_votes);
  set_layers(params, weights, biases, num_votes, image);
  Tensor votes = allocate(image, {image.size(0), kChannelsPerVote * num_votes,
                                  params.height >> finest, params.width >> finest});
  params.votes = votes_view<float>(votes, "votes");
  params.votes.batch = 1;
  if (votes.numel() == 0) return votes;
  const Device device{image};
  for (int64_t b = 0; b < image.size(0); ++b) {
    device(params);
    params.image.data += image.stride(0);
    params.votes.data += params.votes.batch_stride;
  }
  return votes;
}

}  // namespace dvfast::ops
