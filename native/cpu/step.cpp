#include "step.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>

#include "kernels.h"
#include "pool.h"

namespace dpm {

template <class T>
void Shrink(Candidates<T>& c) {
  // nth_element in descending order: the `keep` largest come first, the least of them last among them.
  std::nth_element(c.keys, c.keys + (c.keep - 1), c.keys + c.count, std::greater<>());
  c.threshold = c.keys[c.keep - 1] + 1;  // a further key equal to it would change nothing
  c.count = c.keep;
}
template void Shrink(Candidates<float>&);
template void Shrink(Candidates<double>&);

namespace {

#if defined(DPM_SMALL_SIZES)
// For fuzzing: small inputs reach every path.
constexpr size_t kTask = 256, kThreadedFrom = 1024, kStreamFrom = 2048, kStreamAfterLookFrom = 8192, kGuessFrom = 1024,
                 kSpareKeys = 64;
#else
// Elements of one task: small enough to share out, large enough for a thread to be worth waking.
constexpr size_t kTask = 65536;
// Below this many elements a sleeping thread takes longer to wake than the step takes.
constexpr size_t kThreadedFrom = 524288;
// From this many bytes an operand on, a step's operands together are past the second-level cache, and results are
// written around the caches.
constexpr size_t kStreamFrom = 524288;
// The same where a pass that only reads comes first. Writing around the caches is then, on some processors, twice as
// slow as after other such writing, unless memory has to be waited for in any case.
constexpr size_t kStreamAfterLookFrom = 4 << 20;
// From this many elements on, guessing where the quantile lies saves more than it costs.
constexpr size_t kGuessFrom = 4096;
// Keys that a task may hold beyond twice those it needs.
constexpr size_t kSpareKeys = 4096;
#endif
constexpr size_t kMostParts = 256;

template <class T>
const TypedKernels<T>& Typed(const Kernels& kernels);
template <>
const TypedKernels<float>& Typed<float>(const Kernels& kernels) {
  return kernels.f32;
}
template <>
const TypedKernels<double>& Typed<double>(const Kernels& kernels) {
  return kernels.f64;
}

int Threads(int asked, size_t elements) {
  if (asked > 0) return asked;
  return elements >= kThreadedFrom ? HardwareThreads() : 1;
}

size_t Bytes(Type type) { return type == Type::f16 ? 2 : type == Type::f32 ? 4 : 8; }

// ---- one sample, resolved -----------------------------------------------------------------------------------------

void* At(const Buffer& buffer, size_t element) {
  return buffer.data ? static_cast<char*>(buffer.data) + element * Bytes(buffer.type) : nullptr;
}

template <class T>
void Use(Terms<T>& terms, const SampleStep<T>& step, double coefficient, int source) {
  const bool present = source == kSrcP || source == kSrcD0 || step.in[source] || step.half[source];
  if (present && coefficient != 0) terms.Add(coefficient, source);
}

template <class T>
void Sum(Terms<T>& terms, const SampleStep<T>& step, const double* sum) {
  Use(terms, step, sum[kA], kSrcBase);
  // Where the history keeps P itself the two coefficients are one.
  Use(terms, step, step.d0_is_p ? sum[kBp] + sum[kB0] : sum[kBp], kSrcP);
  if (!step.d0_is_p) Use(terms, step, sum[kB0], kSrcD0);
  Use(terms, step, sum[kB1], kSrcD1);
  Use(terms, step, sum[kB2], kSrcD2);
  Use(terms, step, sum[kB3], kSrcD3);
  Use(terms, step, sum[kN], kSrcZ);
}

// Is an output an input as well? (They coincide exactly where they share memory; the caller has checked.)
bool IsInput(const StepCall& c, const Buffer& out) {
  const Buffer* inputs[] = {&c.x, &c.m, &c.u, &c.g, &c.base, &c.p, &c.d1, &c.d2, &c.d3, &c.z};
  for (const Buffer* in : inputs) {
    if (out.data && out.data == in->data) return true;
  }
  return false;
}

bool NeedsSelection(const double* row) {
  return static_cast<Transform>(static_cast<int>(row[kTransform])) == Transform::quantile && row[kFloor] < row[kCap];
}

template <class T>
SampleStep<T> Resolve(const StepCall& c, size_t b) {
  SampleStep<T> step;
  const double* row = c.rows + b * kRowLength;
  const size_t first = b * c.n;
  const auto input = [&](int source, const Buffer& buffer, size_t element) {
    if (buffer.type == Type::f16) {
      step.half[source] = static_cast<const uint16_t*>(At(buffer, element));
    } else {
      step.in[source] = static_cast<const T*>(At(buffer, element));
    }
  };
  input(kSrcX, c.x, first);
  input(kSrcM, c.m, b * c.m_stride);
  input(kSrcU, c.u, b * c.m_stride);
  input(kSrcG, c.g, first);
  input(kSrcBase, c.base, first);
  input(kSrcD1, c.d1, first);
  input(kSrcD2, c.d2, first);
  input(kSrcD3, c.d3, first);
  input(kSrcZ, c.z, first);

  step.transform = static_cast<Transform>(static_cast<int>(row[kTransform]));
  if (step.transform == Transform::given && c.p.data) {
    step.in[kSrcP] = static_cast<const T*>(At(c.p, first));
  } else {
    if (step.transform == Transform::given) step.transform = Transform::none;  // see StepTyped
    step.p_out = static_cast<T*>(At(c.p, first));
  }
  Use(step.prediction, step, row[kCx], kSrcX);
  Use(step.prediction, step, row[kCm], kSrcM);
  Use(step.prediction, step, row[kCu], kSrcU);
  Use(step.prediction, step, row[kCg], kSrcG);
  step.divide = step.transform == Transform::quantile;
  step.s = static_cast<T>(row[kFloor]);

  step.d0_is_p = row[kEp] == 1 && row[kEx] == 0 && row[kEm] == 0 && row[kEu] == 0;
  if (!step.d0_is_p) {
    Use(step.d0, step, row[kEp], kSrcP);
    Use(step.d0, step, row[kEx], kSrcX);
    Use(step.d0, step, row[kEm], kSrcM);
    Use(step.d0, step, row[kEu], kSrcU);
  }
  Sum(step.first, step, row + kFirst);
  Sum(step.second, step, row + kSecond);
  step.d0_out = static_cast<T*>(At(c.d0, first));
  step.out = static_cast<T*>(At(c.out, first));
  step.out2 = static_cast<T*>(At(c.out2, first));
  for (const Buffer& next : c.next) {
    if (!next.data) continue;
    step.next_type = static_cast<int>(next.type);
    step.next[step.next_count++] = At(next, first);
  }
  const bool d0_is_input = IsInput(c, c.d0), out_is_input = IsInput(c, c.out);
  step.stage = d0_is_input || out_is_input || IsInput(c, c.out2);
  const size_t from = NeedsSelection(row) ? kStreamAfterLookFrom : kStreamFrom;
  const bool large = c.batch * c.n * sizeof(T) >= from;
  step.stream_d0 = large && !d0_is_input;
  step.stream_out = large && !out_is_input;
  return step;
}

// ---- the exact quantile of |P| --------------------------------------------------------------------------------------

template <class T>
struct Order {
  size_t k;       // the quantile lies between the k-th and the (k+1)-th smallest, counted from 0
  size_t keep;    // how many of the largest have to be known
  double weight;  // of the (k+1)-th
};

template <class T>
Order<T> OrderOf(size_t n, double ratio) {
  const double position = ratio * static_cast<double>(n - 1);
  Order<T> order;
  order.k = std::min(static_cast<size_t>(position), n - 1);
  order.weight = position - static_cast<double>(order.k);
  order.keep = n - order.k;
  return order;
}

// Into how many tasks one sample's collection is split.
size_t Parts(size_t n, int threads) {
  if (threads <= 1) return 1;
  return std::min({(n + kTask - 1) / kTask, 4 * static_cast<size_t>(threads), kMostParts});
}

// Keys that a task over `length` elements may hold before it has to drop some.
size_t Capacity(size_t keep, size_t length) { return std::min(length, 2 * std::min(keep, length) + kSpareKeys); }

template <class T>
T FromKey(typename KeyOf<T>::type key) {
  T value;
  std::memcpy(&value, &key, sizeof value);
  return value;
}
template <class T>
typename KeyOf<T>::type ToKey(T value) {
  typename KeyOf<T>::type key;
  std::memcpy(&key, &value, sizeof key);
  return key;
}

// The keep-th largest key and the one before it, as in Kernels::select. Moves the keys about.
uint32_t SelectLargest(uint32_t* keys, size_t count, size_t keep, uint32_t* next) {
  return ActiveKernels().select(keys, count, keep, next);
}
uint64_t SelectLargest(uint64_t* keys, size_t count, size_t keep, uint64_t* next) {
  std::nth_element(keys, keys + (keep - 1), keys + count, std::greater<>());
  *next = keep > 1 ? *std::min_element(keys, keys + (keep - 1)) : keys[0];
  return keys[keep - 1];
}

// A threshold that about `keep` of the n predictions, and a safe number more, reach: from a sample of them. A wrong
// guess costs time only.
template <class T>
typename KeyOf<T>::type Guess(const TypedKernels<T>& kernels, const SampleStep<T>& step, size_t n, size_t keep) {
  const size_t blocks = n >= 131072 ? kSampleBlocks : 40;
  if (n < kGuessFrom || keep > n / 8) return 1;
  typename KeyOf<T>::type sample[kSampleBlocks * kSampleBlock];
  // Where samples begin at a line of the cache, so does a block.
  const size_t stride = n / blocks / kSampleBlock * kSampleBlock;
  kernels.sample(step, stride, blocks, sample);
  const size_t size = blocks * kSampleBlock;
  const double expected = static_cast<double>(keep) * static_cast<double>(size) / static_cast<double>(n);
  const size_t rank = static_cast<size_t>(expected + 3 * std::sqrt(expected) + 3);
  if (rank >= size) return 1;
  typename KeyOf<T>::type next;
  return std::max<typename KeyOf<T>::type>(SelectLargest(sample, size, rank + 1, &next), 1);
}

// Collects the largest keys of [0, n) into keys[0 .. count), at least `keep` of them if so many reach the threshold.
// Tasks of one sample collect side by side, each into its own stretch of `space`.
template <class T>
struct Collection {
  typename KeyOf<T>::type* keys;
  size_t count;
  bool finite;
};

template <class T>
Collection<T> Collect(const TypedKernels<T>& kernels, const SampleStep<T>& step, size_t n, size_t keep,
                      typename KeyOf<T>::type threshold, typename KeyOf<T>::type* space, int threads) {
  const size_t parts = Parts(n, threads);
  const size_t length = (n + parts - 1) / parts;
  const size_t room = Capacity(keep, length) + kLanePad;
  std::atomic<bool> finite{true};
  size_t counts[kMostParts];
  ParallelFor(threads, parts, [&](size_t part) {
    const size_t begin = std::min(n, part * length), end = std::min(n, begin + length);
    Candidates<T> c;
    c.keys = space + part * room;
    c.capacity = room - kLanePad;
    c.keep = std::min(keep, c.capacity);
    c.threshold = threshold;
    if (!kernels.filter(step, begin, end, c)) finite.store(false, std::memory_order_relaxed);
    counts[part] = c.count;
  });
  Collection<T> all{space, counts[0], finite.load()};
  for (size_t part = 1; part < parts; ++part) {
    std::memmove(space + all.count, space + part * room, counts[part] * sizeof(*space));
    all.count += counts[part];
  }
  return all;
}

size_t CollectBytes(size_t key_bytes, size_t n, size_t keep, int threads) {
  const size_t parts = Parts(n, threads);
  const size_t length = (n + parts - 1) / parts;
  return parts * (Capacity(keep, length) + kLanePad) * key_bytes;
}

// The largest of `count` keys if that is NaN, which sorts above infinity; otherwise `value`. A sample with a NaN in it
// has no quantile, wherever the others lie.
template <class T>
T LargestIfNaN(const typename KeyOf<T>::type* keys, size_t count, T value) {
  if (count == 0) return value;
  const T largest = FromKey<T>(*std::max_element(keys, keys + count));
  return largest != largest ? largest : value;
}

// min(max(quantile, floor), cap) of |P|; only what can decide it is looked at. There is space for the `most` largest.
template <class T>
T ThresholdOf(const TypedKernels<T>& kernels, const SampleStep<T>& step, size_t n, double ratio, double floor,
              double cap, typename KeyOf<T>::type* space, size_t most, int threads, bool* finite) {
  using Key = typename KeyOf<T>::type;
  const T low = static_cast<T>(floor), high = static_cast<T>(cap);
  Order<T> order = OrderOf<T>(n, ratio);
  order.keep = std::min(order.keep, most);  // see StepTyped
  const Key above_floor = low > 0 ? ToKey(low) + 1 : 1;
  const Key guess = std::max(Guess(kernels, step, n, order.keep), above_floor);
  // First what the guess lets through, then what the floor does, then everything.
  Collection<T> found{};
  for (const Key threshold : {guess, above_floor, Key{0}}) {
    found = Collect(kernels, step, n, order.keep, threshold, space, threads);
    *finite &= found.finite;
    if (found.count >= order.keep) break;
    // Both order statistics are at the floor or below it, so the quantile is; but NaN is found first.
    if (threshold == above_floor && found.count + 1 < order.keep) {
      return found.finite ? (low < high ? low : high)
                          : LargestIfNaN<T>(found.keys, found.count, low < high ? low : high);
    }
  }
  Key next;
  const double below = FromKey<T>(SelectLargest(found.keys, found.count, order.keep, &next));
  double value = below;
  if (order.weight > 0 && order.keep > 1) {
    const double above = FromKey<T>(next);
    if (above != below) value = below + order.weight * (above - below);  // two infinities have no difference
  }
  const T s = static_cast<T>(value);
  const T bounded = s < low ? (low < high ? low : high) : (s > high ? high : s);
  return *finite ? bounded : LargestIfNaN<T>(found.keys, found.count, bounded);
}

// ---- the step -------------------------------------------------------------------------------------------------------

// The scratch that the caller brought, or memory of our own.
class Scratch {
 public:
  Scratch(void* given, size_t given_bytes, size_t bytes) {
    if (bytes == 0) return;
    // Aligned, so that keys of either size fit.
    const uintptr_t aligned = (reinterpret_cast<uintptr_t>(given) + 7) & ~uintptr_t{7};
    const size_t lost = given ? aligned - reinterpret_cast<uintptr_t>(given) : 0;
    if (given && given_bytes >= bytes + lost) {
      data_ = reinterpret_cast<void*>(aligned);
    } else {
      data_ = owned_ = std::malloc(bytes);
    }
  }
  ~Scratch() { std::free(owned_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
  void* owned_ = nullptr;
};

// A whole sample is one task where there are enough of them: its prediction is then still in the cache for the second
// pass. Otherwise the threads share each sample.
bool SampleTasks(size_t batch, int threads) { return threads <= 1 || batch >= 2 * static_cast<size_t>(threads); }

template <class T>
int64_t StepTyped(const StepCall& c) {
  using Key = typename KeyOf<T>::type;
  const TypedKernels<T>& kernels = Typed<T>(ActiveKernels());
  const int threads = Threads(c.threads, c.batch * c.n);
  const bool by_sample = SampleTasks(c.batch, threads);
  const int inner_threads = by_sample ? 1 : threads;

  // Rows in shared memory may change at any time. Then the result may be anything, but what was allocated for the rows
  // as they are now has to do: nobody looks for more keys, for a selection or for a given P that was not there.
  size_t keep = 0;
  for (size_t b = 0; b < c.batch; ++b) {
    const double* row = c.rows + b * kRowLength;
    if (NeedsSelection(row)) keep = std::max(keep, OrderOf<T>(c.n, row[kRatio]).keep);
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
      step.s = ThresholdOf<T>(kernels, step, c.n, row[kRatio], row[kFloor], row[kCap], space, keep, inner, &finite);
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

// Sums over fixed blocks, whatever the threads, then over the blocks in order.
constexpr size_t kReduceBlock = kTask;

}  // namespace

int64_t Step(const StepCall& call) {
  if (call.batch == 0 || call.n == 0) return kStepDone;
  return call.state == Type::f64 ? StepTyped<double>(call) : StepTyped<float>(call);
}

size_t ScratchBytes(Type state, size_t batch, size_t n, double ratio, int threads) {
  if (n == 0) return 0;
  const int used = Threads(threads, batch * n);
  const bool by_sample = SampleTasks(batch, used);
  const size_t keep = OrderOf<float>(n, ratio).keep;
  return CollectBytes(Bytes(state), n, keep, by_sample ? 1 : used) * (by_sample && used > 1 ? batch : 1) + 8;
}

namespace {

template <class T>
double QuantileTyped(const void* x, size_t n, double ratio, int threads) {
  using Key = typename KeyOf<T>::type;
  SampleStep<T> step;
  step.in[kSrcX] = static_cast<const T*>(x);
  step.prediction.Add(1, kSrcX);
  const int used = Threads(threads, n);
  const size_t keep = OrderOf<T>(n, ratio).keep;
  const Scratch scratch(nullptr, 0, CollectBytes(sizeof(Key), n, keep, used));
  if (!scratch.data()) return -1;
  bool finite = true;
  return ThresholdOf<T>(Typed<T>(ActiveKernels()), step, n, ratio, 0, std::numeric_limits<double>::infinity(),
                        static_cast<Key*>(scratch.data()), keep, used, &finite);
}

template <class T>
double ErrorTyped(const void* low, const void* high, const void* previous, size_t n, double atol, double rtol,
                  int threads, bool* out_of_memory) {
  const TypedKernels<T>& kernels = Typed<T>(ActiveKernels());
  const size_t blocks = (n + kReduceBlock - 1) / kReduceBlock;
  const Scratch partial(nullptr, 0, blocks * sizeof(double));
  double* sums = static_cast<double*>(partial.data());
  *out_of_memory = !sums;
  if (!sums) return 0;
  ParallelFor(Threads(threads, n), blocks, [&](size_t block) {
    const size_t begin = block * kReduceBlock, length = std::min(n - begin, kReduceBlock);
    sums[block] = kernels.error(static_cast<const T*>(low) + begin, static_cast<const T*>(high) + begin,
                                static_cast<const T*>(previous) + begin, length, atol, rtol);
  });
  double sum = 0;
  for (size_t block = 0; block < blocks; ++block) sum = sum + sums[block];
  return std::sqrt(sum / static_cast<double>(n));
}

template <class T>
double DeviationTyped(const void* x, size_t n) {
  const TypedKernels<T>& kernels = Typed<T>(ActiveKernels());
  const auto sum = [&](double centre, int power) {
    double total = 0;
    for (size_t begin = 0; begin < n; begin += kReduceBlock) {
      total =
          total + kernels.moment(static_cast<const T*>(x) + begin, std::min(n - begin, kReduceBlock), centre, power);
    }
    return total;
  };
  const double mean = sum(0, 1) / static_cast<double>(n);
  return std::sqrt(sum(mean, 2) / static_cast<double>(n - 1));
}

}  // namespace

double Quantile(const void* x, Type type, size_t n, double ratio, int threads) {
  return type == Type::f64 ? QuantileTyped<double>(x, n, ratio, threads) : QuantileTyped<float>(x, n, ratio, threads);
}

double ErrorNorm(const void* low, const void* high, const void* previous, Type type, size_t n, double atol, double rtol,
                 int threads, bool* out_of_memory) {
  return type == Type::f64 ? ErrorTyped<double>(low, high, previous, n, atol, rtol, threads, out_of_memory)
                           : ErrorTyped<float>(low, high, previous, n, atol, rtol, threads, out_of_memory);
}

double StandardDeviation(const void* x, Type type, size_t n) {
  return type == Type::f64 ? DeviationTyped<double>(x, n) : DeviationTyped<float>(x, n);
}

}  // namespace dpm
