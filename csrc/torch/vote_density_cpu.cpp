#include <torch/csrc/stable/library.h>

#include "vote_density.h"
#include "voting_cpu.h"

namespace dvfast {

STABLE_TORCH_LIBRARY_IMPL(dvfast, CPU, m) {
  m.impl("vote_density", TORCH_BOX(&ops::vote_density_forward<CpuVoting>));
  m.impl("vote_density_backward", TORCH_BOX(&ops::vote_density_backward<CpuVoting>));
}

}  // namespace dvfast
