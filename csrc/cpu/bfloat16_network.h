// Trunk and head in bfloat16 on the CPU's matrix unit (AMX).
#pragma once

#include "../core/bfloat16_network.h"

namespace dvfast {

// Whether the CPU has the unit and the system lets this process use it. Asking is what makes the
// system allow it: to be called before any of the others.
bool has_matrix_unit();

// Rows [begin, end) of the output, row = b * height + y.
void bfloat16_trunk_layer(const Bfloat16TrunkParams& params, int64_t begin, int64_t end);

// Groups [begin, end) of 16 neighbouring votes.
int64_t bfloat16_head_groups(const Bfloat16HeadParams& params);
void bfloat16_head(const Bfloat16HeadParams& params, int64_t begin, int64_t end);

// Products of tiles in registers, `rounds` times four; returns how many operations they were.
double multiply_add_matrices(int64_t rounds, uint32_t seed, float& sum);

}  // namespace dvfast
