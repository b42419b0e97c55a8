#include "winograd_convolution.h"

#include <memory>
#include <utility>

#define DVFAST_KERNELS "kernels/winograd_convolution.h"
#include "each_instruction_set.h"

namespace dvfast {

int64_t winograd_convolution_tiles(const WinogradConvolutionParams& params) {
  return DVFAST_DISPATCH(winograd_convolution_tiles, params);
}

void winograd_convolution(const WinogradConvolutionParams& params, int64_t begin, int64_t end) {
  DVFAST_DISPATCH(winograd_convolution, params, begin, end);
}

}  // namespace dvfast
