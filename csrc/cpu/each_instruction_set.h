// Compiles the file that DVFAST_KERNELS names once for each instruction set, in a namespace of its
// own. Vector code written by hand needs this where target_clones cannot reach: its vector type is
// another one in every version.
//
// The standard library is included before: what it defines must not be compiled for a CPU that the
// program may not run on.
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "../core/network.h"
#include "aligned.h"
#include "instruction_set.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

// GCC takes the undefined registers that its own AVX-512 intrinsics start from for a mistake.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

// What the compiler itself defines (__AVX512F__) does not follow the pragma in every version of it.
#if defined(DVFAST_ONE_INSTRUCTION_SET)
#if defined(__AVX512F__)
#define DVFAST_VECTOR_BITS 512
#elif defined(__AVX2__) && defined(__FMA__)
#define DVFAST_VECTOR_BITS 256
#else
#define DVFAST_VECTOR_BITS 128
#endif
namespace dvfast::only {
#include "kernels/simd.h"
#include DVFAST_KERNELS
}  // namespace dvfast::only
#else

#define DVFAST_VECTOR_BITS 512
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma,bmi,bmi2")
namespace dvfast::avx512 {
#include "kernels/simd.h"
#include DVFAST_KERNELS
}  // namespace dvfast::avx512
#pragma GCC pop_options
#undef DVFAST_VECTOR_BITS

#define DVFAST_VECTOR_BITS 256
#pragma GCC push_options
#pragma GCC target("avx2,fma,bmi,bmi2")
namespace dvfast::avx2 {
#include "kernels/simd.h"
#include DVFAST_KERNELS
}  // namespace dvfast::avx2
#pragma GCC pop_options
#undef DVFAST_VECTOR_BITS

#define DVFAST_VECTOR_BITS 128
namespace dvfast::portable {
#include "kernels/simd.h"
#include DVFAST_KERNELS
}  // namespace dvfast::portable
#endif
