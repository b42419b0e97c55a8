#include <torch/csrc/stable/library.h>

#include "../cpu/bfloat16_network.h"
#include "bfloat16_network.h"

namespace dvfast {
namespace {

constexpr int64_t kRowsPerThread = 4;
constexpr int64_t kGroupsPerThread = 8;

struct Cpu {
  explicit Cpu(const Tensor&) {
    STD_TORCH_CHECK(has_matrix_unit(),
                    "bfloat16 needs a CPU with AMX, on Linux, and this one has none");
  }

  void operator()(const Bfloat16TrunkParams& params) const {
    torch::stable::parallel_for(
        0, params.output.batch * params.output.height, kRowsPerThread,
        [&](int64_t begin, int64_t end) { bfloat16_trunk_layer(params, begin, end); });
  }
  void operator()(const Bfloat16HeadParams& params) const {
    torch::stable::parallel_for(
        0, bfloat16_head_groups(params), kGroupsPerThread,
        [&](int64_t begin, int64_t end) { bfloat16_head(params, begin, end); });
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(dvfast, CPU, m) {
  m.impl("bfloat16_trunk_layer", TORCH_BOX(&ops::bfloat16_trunk_layer<Cpu>));
  m.impl("bfloat16_head", TORCH_BOX(&ops::bfloat16_head<Cpu>));
}

}  // namespace dvfast
