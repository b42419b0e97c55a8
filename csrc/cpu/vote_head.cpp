#include "vote_head.h"

#include <memory>
#include <utility>

#define DVFAST_KERNELS "kernels/vote_head.h"
#include "each_instruction_set.h"

namespace dvfast {

int64_t vote_head_runs(const VoteHeadParams& params) {
  return DVFAST_DISPATCH(vote_head_runs, params);
}

void vote_head(const VoteHeadParams& params, int64_t begin, int64_t end) {
  DVFAST_DISPATCH(vote_head, params, begin, end);
}

}  // namespace dvfast
