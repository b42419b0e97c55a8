#include <torch/csrc/stable/library.h>

#include "../cuda/voting_loss.h"
#include "cuda.h"
#include "voting_loss.h"

namespace dvfast {
namespace {

struct Cuda : CudaScope {
  using CudaScope::CudaScope;

  template <typename T, typename Target>
  void operator()(const VotingLossParams<T, Target>& params, compute_t<T>* total) const {
    const auto& view = params.logits;
    check(launch_voting_loss(params, stream()), "voting_loss");
    if (total != nullptr) {
      const int64_t blocks = num_blocks(view.batch * view.height * view.width);
      check(launch_total_loss(params.block_loss, blocks, total, stream()), "voting_loss");
    }
  }
  template <typename T>
  void operator()(const VotingLossBackwardParams<T>& params) const {
    check(launch_voting_loss_backward(params, stream()), "voting_loss_backward");
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(dvfast, CUDA, m) {
  m.impl("voting_loss", TORCH_BOX(&ops::voting_loss_forward<Cuda>));
  m.impl("voting_loss_backward", TORCH_BOX(&ops::voting_loss_backward<Cuda>));
}

}  // namespace dvfast
