#include "gaussian_filter.h"

#include <algorithm>

#include "../core/gaussian.h"
#include "multiversion.h"

namespace dvfast {

template <typename T>
std::vector<T> gaussian_taps(double sigma, int64_t window, Tap tap) {
  std::vector<T> taps(static_cast<size_t>(window));
  for (int64_t i = 0; i < window; ++i) taps[i] = gaussian_tap<T>(sigma, window, tap, i);
  return taps;
}

template <typename T>
DVFAST_MULTIVERSION void gaussian_filter(const GaussianFilterParams<T>& params, int64_t begin,
                                         int64_t end) {
  const auto& in = params.input;
  const int64_t reach = params.window / 2;
  std::vector<T> padded(static_cast<size_t>(in.width + 2 * reach), T(0));
  T* __restrict columns = padded.data() + reach;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t b = row / in.height;
    const int64_t y = row % in.height;
    std::fill(columns, columns + in.width, T(0));
    const int64_t first = std::max<int64_t>(y - reach, 0);
    const int64_t last = std::min(y + reach, in.height - 1);
    for (int64_t v = first; v <= last; ++v) {
      const T tap = params.taps_y[v - y + reach];
      const T* __restrict source = in.at(b, v, 0);
      if (in.x_stride == 1) {
        for (int64_t x = 0; x < in.width; ++x) {
          columns[x] = fused_multiply_add(tap, source[x], columns[x]);
        }
      } else {
        for (int64_t x = 0; x < in.width; ++x) {
          columns[x] = fused_multiply_add(tap, source[x * in.x_stride], columns[x]);
        }
      }
    }
    T* __restrict output = params.output + row * in.width;
    std::fill(output, output + in.width, T(0));
    for (int64_t i = 0; i < params.window; ++i) {
      const T tap = params.taps_x[i];
      const T* source = columns - reach + i;
      for (int64_t x = 0; x < in.width; ++x) {
        output[x] = fused_multiply_add(tap, source[x], output[x]);
      }
    }
    if (params.scale != T(1)) {
      for (int64_t x = 0; x < in.width; ++x) output[x] *= params.scale;
    }
  }
}

#define DVFAST_INSTANTIATE(T)                                     \
  template std::vector<T> gaussian_taps<T>(double, int64_t, Tap); \
  template void gaussian_filter<T>(const GaussianFilterParams<T>&, int64_t, int64_t);
DVFAST_INSTANTIATE(float)
DVFAST_INSTANTIATE(double)
#undef DVFAST_INSTANTIATE

}  // namespace dvfast
