#include <torch/csrc/stable/library.h>

#include "../cpu/crew.h"
#include "../cpu/winograd_unet.h"
#include "winograd_unet.h"

namespace dvfast {
namespace {

struct Cpu {
  explicit Cpu(const Tensor&) {}

  void operator()(const WinogradUnetParams& params) const {
    const auto threads = static_cast<int64_t>(torch::stable::get_num_threads());
    WinogradUnet unet(params, threads);
    const AlignedFloats workspace = aligned_floats(unet.workspace());
    Crew crew(threads);
    torch::stable::parallel_for(0, threads, 1, [&](int64_t begin, int64_t end) {
      for (int64_t thread = begin; thread < end; ++thread)
        if (thread == 0)
          crew.lead([&] { unet.run(workspace.get(), crew); });
        else
          crew.help(thread);
    });
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(dvfast, CPU, m) {
  m.impl("winograd_unet", TORCH_BOX(&ops::winograd_unet<Cpu>));
}

}  // namespace dvfast
