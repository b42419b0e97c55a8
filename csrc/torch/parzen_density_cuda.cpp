#include <torch/csrc/stable/library.h>

#include "parzen_density.h"
#include "voting_cuda.h"

namespace dvfast {

STABLE_TORCH_LIBRARY_IMPL(dvfast, CUDA, m) {
  m.impl("parzen_density", TORCH_BOX(&ops::parzen_density_forward<CudaVoting>));
  m.impl("parzen_density_backward", TORCH_BOX(&ops::parzen_density_backward<CudaVoting>));
}

}  // namespace dvfast
