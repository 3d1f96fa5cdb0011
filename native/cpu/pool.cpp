#include "pool.h"

#include <atomic>
#include <mutex>
#include <new>
#include <thread>

#include "../system/threads.h"
#if defined(__linux__)
#include <sched.h>
#endif

namespace dpm {
namespace {

struct Job {
  void (*body)(void*, size_t);
  void* context;
  size_t count;
  int helpers_wanted;  // threads that may still join
  int helpers_inside;  // threads that have joined and not left; both under the pool's mutex
  std::atomic<size_t> next{0};
  Job* link = nullptr;

  void Work() {
    for (size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) body(context, i);
  }
};

class Pool {
 public:
  void Run(Job& job) {
    const bool single = job.helpers_wanted == 1;  // once it is in the list, helpers count this down
    {
      std::lock_guard<std::mutex> lock(mutex_);
      // A thread that the system refuses is done without: the caller does the work.
      while (size_ < job.helpers_wanted && Spawn()) ++size_;
      job.link = jobs_;
      jobs_ = &job;
    }
    if (single) {
      wake_.notify_one();
    } else {
      wake_.notify_all();
    }
    job.Work();
    // All tasks are claimed: nobody joins any more, and whoever is inside is at work on its last one.
    std::unique_lock<std::mutex> lock(mutex_);
    Job** at = &jobs_;
    while (*at != &job) at = &(*at)->link;
    *at = job.link;
    while (job.helpers_inside > 0) left_.wait(lock);
  }

  void Loop() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      Job* job = jobs_;
      while (job && job->helpers_wanted == 0) job = job->link;
      if (!job) {
        wake_.wait(lock);
        continue;
      }
      --job->helpers_wanted;
      ++job->helpers_inside;
      lock.unlock();
      job->Work();
      lock.lock();
      if (--job->helpers_inside == 0) left_.notify_all();
    }
  }

 private:
  bool Spawn();

  std::mutex mutex_;
  Condition wake_, left_;
  Job* jobs_ = nullptr;
  int size_ = 0;
};

void Help(void* pool) { static_cast<Pool*>(pool)->Loop(); }

bool Pool::Spawn() { return StartThread<Help>(this); }

}  // namespace

int HardwareThreads() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) return CPU_COUNT(&set);
#endif
  const unsigned count = std::thread::hardware_concurrency();
  return count > 0 ? static_cast<int>(count) : 1;
}

void Parallel(int threads, size_t count, void (*body)(void*, size_t), void* context) {
  const size_t wanted = threads > 1 ? static_cast<size_t>(threads) : 1;
  const size_t helpers = (wanted < count ? wanted : count > 0 ? count : 1) - 1;
  if (helpers > 0) {
    // Never destroyed: a helper may be asleep in it when the process ends.
    static Pool* const pool = (StayLoaded(), new (std::nothrow) Pool);
    if (pool) {
      Job job;
      job.body = body;
      job.context = context;
      job.count = count;
      job.helpers_wanted = static_cast<int>(helpers);
      job.helpers_inside = 0;
      pool->Run(job);
      return;
    }
  }
  for (size_t i = 0; i < count; ++i) body(context, i);
}

}  // namespace dpm
