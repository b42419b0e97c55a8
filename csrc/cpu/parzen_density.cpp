#include "parzen_density.h"

#include <algorithm>

#include "../core/parzen.h"
#include "multiversion.h"
#include "sums.h"

namespace dvfast {
namespace {

// The window of one vote along one axis: pixels [first, last] of the image, and for each the value
// and slope of the Gaussian and the distance to the voter.
template <typename T>
struct AxisWindow {
  int64_t first, last;
  T value[kMaxWindow], slope[kMaxWindow], to_voter[kMaxWindow];
};

template <bool kSlope, typename T>
DVFAST_INLINE void fill_axis(const ParzenParams<T>& params, const GridAxis<T>& axis, int64_t voter,
                             const Displacement<T>& landing, int64_t size, AxisWindow<T>* out) {
  const ParzenAxis<T> centre = parzen_axis(axis, voter, landing);
  out->first = std::max<int64_t>(centre.nearest - params.window / 2, 0);
  out->last = std::min(centre.nearest + params.window / 2, size - 1);
  for (int64_t pixel = out->first; pixel <= out->last; ++pixel) {
    const int64_t i = pixel - out->first;
    const T distance = centre.to_centre(pixel);
    out->value[i] = params.gaussian(distance);
    if constexpr (kSlope) out->slope[i] = params.gaussian.derivative(distance);
    out->to_voter[i] = centre.to_voter(pixel);
  }
}

template <bool kShared, typename T>
DVFAST_INLINE int64_t scatter_rows(const ParzenScatterParams<T>& params, int64_t begin,
                                   int64_t end) {
  const auto& votes = params.votes;
  AxisWindow<T> wy, wx;
  const Add<kShared> add;
  int64_t num_void = 0;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t b = row / votes.height;
    const int64_t i = row % votes.height;
    int64_t* sums = params.sums + b * params.height * params.width;
    for (int64_t j = 0; j < votes.num_votes; ++j) {
      for (int64_t k = 0; k < votes.width; ++k) {
        Vote<T> vote;
        const VoteStatus status =
            read_vote(votes.at(b, j, i, k), votes.channel_stride, params.rules, &vote);
        num_void += status == VoteStatus::kVoid;
        if (status != VoteStatus::kCounts) continue;
        const auto& rules = params.rules;
        fill_axis<false>(params, rules.y_axis, rules.y_axis.voter(i), vote.y, params.height, &wy);
        fill_axis<false>(params, rules.x_axis, rules.x_axis.voter(k), vote.x, params.width, &wx);
        for (int64_t y = wy.first; y <= wy.last; ++y) {
          const T height = vote.confidence * wy.value[y - wy.first];
          for (int64_t x = wx.first; x <= wx.last; ++x) {
            if (!may_vote(params, wy.to_voter[y - wy.first], wx.to_voter[x - wx.first])) continue;
            add(sums + y * params.width + x, to_fixed(height * wx.value[x - wx.first]));
          }
        }
      }
    }
  }
  return num_void;
}

}  // namespace

template <typename T>
DVFAST_MULTIVERSION int64_t parzen_scatter(const ParzenScatterParams<T>& params, int64_t begin,
                                           int64_t end) {
  return params.shared ? scatter_rows<true>(params, begin, end)
                       : scatter_rows<false>(params, begin, end);
}

template <typename T>
DVFAST_MULTIVERSION void parzen_gather(const ParzenGatherParams<T>& params, int64_t begin,
                                       int64_t end) {
  const auto& votes = params.votes;
  const auto& out = params.grad_votes;
  const auto& rules = params.rules;
  AxisWindow<T> wy, wx;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t b = row / votes.height;
    const int64_t i = row % votes.height;
    for (int64_t j = 0; j < votes.num_votes; ++j) {
      for (int64_t k = 0; k < votes.width; ++k) {
        T confidence = 0, offset_y = 0, offset_x = 0;
        Vote<T> vote;
        if (read_vote(votes.at(b, j, i, k), votes.channel_stride, rules, &vote) ==
            VoteStatus::kCounts) {
          fill_axis<true>(params, rules.y_axis, rules.y_axis.voter(i), vote.y, params.height, &wy);
          fill_axis<true>(params, rules.x_axis, rules.x_axis.voter(k), vote.x, params.width, &wx);
          for (int64_t y = wy.first; y <= wy.last; ++y) {
            const int64_t v = y - wy.first;
            for (int64_t x = wx.first; x <= wx.last; ++x) {
              const int64_t u = x - wx.first;
              if (!may_vote(params, wy.to_voter[v], wx.to_voter[u])) continue;
              const T grad = *params.grad.at(b, y, x);
              confidence = fused_multiply_add(grad, wy.value[v] * wx.value[u], confidence);
              offset_y = fused_multiply_add(grad, wy.slope[v] * wx.value[u], offset_y);
              offset_x = fused_multiply_add(grad, wy.value[v] * wx.slope[u], offset_x);
            }
          }
          // A landing moves against its offset.
          offset_y *= -vote.confidence;
          offset_x *= -vote.confidence;
        }
        T* result = out.at(b, j, i, k);
        result[0] = confidence;
        result[out.channel_stride] = offset_y;
        result[2 * out.channel_stride] = offset_x;
      }
    }
  }
}

#define DVFAST_INSTANTIATE(T)                                                          \
  template int64_t parzen_scatter<T>(const ParzenScatterParams<T>&, int64_t, int64_t); \
  template void parzen_gather<T>(const ParzenGatherParams<T>&, int64_t, int64_t);
DVFAST_INSTANTIATE(float)
DVFAST_INSTANTIATE(double)
#undef DVFAST_INSTANTIATE

}  // namespace dvfast
