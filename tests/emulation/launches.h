// What the two modules of the emulation share.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <vector>

namespace dvfast::test {

// Throws what made a launch fail.
void check(cudaError_t error);

// Of each image, counted by the last scatter.
extern std::vector<int64_t> void_votes;

}  // namespace dvfast::test
