// Eq. 6, the Parzen window. It is a product of one factor per axis, each truncated to `window`
// pixels and not renormalised.
#pragma once

#include "arithmetic.h"

namespace dvfast {

constexpr int64_t kMaxWindow = 255;
constexpr double kMinSigma = 0.01;  // pixels; far below, 1 / sigma^2 overflows a float

template <typename T>
struct Gaussian {
  T scale;     // 1 / (sqrt(2 pi) sigma): once per axis
  T exponent;  // -1 / (2 sigma^2)
  T slope;     // 1 / sigma^2

  DVFAST_INLINE T operator()(T distance) const {
    return scale * exponential(exponent * distance * distance);
  }
  // Derivative with respect to the centre, where `distance` = pixel - centre.
  DVFAST_INLINE T derivative(T distance) const { return (*this)(distance)*slope * distance; }
};

template <typename T>
DVFAST_INLINE Gaussian<T> make_gaussian(double sigma) {
  constexpr double kInverseSqrtTwoPi = 0.39894228040143267794;
  return {T(kInverseSqrtTwoPi / sigma), T(-0.5 / (sigma * sigma)), T(1.0 / (sigma * sigma))};
}

enum class Tap { kValue, kDerivative };

// Weight i of the window's, computed in double whatever the filter works in.
template <typename T>
DVFAST_INLINE T gaussian_tap(double sigma, int64_t window, Tap tap, int64_t i) {
  const Gaussian<double> gaussian = make_gaussian<double>(sigma);
  const double distance = static_cast<double>(i - window / 2);
  return static_cast<T>(tap == Tap::kValue ? gaussian(distance) : gaussian.derivative(distance));
}

}  // namespace dvfast
