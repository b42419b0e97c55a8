#include <torch/csrc/stable/library.h>

#include "../cpu/hybrid_activation.h"
#include "../cpu/patches.h"
#include "hybrid_activation.h"
#include "parallel.h"

namespace dvfast {
namespace {

constexpr int64_t kBlocksPerThread = 8;

struct Cpu {
  explicit Cpu(const Tensor&) {}

  template <typename T>
  void operator()(const HybridActivationParams<T>& params) const {
    run(hybrid_activation<T>, params, num_patches(params.input));
  }
  template <typename T>
  void operator()(const HybridBackwardParams<T>& params) const {
    run(hybrid_activation_backward<T>, params, num_patches(params.output));
  }
  template <typename T>
  void operator()(const HybridDoubleBackwardParams<T>& params) const {
    run(hybrid_activation_double_backward<T>, params, num_patches(params.output));
  }

 private:
  template <typename Params>
  static void run(void (*kernel)(const Params&, int64_t, int64_t), const Params& params,
                  int64_t patches) {
    in_parallel(0, num_blocks(patches), kBlocksPerThread,
                [&](int64_t begin, int64_t end) { kernel(params, begin, end); });
  }
};

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(dvfast, CPU, m) {
  m.impl("hybrid_activation", TORCH_BOX(&ops::hybrid_activation_forward<Cpu>));
  m.impl("hybrid_activation_backward", TORCH_BOX(&ops::hybrid_activation_backward<Cpu>));
  m.impl("hybrid_activation_double_backward",
         TORCH_BOX(&ops::hybrid_activation_double_backward<Cpu>));
}

}  // namespace dvfast
