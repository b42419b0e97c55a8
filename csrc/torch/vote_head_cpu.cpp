#include <torch/csrc/stable/library.h>

#include "../cpu/vote_head.h"
#include "parallel.h"
#include "vote_head.h"

namespace dvfast {
namespace {

constexpr int64_t kSmallestRuns = 16;

struct Cpu {
  explicit Cpu(const Tensor&) {}

  void operator()(const VoteHeadParams& params) const {
    parallel_in_pieces(vote_head_runs(params), kSmallestRuns,
                       [&](int64_t begin, int64_t end) { vote_head(params, begin, end); });
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(dvfast, CPU, m) { m.impl("vote_head", TORCH_BOX(&ops::vote_head<Cpu>)); }

}  // namespace dvfast
