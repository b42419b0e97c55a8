// Threads that work together; see ../../csrc/cpu/crew.h.
#include "../../csrc/cpu/crew.h"

#include <stdexcept>
#include <thread>

#include "arrays.h"

namespace dvfast::test {

void define_crew(py::module_& m) {
  // How often every piece of `calls` calls was worked at; piece `fails` of the last one throws.
  m.def("crew", [](int64_t threads, int64_t calls, int64_t total, int64_t fails) {
    std::vector<std::atomic<int64_t>> count(total);
    Crew crew(threads);
    std::vector<std::thread> helpers;
    for (int64_t t = 1; t < threads; ++t) helpers.emplace_back([&, t] { crew.help(t); });
    std::exception_ptr error;
    try {
      crew.lead([&] {
        for (int64_t call = 1; call <= calls; ++call)
          crew(total, [&](int64_t i) {
            ++count[i];
            if (call == calls && i == fails) throw std::runtime_error("a piece failed");
          });
      });
    } catch (...) {
      error = std::current_exception();
    }
    for (std::thread& helper : helpers) helper.join();
    if (error) std::rethrow_exception(error);
    return std::vector<int64_t>(count.begin(), count.end());
  });
}

}  // namespace dvfast::test
