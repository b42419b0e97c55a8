#include <torch/csrc/stable/library.h>

#include "../cuda/vote_head.h"
#include "cuda.h"
#include "vote_head.h"

namespace dvfast {
namespace {

class Cuda : CudaScope {
 public:
  explicit Cuda(const Tensor& features) : CudaScope(features), features_(features) {}

  void operator()(const VoteHeadParams& params) const {
    const Tensor scratch = allocate(features_, {vote_head_scratch(params)}, ScalarType::Float);
    check(launch_vote_head(params, static_cast<float*>(scratch.data_ptr()), stream()), "vote_head");
  }

 private:
  const Tensor& features_;
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(dvfast, CUDA, m) {
  m.impl("vote_head", TORCH_BOX(&ops::vote_head<Cuda>));
}

}  // namespace dvfast
