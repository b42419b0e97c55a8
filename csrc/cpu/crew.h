// Threads that stay together through many short pieces of work. One leads and hands it out; nobody
// waits for a thread that has nothing in hand, and who waits for long goes to sleep, so that a core
// is free for a thread that was held up.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <vector>

namespace dvfast {

class Crew {
 public:
  explicit Crew(int64_t threads) : next_(threads), end_(threads) {}

  // What the leader, thread 0, does; others help until it is done.
  template <typename F>
  void lead(const F& f) {
    try {
      f();
    } catch (...) {
      dismiss();
      throw;
    }
    dismiss();
  }

  void help(int64_t thread) {
    for (int64_t seen = 0;;) {
      work_at_pieces(thread);
      if (!wait(changed_, [&] { return call_.load(std::memory_order_acquire) != seen; })) continue;
      seen = call_.load(std::memory_order_acquire);
      if (seen < 0) return;
    }
  }

  // The leader's: f(i) for all i of [0, total). Neighbours go to the same thread in every call of
  // as many: what one made the next finds in its own cache. A thread that is done helps the others.
  template <typename F>
  void operator()(int64_t total, const F& f) {
    const auto threads = static_cast<int64_t>(next_.size());
    bool anyone_asleep;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      for (int64_t t = 0; t < threads; ++t) {
        next_[t] = total * t / threads;
        end_[t] = total * (t + 1) / threads;
      }
      work_ = &f;
      make_ = [](const void* work, int64_t i) { (*static_cast<const F*>(work))(i); };
      unfinished_.store(total, std::memory_order_relaxed);
      call_.fetch_add(1, std::memory_order_release);
      anyone_asleep = asleep_ > 0;
    }
    if (anyone_asleep) changed_.notify_all();
    work_at_pieces(0);
    const auto finished = [&] { return unfinished_.load(std::memory_order_acquire) == 0; };
    while (!wait(finished_, finished)) continue;
    if (error_) std::rethrow_exception(error_);
  }

 private:
  // Checks before going to sleep, a tenth of a millisecond or so.
  static constexpr int kPatience = 3000;

  void dismiss() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      call_.store(-1, std::memory_order_release);
    }
    changed_.notify_all();
  }

  void work_at_pieces(int64_t thread) {
    const void* work;
    void (*make)(const void*, int64_t);
    for (int64_t piece; (piece = take(thread, work, make)) >= 0;) {
      try {
        make(work, piece);
      } catch (...) {
        const std::lock_guard<std::mutex> lock(mutex_);
        error_ = std::current_exception();
      }
      if (unfinished_.fetch_sub(1, std::memory_order_acq_rel) > 1) continue;
      const std::lock_guard<std::mutex> lock(mutex_);
      if (asleep_ > 0) finished_.notify_all();
    }
  }

  int64_t take(int64_t thread, const void*& work, void (*&make)(const void*, int64_t)) {
    const std::lock_guard<std::mutex> lock(mutex_);
    work = work_;
    make = make_;
    const size_t threads = next_.size();
    for (size_t i = 0; i < threads; ++i) {
      const size_t place = (thread + i) % threads;
      if (next_[place] < end_[place]) return next_[place]++;
    }
    return -1;
  }

  // Whether it is so; if not, one was woken.
  template <typename F>
  bool wait(std::condition_variable& condition, const F& so) {
    for (int i = 0; i < kPatience; ++i) {
      if (so()) return true;
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    }
    std::unique_lock<std::mutex> lock(mutex_);
    if (so()) return true;
    ++asleep_;
    condition.wait(lock);
    --asleep_;
    return so();
  }

  std::mutex mutex_;
  std::condition_variable changed_, finished_;
  std::vector<int64_t> next_, end_;  // pieces of every thread that are left
  const void* work_ = nullptr;
  void (*make_)(const void*, int64_t) = nullptr;
  std::atomic<int64_t> unfinished_{0}, call_{0};
  int64_t asleep_ = 0;
  std::exception_ptr error_;
};

}  // namespace dvfast
