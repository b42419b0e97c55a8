#include <torch/csrc/stable/library.h>

#include "parzen_density.h"
#include "voting_cpu.h"

namespace dvfast {

STABLE_TORCH_LIBRARY_IMPL(dvfast, CPU, m) {
  m.impl("parzen_density", TORCH_BOX(&ops::parzen_density_forward<CpuVoting>));
  m.impl("parzen_density_backward", TORCH_BOX(&ops::parzen_density_backward<CpuVoting>));
}

}  // namespace dvfast
