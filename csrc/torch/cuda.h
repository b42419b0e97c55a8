// The device and stream that torch wants work on. The binary is one for CPU-only and CUDA builds of
// torch: what only the latter has is declared weak, and its absence is an error at the call.
#pragma once

#include <cuda_runtime.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/headeronly/util/shim_utils.h>

#include "tensors.h"

extern "C" __attribute__((weak)) AOTITorchError
aoti_torch_get_current_cuda_stream(int32_t device_index, void** stream);

namespace dvfast {

// Makes the tensor's device current for as long as it lives.
class CudaScope {
 public:
  explicit CudaScope(const Tensor& tensor) : guard_(tensor.get_device_index()) {
    DVFAST_CHECK(aoti_torch_get_current_cuda_stream != nullptr,
                 "a CUDA tensor came, but this torch is built without CUDA");
    void* stream = nullptr;
    TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(tensor.get_device_index(), &stream));
    stream_ = static_cast<cudaStream_t>(stream);
  }

  cudaStream_t stream() const { return stream_; }

  static void check(cudaError_t error, const char* operation) {
    if (error != cudaSuccess) (void)cudaGetLastError();  // told here, and not once more later
    DVFAST_CHECK(error == cudaSuccess, "dvfast ", operation, ": ", cudaGetErrorString(error));
  }

 private:
  torch::stable::accelerator::DeviceGuard guard_;
  cudaStream_t stream_ = nullptr;
};

}  // namespace dvfast
