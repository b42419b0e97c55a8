#include <torch/csrc/stable/library.h>

#include "../cpu/patches.h"
#include "../cpu/voting_loss.h"
#include "parallel.h"
#include "voting_loss.h"

namespace dvfast {
namespace {

constexpr int64_t kBlocksPerThread = 4;

struct Cpu {
  explicit Cpu(const Tensor&) {}

  template <typename T, typename Target>
  void operator()(const VotingLossParams<T, Target>& params, compute_t<T>* total) const {
    const int64_t blocks = num_blocks(num_patches(params.logits));
    in_parallel(0, blocks, kBlocksPerThread,
                [&](int64_t begin, int64_t end) { voting_loss<T, Target>(params, begin, end); });
    if (total != nullptr) {
      *total = static_cast<compute_t<T>>(sum_of_blocks(params.block_loss, blocks));
    }
  }

  template <typename T>
  void operator()(const VotingLossBackwardParams<T>& params) const {
    in_parallel(0, num_blocks(num_patches(params.gradient)), kBlocksPerThread,
                [&](int64_t begin, int64_t end) { voting_loss_backward<T>(params, begin, end); });
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(dvfast, CPU, m) {
  m.impl("voting_loss", TORCH_BOX(&ops::voting_loss_forward<Cpu>));
  m.impl("voting_loss_backward", TORCH_BOX(&ops::voting_loss_backward<Cpu>));
}

}  // namespace dvfast
