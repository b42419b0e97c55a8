// Work that is handed out to torch's threads.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>

#include "../core/rounding.h"

namespace dvfast {

// Torch's parallel_for, through whose C interface exceptions do not come as what they are.
template <typename F>
void in_parallel(int64_t begin, int64_t end, int64_t smallest, const F& f) {
  std::exception_ptr failure;
  std::mutex mutex;
  torch::stable::parallel_for(begin, end, smallest, [&](int64_t first, int64_t last) {
    try {
      f(first, last);
    } catch (...) {
      const std::lock_guard<std::mutex> lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  });
  if (failure) std::rethrow_exception(failure);
}

// Calls f(begin, end) for pieces of [0, total), large ones first, none smaller than `smallest` but
// the last. A thread takes the next piece when it is done with one, so that none waits long for
// another that was held up. For kernels that give the same bits for any cut of the work.
template <typename F>
void parallel_in_pieces(int64_t total, int64_t smallest, const F& f) {
  const auto threads = static_cast<int64_t>(torch::stable::get_num_threads());
  std::atomic<int64_t> done{0};
  const auto take_all = [&](int64_t, int64_t) {
    for (;;) {
      int64_t begin = done.load(std::memory_order_relaxed), end;
      do {
        if (begin >= total) return;
        const int64_t share = (total - begin) / (2 * threads);
        end = std::min(total, begin + std::max(smallest, share));
      } while (!done.compare_exchange_weak(begin, end, std::memory_order_relaxed));
      f(begin, end);
    }
  };
  in_parallel(0, std::min(threads, divide_up(total, smallest)), 1, take_all);
}

// Calls f(thread) for all threads, at once if there are as many.
template <typename F>
void on_every_thread(const F& f) {
  const auto threads = static_cast<int64_t>(torch::stable::get_num_threads());
  in_parallel(0, threads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t thread = begin; thread < end; ++thread) f(thread);
  });
}

}  // namespace dvfast
