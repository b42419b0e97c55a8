// The density operators' kernels on the CPU: who does which rows.
#pragma once

#include <algorithm>
#include <vector>

#include "../cpu/gaussian_filter.h"
#include "../cpu/parzen_density.h"
#include "../cpu/vote_map.h"
#include "parallel.h"
#include "voting.h"

namespace dvfast {

class CpuVoting {
 public:
  explicit CpuVoting(const Tensor&) {}

  template <typename T>
  void scatter(const VoteScatterParams<T>& params, int64_t* num_void) const {
    scatter_rows(scatter_votes<T>, params, num_void);
  }
  template <typename T>
  void scatter(const ParzenScatterParams<T>& params, int64_t* num_void) const {
    scatter_rows(parzen_scatter<T>, params, num_void);
  }

  template <typename T>
  void to_map(const int64_t* sums, T* map, int64_t count) const {
    in_parallel(0, count, kSumsPerThread,
                [&](int64_t begin, int64_t end) { sums_to_map<T>(sums, map, begin, end); });
  }

  template <typename T>
  Tensor filter(const Tensor& map, double sigma, int64_t window, Tap tap_y, Tap tap_x,
                double scale = 1) const {
    const std::vector<T> taps_y = gaussian_taps<T>(sigma, window, tap_y);
    const std::vector<T> taps_x = gaussian_taps<T>(sigma, window, tap_x);
    Tensor filtered = allocate(map, map.sizes());
    if (filtered.numel() == 0) return filtered;
    const GaussianFilterParams<T> params{map_view<const T>(map, "map"),
                                         static_cast<T*>(filtered.data_ptr()),
                                         taps_y.data(),
                                         taps_x.data(),
                                         window,
                                         static_cast<T>(scale)};
    in_parallel(0, params.input.batch * params.input.height, kRowsPerThread,
                [&](int64_t begin, int64_t end) { gaussian_filter<T>(params, begin, end); });
    return filtered;
  }

  template <typename T>
  void gather(const VoteGatherParams<T>& params) const {
    in_parallel(0, params.votes.batch * params.votes.height, kRowsPerThread,
                [&](int64_t begin, int64_t end) { gather_votes<T>(params, begin, end); });
  }
  template <typename T>
  void gather(const ParzenGatherParams<T>& params) const {
    in_parallel(0, params.votes.batch * params.votes.height, kRowsPerThread,
                [&](int64_t begin, int64_t end) { parzen_gather<T>(params, begin, end); });
  }

 private:
  static constexpr int64_t kRowsPerThread = 8;
  static constexpr int64_t kSumsPerThread = 1 << 15;

  // A range of rows may span images; void votes are counted by image.
  template <typename Params>
  static void scatter_rows(int64_t (*kernel)(const Params&, int64_t, int64_t), Params params,
                           int64_t* num_void) {
    const int64_t height = params.votes.height;
    params.shared = torch::stable::get_num_threads() > 1;
    in_parallel(0, params.votes.batch * height, kRowsPerThread, [&](int64_t begin, int64_t end) {
      while (begin < end) {
        const int64_t b = begin / height;
        const int64_t stop = std::min(end, (b + 1) * height);
        __atomic_fetch_add(num_void + b, kernel(params, begin, stop), __ATOMIC_RELAXED);
        begin = stop;
      }
    });
  }
};

}  // namespace dvfast
