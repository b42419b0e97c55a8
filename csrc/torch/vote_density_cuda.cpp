#include <torch/csrc/stable/library.h>

#include "vote_density.h"
#include "voting_cuda.h"

namespace dvfast {

STABLE_TORCH_LIBRARY_IMPL(dvfast, CUDA, m) {
  m.impl("vote_density", TORCH_BOX(&ops::vote_density_forward<CudaVoting>));
  m.impl("vote_density_backward", TORCH_BOX(&ops::vote_density_backward<CudaVoting>));
}

}  // namespace dvfast
