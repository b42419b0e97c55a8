#include <torch/csrc/stable/library.h>

#include "../cpu/winograd_head.h"
#include "parallel.h"
#include "winograd_head.h"

namespace dvfast {
namespace {

constexpr int64_t kSmallestTiles = 24;

struct Cpu {
  explicit Cpu(const Tensor&) {}

  void operator()(const WinogradHeadParams& params) const {
    parallel_in_pieces(winograd_head_tiles(params), kSmallestTiles,
                       [&](int64_t begin, int64_t end) { winograd_head(params, begin, end); });
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(dvfast, CPU, m) {
  m.impl("winograd_head", TORCH_BOX(&ops::winograd_head<Cpu>));
}

}  // namespace dvfast
