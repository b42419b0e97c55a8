// The head of the network: fully connected layers over windows of the features, and the hybrid
// activation. Hidden layers are made for some hundred pixels at a time and never leave the cache.
//
// Works over runs [begin, end) of votes that are neighbours in a row.
#pragma once

#include "../core/network.h"

namespace dvfast {

int64_t vote_head_runs(const VoteHeadParams& params);

void vote_head(const VoteHeadParams& params, int64_t begin, int64_t end);

}  // namespace dvfast
