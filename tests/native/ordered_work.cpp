// Work that several threads do in one order, with threads that fail, are late or never come.
#include "../../csrc/cpu/ordered_work.h"

#include <chrono>
#include <random>
#include <stdexcept>
#include <thread>

#include "arrays.h"

namespace dvfast::test {
namespace {

// Pieces done of every task, and how many began before the task before was done.
struct Report {
  std::vector<std::atomic<int64_t>> done;
  std::atomic<int64_t> too_early{0}, failed{0};
};

// Only the threads that `come` do; now and then one is held up. Piece 0 of the task `fails` throws.
std::vector<int64_t> ordered_work(const std::vector<int64_t>& pieces, int64_t threads,
                                  const std::vector<int64_t>& come, int64_t fails, int64_t seed) {
  Report report{std::vector<std::atomic<int64_t>>(pieces.size())};
  OrderedWork work(pieces, threads);
  const auto on_thread = [&](int64_t thread) {
    std::mt19937_64 random(static_cast<uint64_t>(seed * 1000 + thread));
    try {
      work.work(thread, [&](size_t task, const auto& take) {
        for (int64_t piece; (piece = take()) >= 0;) {
          if (task && report.done[task - 1] != pieces[task - 1]) ++report.too_early;
          if (static_cast<int64_t>(task) == fails && piece == 0)
            throw std::runtime_error("a piece that fails");
          if (random() % 8 == 0) std::this_thread::sleep_for(std::chrono::microseconds(300));
          ++report.done[task];
        }
      });
    } catch (const std::runtime_error&) {
      ++report.failed;
    }
  };
  std::vector<std::thread> running;
  for (const int64_t thread : come) running.emplace_back(on_thread, thread);
  for (std::thread& thread : running) thread.join();
  std::vector<int64_t> result{report.too_early, report.failed};
  result.insert(result.end(), report.done.begin(), report.done.end());
  return result;
}

}  // namespace

void define_ordered_work(py::module_& m) {
  m.def("ordered_work", &ordered_work, py::call_guard<py::gil_scoped_release>());
}

}  // namespace dvfast::test
