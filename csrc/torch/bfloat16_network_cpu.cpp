#include <torch/csrc/stable/library.h>

#include "../cpu/bfloat16_network.h"
#include "bfloat16_network.h"
#include "parallel.h"

namespace dvfast {
namespace {

constexpr int64_t kSmallestRows = 4;
constexpr int64_t kSmallestGroups = 8;

struct Cpu {
  explicit Cpu(const Tensor&) {
    DVFAST_CHECK(has_matrix_unit(),
                 "bfloat16 needs a CPU with AMX, on Linux, and this one has none");
  }

  void operator()(const Bfloat16TrunkParams& params) const {
    parallel_in_pieces(
        params.output.batch * params.output.height, kSmallestRows,
        [&](int64_t begin, int64_t end) { bfloat16_trunk_layer(params, begin, end); });
  }
  void operator()(const Bfloat16HeadParams& params) const {
    parallel_in_pieces(bfloat16_head_groups(params), kSmallestGroups,
                       [&](int64_t begin, int64_t end) { bfloat16_head(params, begin, end); });
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(dvfast, CPU, m) {
  m.impl("bfloat16_trunk_layer", TORCH_BOX(&ops::bfloat16_trunk_layer<Cpu>));
  m.impl("bfloat16_head", TORCH_BOX(&ops::bfloat16_head<Cpu>));
}

}  // namespace dvfast
