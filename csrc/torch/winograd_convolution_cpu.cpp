#include <torch/csrc/stable/library.h>

#include "../cpu/winograd_convolution.h"
#include "parallel.h"
#include "winograd_convolution.h"

namespace dvfast {
namespace {

constexpr int64_t kSmallestTiles = 14;

struct Cpu {
  explicit Cpu(const Tensor&) {}

  void operator()(const WinogradConvolutionParams& params) const {
    parallel_in_pieces(
        winograd_convolution_tiles(params), kSmallestTiles,
        [&](int64_t begin, int64_t end) { winograd_convolution(params, begin, end); });
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(dvfast, CPU, m) {
  m.impl("winograd_convolution", TORCH_BOX(&ops::winograd_convolution<Cpu>));
}

}  // namespace dvfast
