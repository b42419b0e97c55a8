#include <torch/csrc/stable/library.h>

#include "../cuda/trunk_layer.h"
#include "cuda.h"
#include "trunk_layer.h"

namespace dvfast {
namespace {

struct Cuda : CudaScope {
  using CudaScope::CudaScope;

  void operator()(const TrunkLayerParams& params) const {
    check(launch_trunk_layer(params, stream()), "trunk_layer");
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(dvfast, CUDA, m) {
  m.impl("trunk_layer", TORCH_BOX(&ops::trunk_layer<Cuda>));
}

}  // namespace dvfast
