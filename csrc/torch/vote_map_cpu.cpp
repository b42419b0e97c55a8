#include <torch/csrc/stable/library.h>

#include "vote_map.h"
#include "voting_cpu.h"

namespace dvfast {

STABLE_TORCH_LIBRARY_IMPL(dvfast, CPU, m) {
  m.impl("vote_map", TORCH_BOX(&ops::vote_map_forward<CpuVoting>));
  m.impl("vote_map_backward", TORCH_BOX(&ops::vote_map_backward<CpuVoting>));
}

}  // namespace dvfast
