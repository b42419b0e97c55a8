#include <torch/csrc/stable/library.h>

#include "../cpu/trunk_layer.h"
#include "parallel.h"
#include "trunk_layer.h"

namespace dvfast {
namespace {

constexpr int64_t kSmallestRows = 4;

struct Cpu {
  explicit Cpu(const Tensor&) {}

  void operator()(const TrunkLayerParams& params) const {
    parallel_in_pieces(params.output.batch * params.output.height, kSmallestRows,
                       [&](int64_t begin, int64_t end) { trunk_layer(params, begin, end); });
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(dvfast, CPU, m) {
  m.impl("trunk_layer", TORCH_BOX(&ops::trunk_layer<Cpu>));
}

}  // namespace dvfast
