// The pool by itself: several threads hand it jobs at once, of all sizes, and every task runs once, though now and then
// the system refuses it a thread. With the argument `no-memory` there is none for the pool either. Linked with --wrap
// for what the pool asks of the system; see scripts/sanitize.mjs.
#include "cpu/pool.h"

#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <thread>
#include <vector>

static std::atomic<bool> no_memory{false};
static std::atomic<int> asked{0}, refused{0};

extern "C" {
int __real_pthread_create(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
int __wrap_pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*entry)(void*), void* argument) {
  // Three of four: the first threads are refused as well.
  if (asked++ % 4 != 3) {
    ++refused;
    return EAGAIN;
  }
  return __real_pthread_create(thread, attributes, entry, argument);
}
void* __wrap__ZnwmRKSt9nothrow_t(size_t bytes, const std::nothrow_t&) {
  return no_memory ? nullptr : std::malloc(bytes);
}
}

int main(int argc, char** argv) {
  no_memory = argc > 1 && std::strcmp(argv[1], "no-memory") == 0;
  std::atomic<bool> wrong{false};
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
  // Without memory nobody asks for threads; with it some were refused, and still all that were wanted came in the end.
  if (no_memory ? asked != 0 : refused == 0 || asked - refused != 4) {
    std::printf("pool: %d threads asked for, %d refused\n", asked.load(), refused.load());
    wrong = true;
  }
  std::puts(wrong ? "pool: a task did not run once, or the threads are wrong" : "pool: fine");
  std::fflush(stdout);
  std::_Exit(wrong ? 1 : 0);  // the pool's threads sleep on
}
