// The pool under ThreadSanitizer: several threads hand it jobs at once, of all sizes, and every task runs once.
#include "cpu/pool.h"

#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

int main() {
  bool wrong = false;
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([caller, &wrong] {
      for (int round = 0; round < 400; ++round) {
        const size_t count = static_cast<size_t>((round * 7 + caller) % 33);
        // Plain memory on purpose: what a helper wrote must be visible here when ParallelFor returns.
        std::vector<int> done(count, 0);
        dpm::ParallelFor(1 + (round + caller) % 5, count, [&](size_t i) { done[i] += static_cast<int>(i) + 1; });
        for (size_t i = 0; i < count; ++i) {
          if (done[i] != static_cast<int>(i) + 1) wrong = true;
        }
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  std::puts(wrong ? "pool: a task did not run once" : "pool: fine");
  std::fflush(stdout);
  std::_Exit(wrong ? 1 : 0);  // the pool's threads sleep on
}
