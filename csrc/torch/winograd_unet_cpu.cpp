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
    unet.run(workspace.get(), [](const auto& f) { on_every_thread(f); });
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(dvfast, CPU, m) {
  m.impl("winograd_unet", TORCH_BOX(&ops::winograd_unet<Cpu>));
}

}  // namespace dvfast
