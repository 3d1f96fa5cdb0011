#include "step.h"

#include <algorithm>
#include <atomic>
#include <limits>

#include "active.h"
#include "kernels.h"
#include "pool.h"
#include "sample.h"
#include "scratch.h"
#include "sizes.h"
#include "threshold.h"

namespace dpm {
namespace {

// A whole sample is one task where there are enough of them: its prediction is then still in the cache for the second
// pass. Otherwise the threads share each sample.
bool SampleTasks(size_t batch, int threads) { return threads <= 1 || batch >= 2 * static_cast<size_t>(threads); }

template <class T>
int64_t StepTyped(const StepCall& c) {
  using Key = typename KeyOf<T>::type;
  const TypedKernels<T>& kernels = Active<T>();
  const int threads = Threads(c.threads, c.batch * c.n);
  const bool by_sample = SampleTasks(c.batch, threads);
  const int inner_threads = by_sample ? 1 : threads;

  // Rows in shared memory may change at any time. Then the result may be anything, but what was allocated for the rows
  // as they are now has to do: nobody looks for more keys, for a selection or for a given P that was not there.
  size_t keep = 0;
  for (size_t b = 0; b < c.batch; ++b) {
    const double* row = c.rows + b * kRowLength;
    if (NeedsSelection(row)) keep = std::max(keep, KeptFor(c.n, row[kRatio]));
  }
  // One stretch per task that may run at the same time: per thread would do, per sample is simpler to hand out.
  const size_t stretches = by_sample ? (threads > 1 ? c.batch : 1) : 1;
  const size_t stretch = keep ? CollectBytes(sizeof(Key), c.n, keep, inner_threads) : 0;
  const Scratch scratch(c.scratch, c.scratch_bytes, stretch * stretches);
  if (stretch && !scratch.data()) return kStepOutOfMemory;

  std::atomic<size_t> bad{std::numeric_limits<size_t>::max()};
  const auto report = [&](size_t b) {
    size_t seen = bad.load(std::memory_order_relaxed);
    while (b < seen && !bad.compare_exchange_weak(seen, b, std::memory_order_relaxed)) {
    }
  };

  const auto prepare = [&](size_t b, int inner) {
    SampleStep<T> step = Resolve<T>(c, b);
    const double* row = c.rows + b * kRowLength;
    if (keep && NeedsSelection(row)) {
      Key* space = reinterpret_cast<Key*>(static_cast<char*>(scratch.data()) + (stretches > 1 ? b * stretch : 0));
      bool finite = true;
      step.s = ThresholdOf<T>(step, c.n, row[kRatio], row[kFloor], row[kCap], space, keep, inner, &finite);
      if (!finite) report(b);
    } else if (step.divide && row[kCap] < row[kFloor]) {
      step.s = static_cast<T>(row[kCap]);
    }
    return step;
  };

  if (by_sample) {
    // Small samples share a task, so that taking one costs nothing beside it.
    const size_t group = threads <= 1 ? c.batch : std::max<size_t>(1, kTask / std::max<size_t>(c.n, 1));
    const size_t tasks = c.batch == 0 ? 0 : (c.batch + group - 1) / group;
    ParallelFor(threads, tasks, [&](size_t task) {
      const size_t end = std::min(c.batch, (task + 1) * group);
      for (size_t b = task * group; b < end; ++b) {
        const SampleStep<T> step = prepare(b, 1);
        if (c.check_finite && bad.load(std::memory_order_relaxed) <= b) continue;
        if (!kernels.step(step, 0, c.n)) report(b);
      }
    });
  } else {
    for (size_t b = 0; b < c.batch; ++b) {
      const SampleStep<T> step = prepare(b, threads);
      if (c.check_finite && bad.load(std::memory_order_relaxed) <= b) break;
      const size_t tasks = (c.n + kTask - 1) / kTask;
      ParallelFor(threads, tasks, [&](size_t task) {
        const size_t begin = task * kTask, end = std::min(c.n, begin + kTask);
        if (!kernels.step(step, begin, end)) report(b);
      });
    }
  }
  const size_t first_bad = bad.load();
  if (c.check_finite && first_bad != std::numeric_limits<size_t>::max()) return static_cast<int64_t>(first_bad);
  return kStepDone;
}

}  // namespace

int64_t Step(const StepCall& call) {
  if (call.batch == 0 || call.n == 0) return kStepDone;
  return call.state == Type::f64 ? StepTyped<double>(call) : StepTyped<float>(call);
}

size_t ScratchBytes(Type state, size_t batch, size_t n, double ratio, int threads) {
  if (n == 0) return 0;
  const int used = Threads(threads, batch * n);
  const bool by_sample = SampleTasks(batch, used);
  const size_t keep = KeptFor(n, ratio);
  return CollectBytes(Bytes(state), n, keep, by_sample ? 1 : used) * (by_sample && used > 1 ? batch : 1) + 8;
}

}  // namespace dpm
