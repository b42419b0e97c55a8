#include <torch/csrc/stable/library.h>

#include "vote_map.h"
#include "voting_cuda.h"

namespace dvfast {

STABLE_TORCH_LIBRARY_IMPL(dvfast, CUDA, m) {
  m.impl("vote_map", TORCH_BOX(&ops::vote_map_forward<CudaVoting>));
  m.impl("vote_map_backward", TORCH_BOX(&ops::vote_map_backward<CudaVoting>));
}

}  // namespace dvfast
