// How the binary was built, as JSON, for dvfast.build_info().
#include <torch/headeronly/version.h>

#define DVFAST_STRING(x) #x
#define DVFAST_EXPAND(x) DVFAST_STRING(x)

extern "C" __attribute__((visibility("default"))) const char* dvfast_build_info() {
  return "{\"compiler\": \"" __VERSION__
         "\", \"built_with_torch\": \"" DVFAST_EXPAND(TORCH_VERSION_MAJOR) "." DVFAST_EXPAND(
             TORCH_VERSION_MINOR) "." DVFAST_EXPAND(TORCH_VERSION_PATCH)
         "\", \"cuda_sources\": " DVFAST_EXPAND(DVFAST_NUM_CUDA_SOURCES) "}";
}
