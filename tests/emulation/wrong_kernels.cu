#include "../../csrc/cuda/async_copy.h"
#include "../../csrc/cuda/launch.h"
#include "../../csrc/cuda/shared_memory.h"
#include "wrong_kernels.h"

namespace dvfast {
namespace {

// The first six leave, in out, the numbers of each block of threads from last to first.

__global__ void barrier_left_out(const float* in, float* out, int64_t, bool right) {
  float* row = shared_array<float>();
  row[threadIdx.x] = in[first_item()];
  if (right) __syncthreads();
  out[first_item()] = row[blockDim.x - 1 - threadIdx.x];
}

__global__ void barrier_not_for_all(const float* in, float* out, int64_t, bool right) {
  float* row = shared_array<float>();
  row[threadIdx.x] = in[first_item()];
  if (right || threadIdx.x < 100) __syncthreads();
  out[first_item()] = row[blockDim.x - 1 - threadIdx.x];
}

// The first round's readers may come after the second round's writers.
__global__ void buffer_used_again(const float* in, float* out, int64_t count, bool right) {
  float* row = shared_array<float>();
  for (int64_t i = first_item(); i - threadIdx.x < count; i += item_stride()) {
    row[threadIdx.x] = in[i];
    __syncthreads();
    out[i] = row[blockDim.x - 1 - threadIdx.x];
    if (right) __syncthreads();
  }
}

__global__ void collective_not_for_all(const float* in, float* out, int64_t, bool right) {
  float* row = shared_array<float>();
  float value = in[first_item()];
  if (right || threadIdx.x % 2 == 0) value = __shfl_xor_sync(kFullWarp, value, 31);
  row[threadIdx.x] = value;
  __syncthreads();
  const unsigned int warp = threadIdx.x / kWarpSize;
  out[first_item()] = row[(blockDim.x / kWarpSize - 1 - warp) * kWarpSize + threadIdx.x % 32];
}

__global__ void copy_not_waited_for(const float* in, float* out, int64_t, bool right) {
  float* row = shared_array<float>();
  copy_async<4>(row + threadIdx.x, in + first_item());
  commit_copies();
  if (right) wait_for_copies<0>();
  __syncthreads();
  out[first_item()] = row[blockDim.x - 1 - threadIdx.x];
}

// A thread sees what it has waited for, not what others have.
__global__ void copy_waited_for_by_one(const float* in, float* out, int64_t, bool right) {
  float* row = shared_array<float>();
  copy_async<4>(row + threadIdx.x, in + first_item());
  commit_copies();
  wait_for_copies<0>();
  if (right) __syncthreads();
  out[first_item()] = row[blockDim.x - 1 - threadIdx.x];
}

// These copy, or mean to.

__global__ void return_before_barrier(const float* in, float* out, int64_t count, bool right) {
  const int64_t i = first_item();
  if (!right && i >= count) return;
  float* row = shared_array<float>();
  row[threadIdx.x] = i < count ? in[i] : 0;
  __syncthreads();
  if (i < count) out[i] = row[threadIdx.x];
}

__global__ void past_the_end(const float* in, float* out, int64_t count, bool right) {
  const int64_t i = first_item();
  if (i < count + (right ? 0 : 1)) out[i] = in[i];
}

__global__ void past_shared_memory(const float* in, float* out, int64_t count, bool right) {
  float* row = shared_array<float>();
  const int64_t i = first_item();
  row[threadIdx.x + (right ? 0 : 1)] = i < count ? in[i] : 0;
  if (i < count) out[i] = in[i];
}

__global__ void unaligned_packet(const float* in, float* out, int64_t count, bool right) {
  const int64_t i = 4 * first_item();
  if (i + 5 > count) {
    for (int64_t j = i; j < count; ++j) out[j] = in[j];
    return;
  }
  float4 packet{in[i], in[i + 1], in[i + 2], in[i + 3]};
  if (!right) packet = *reinterpret_cast<const float4*>(in + i + 1);
  *reinterpret_cast<float4*>(out + i) = packet;
}

__global__ void shared_memory_not_set(const float* in, float* out, int64_t count, bool right) {
  float* row = shared_array<float>();
  const int64_t i = first_item();
  if (right) row[threadIdx.x] = 0;
  row[threadIdx.x] += i < count ? in[i] : 0;
  if (i < count) out[i] = row[threadIdx.x];
}

// These add everything to out[0].

__global__ void lost_update(const float* in, float* out, int64_t count, bool right) {
  const int64_t i = first_item();
  if (i >= count) return;
  if (right) {
    atomicAdd(out, in[i]);
  } else {
    *out += in[i];
  }
}

__global__ void lost_update_of_blocks(const float* in, float* out, int64_t count, bool right) {
  if (threadIdx.x != 0) return;
  float sum = 0;
  for (int64_t i = first_item(); i < count && i < first_item() + blockDim.x; ++i) sum += in[i];
  if (right) {
    atomicAdd(out, sum);
  } else {
    *out += sum;
  }
}

// Counts on the first block having been first.
__global__ void order_of_blocks(const float* in, float* out, int64_t count, bool right) {
  const int64_t i = first_item();
  if (i == 0 && !right) *out = 0;
  if (i < count) atomicAdd(out, in[i]);
}

struct Flaw {
  const char* name;
  void (*kernel)(const float*, float*, int64_t, bool);
};

#define DVFAST_FLAW(name) {#name, name}
constexpr Flaw kFlaws[] = {
    DVFAST_FLAW(copy_not_waited_for),   DVFAST_FLAW(copy_waited_for_by_one),
    DVFAST_FLAW(barrier_left_out),      DVFAST_FLAW(barrier_not_for_all),
    DVFAST_FLAW(buffer_used_again),     DVFAST_FLAW(collective_not_for_all),
    DVFAST_FLAW(return_before_barrier), DVFAST_FLAW(past_the_end),
    DVFAST_FLAW(past_shared_memory),    DVFAST_FLAW(unaligned_packet),
    DVFAST_FLAW(shared_memory_not_set), DVFAST_FLAW(lost_update),
    DVFAST_FLAW(lost_update_of_blocks), DVFAST_FLAW(order_of_blocks),
};
#undef DVFAST_FLAW

}  // namespace

cudaError_t launch_wrong_kernel(const char* flaw, bool right, const float* in, float* out,
                                int64_t count, cudaStream_t stream) {
  for (const Flaw& known : kFlaws) {
    if (std::strcmp(known.name, flaw) != 0) continue;
    return launch(known.kernel, blocks_for(count, kThreadsPerBlock), kThreadsPerBlock,
                  kThreadsPerBlock * sizeof(float), stream, in, out, count, right);
  }
  return cudaErrorInvalidValue;
}

}  // namespace dvfast
