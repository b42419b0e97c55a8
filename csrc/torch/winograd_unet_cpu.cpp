#include <torch/csrc/stable/library.h>

#include "../cpu/winograd_unet.h"
#include "parallel.h"
#include "winograd_unet.h"

namespace dvfast {
namespace {

struct Cpu {
  explicit Cpu(const Tensor&) {}

  void operator()(const WinogradUnetParams& params) const {
    WinogradUnet unet(params, static_cast<int64_t>(torch::stable::get_num_threads()));
    const AlignedFloats workspace = aligned_floats(unet.workspace());
    unet.run(workspace.get(), [](int64_t total, const auto& f) { parallel_in_places(total, f); });
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(dvfast, CPU, m) {
  m.impl("winograd_unet", TORCH_BOX(&ops::winograd_unet<Cpu>));
}

}  // namespace dvfast
