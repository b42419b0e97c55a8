// Work that several threads do in one order.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace dvfast {

// Tasks, one after the other, each cut into pieces. Every thread has a place of its own in all
// tasks, so that it finds in its cache what it made before, and helps the others when it is done
// there. Nobody waits for a thread but for the piece that it is at: one that was held up, or that
// never came, is done without.
class OrderedWork {
 public:
  // `pieces` of every task, for so many threads.
  OrderedWork(std::vector<int64_t> pieces, int64_t threads)
      : pieces_(std::move(pieces)),
        threads_(threads),
        finished_(new Counter[pieces_.size()]),
        taken_(new std::atomic<int64_t>[pieces_.size() * threads]) {
    for (size_t task = 0; task < pieces_.size(); ++task)
      for (int64_t place = 0; place < threads; ++place)
        taken_[task * threads + place].store(first_of(task, place), std::memory_order_relaxed);
  }

  // Calls f(task, take) for one task after the other; f does the pieces that take() gives, until it
  // gives -1. Returns when everything is done, by whichever threads. For every thread to call, each
  // with its own number below `threads`.
  template <typename F>
  void work(int64_t thread, const F& f) {
    int spins = kMostSpins;
    for (size_t task = 0; task < pieces_.size(); ++task) {
      if (is_finished(task)) continue;
      int64_t done = 0;
      try {
        f(task, [&] {
          const int64_t piece = take(task, thread);
          done += piece >= 0;
          return piece;
        });
      } catch (...) {
        failed_.store(true);
        wake();
        throw;
      }
      if (done && finished_[task].number.fetch_add(done) + done == pieces_[task])
        wake();
      else
        wait_for(task, spins);
      if (failed_.load(std::memory_order_relaxed)) return;
    }
  }

 private:
  struct alignas(64) Counter {
    std::atomic<int64_t> number{0};
  };

  // How often a thread looks whether the others are done before it sleeps. Waking takes longer than
  // most waits; but where another program wants the cores, a thread without one may need this. So
  // far fewer after it slept, and slowly more while it need not.
  static constexpr int kMostSpins = 20000, kLeastSpins = 50;

  int64_t first_of(size_t task, int64_t place) const { return pieces_[task] * place / threads_; }

  bool is_finished(size_t task) const { return finished_[task].number.load() == pieces_[task]; }

  int64_t take(size_t task, int64_t thread) {
    for (int64_t other = thread; other < thread + threads_; ++other) {
      const int64_t place = other % threads_, end = first_of(task, place + 1);
      std::atomic<int64_t>& next = taken_[task * threads_ + place];
      if (next.load(std::memory_order_relaxed) >= end) continue;
      const int64_t piece = next.fetch_add(1, std::memory_order_relaxed);
      if (piece < end) return piece;
    }
    return -1;
  }

  void wait_for(size_t task, int& spins) {
    for (int i = 0; i < spins; ++i) {
      if (is_finished(task)) {
        spins = std::min(kMostSpins, spins + spins / 64 + 1);
        return;
      }
      pause();
    }
    spins = std::max(kLeastSpins, spins / 4);
    std::unique_lock<std::mutex> lock(mutex_);
    ++asleep_;
    woken_.wait(lock, [&] { return is_finished(task) || failed_.load(); });
    --asleep_;
  }

  void wake() {
    // Either this sees who is asleep, or they see what has been finished: both are of one order.
    if (asleep_.load() == 0) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    woken_.notify_all();
  }

  static void pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

  const std::vector<int64_t> pieces_;
  const int64_t threads_;
  const std::unique_ptr<Counter[]> finished_;
  const std::unique_ptr<std::atomic<int64_t>[]> taken_;
  std::atomic<bool> failed_{false};
  std::atomic<int64_t> asleep_{0};
  std::mutex mutex_;
  std::condition_variable woken_;
};

}  // namespace dvfast
